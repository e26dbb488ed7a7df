"""The old name of `python -m ComfyUI-Exo2Ego convert`, for scripts that call `python -m ComfyUI-Exo2Ego.convert`."""

from __future__ import annotations

import sys

from .commands.convert.cli import main

if __name__ == "__main__":
    sys.exit(main())
