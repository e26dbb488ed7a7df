"""`python -m ComfyUI-Exo2Ego.convert`, from ComfyUI's folder custom_nodes."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
