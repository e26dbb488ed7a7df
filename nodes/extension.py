"""The pack's V3 nodes, one theme a file. Each file ends with its list `NODES`."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import ComfyExtension, io

from ..networks.pocket_files import COMPONENT_KIND, FOLDERS, POCKET
from .camera import camera, camera_editor, camera_export, find_people, head_pose
from .common.guard import guarded
from .common.texts import with_safe_texts
from .depth import depth, depth_pro
from .egox import attention_map, caption, compare, egox, gga, long_clip, pocket, prompt, reuse, score
from .exo2egosyn import exo2egosyn, plucker
from .exo2egosyn import inputs as exo2egosyn_inputs
from .input import clip, ego_exo4d, keypoints, take
from .prior import point_cloud, preview_prior, render

_THEMES = (
    clip,
    take,
    ego_exo4d,
    keypoints,
    camera,
    camera_editor,
    camera_export,
    find_people,
    head_pose,
    depth,
    depth_pro,
    point_cloud,
    render,
    preview_prior,
    caption,
    prompt,
    pocket,
    egox,
    gga,
    long_clip,
    reuse,
    attention_map,
    exo2egosyn,
    exo2egosyn_inputs,
    plucker,
    compare,
    score,
)

NODES = [with_safe_texts(guarded(node)) for theme in _THEMES for node in theme.NODES]


class Exo2EgoExtension(ComfyExtension):
    """What ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return every node of the pack; from now on ComfyUI's own loaders offer the pocket model, too."""
        for kind in (*FOLDERS, COMPONENT_KIND):
            folder_paths.add_model_folder_path(kind, str(POCKET / kind))
        return NODES
