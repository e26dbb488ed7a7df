"""The converter from a checkout: what `python -m ComfyUI-Exo2Ego.convert` is in custom_nodes."""

from __future__ import annotations

import sys

import pack

pack.register()

from exo2ego.convert.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
