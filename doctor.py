"""The old name of `python -m ComfyUI-Exo2Ego doctor`, for scripts that call `python -m ComfyUI-Exo2Ego.doctor`."""

from __future__ import annotations

import sys

from .commands.doctor.cli import main

if __name__ == "__main__":
    sys.exit(main())
