"""How far Head Pose is from the released trajectories of real takes, with the keypoints of a real detector.

A take folder holds `meta.json`, depth and `keypoints_mediapipe.json`; no pictures are needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.head.openpose import read_openpose
from exo2ego.geometry.head.person_tracks import PersonChoice, follow_person
from exo2ego.geometry.head.pose import HeadPose, estimate_head_pose
from exo2ego.takes.egox.meta import EgoXMeta

KEYPOINTS, DEPTH = "keypoints_mediapipe.json", "depth_f16.npz"


@dataclass(frozen=True, eq=False)
class Measured:
    """A take's result.

    Attributes:
        found: the estimate.
        degrees: between its viewing directions and the released ones [F].
        metres: between its places and the released ones [F].
    """

    found: HeadPose
    degrees: Tensor
    metres: Tensor


def measure_take(folder: Path) -> Measured:
    """Run Head Pose with its defaults on a take folder, and print what came out."""
    meta = EgoXMeta(json.loads((folder / "meta.json").read_text()), folder / "meta.json")
    frames = json.loads((folder / KEYPOINTS).read_text())
    with np.load(folder / DEPTH) as archive:
        maps = torch.from_numpy(archive["depth"].astype(np.float32))
    people = read_openpose(frames[: len(maps)])
    depth, exo = _of_clip(maps, meta, people.width, people.height)
    ego = meta.ego_camera(RELEASE_SIZE, RELEASE_SIZE, LensPreset.EGOX_RELEASE)
    lens = preset_lens(LensPreset.EGOX_RELEASE, RELEASE_SIZE, RELEASE_SIZE)
    one = follow_person(people, PersonChoice.LARGEST)
    found = estimate_head_pose(one, depth, exo, lens, RELEASE_SIZE, RELEASE_SIZE)
    between = (found.camera.rotations[:, 2] * ego.rotations[:, 2]).sum(dim=-1).clamp(-1, 1).acos().rad2deg()
    print(
        f"{folder.name}: gaze {between.median():.1f} degrees (median), {between.mean():.1f} (mean), {between.max():.1f}"
    )
    print(f"confidence {[round(value, 2) for value in found.confidence.tolist()]}")
    return Measured(found, between, torch.linalg.vector_norm(found.camera.centers - ego.centers, dim=-1))


def _of_clip(maps: Tensor, meta: EgoXMeta, width: int, height: int) -> tuple[Depth, Camera]:
    """Return depth and exo camera at the clip's size; depth maps that are wider were cut in their middle."""
    map_height, map_width = maps.shape[1:]
    kept = min(map_width, round(map_height * width / height))
    left = (map_width - kept) // 2
    exo = meta.exo_camera(map_width, map_height).cropped(left, 0, kept, map_height)
    exo = replace(exo, lens=exo.lens.scaled(width / kept, height / map_height), width=width, height=height)
    depth = Depth.from_array(maps, DepthMeaning.METRIC).cropped(left, 0, kept, map_height)
    return depth.resized(width, height), exo
