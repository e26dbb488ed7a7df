"""A custom-node folder for tests and the demo: loaders for encoders far below the sizes that stock loaders build.

Copy or link this folder into ComfyUI's `custom_nodes`. The loaders run ComfyUI's own umt5 and CLIP vision code.
For older versions of ComfyUI they also tell its own VAE loader the width of a file's VAE.
"""

from __future__ import annotations

from typing import Any


async def comfy_entrypoint() -> Any:
    """Return the extension; ComfyUI calls this once."""
    from .loaders import StandInExtension
    from .vae_width import read_vae_width

    read_vae_width()
    return StandInExtension()
