"""`python -m ComfyUI-Exo2Ego.batch`, in ComfyUI's custom_nodes folder."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
