"""ComfyUI-Exo2Ego: third-person video to first-person video.

Floors, imports only downward: `nodes` (V3 schemas) -> `wan` (patches of ComfyUI's Wan) and `takes` (files) ->
`geometry`, `attention`, `networks` (pure torch) -> `common`. `commands` run beside ComfyUI, `tools` are for
developers. One convention everywhere: OpenCV axes (x right, y down, z forward),
world-to-camera 4x4 matrices, metres, pixel centres at +0.5.
"""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """Return the extension; ComfyUI (0.3.60 or newer) calls this once when it loads the pack."""
    from .nodes.extension import Exo2EgoExtension

    return Exo2EgoExtension()
