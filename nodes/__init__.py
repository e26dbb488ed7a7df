"""The pack's V3 nodes, one theme a file. Each file ends with its list `NODES`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import (
    attention_map,
    camera,
    camera_editor,
    camera_export,
    compare,
    depth,
    depth_pro,
    ego_exo4d,
    egox,
    exo2egosyn,
    exo2egosyn_inputs,
    gga,
    head_pose,
    keypoints,
    plucker,
    preview_prior,
    prior,
    prompt,
    take,
)

_THEMES = (
    take,
    ego_exo4d,
    keypoints,
    camera,
    camera_editor,
    camera_export,
    head_pose,
    depth,
    depth_pro,
    prior,
    preview_prior,
    prompt,
    egox,
    gga,
    attention_map,
    exo2egosyn,
    exo2egosyn_inputs,
    plucker,
    compare,
)


class Exo2EgoExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return every node of the pack."""
        return [node for theme in _THEMES for node in theme.NODES]
