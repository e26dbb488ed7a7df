"""The old name of `python -m ComfyUI-Exo2Ego batch`, for scripts that call `python -m ComfyUI-Exo2Ego.batch`."""

from __future__ import annotations

import sys

from .commands.batch.cli import main

if __name__ == "__main__":
    sys.exit(main())
