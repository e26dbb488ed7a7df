"""Cameras from files: our own JSON, NumPy archives, and EgoX's `meta.json`."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..geometry.camera import Camera
from ..geometry.lens import Lens, Pinhole
from ..geometry.presets import RELEASE_SIZE, LensPreset
from .egox import DATASET_KEY, dataset_entry
from .egox_meta import EgoXMeta
from .files import load_arrays, load_json

if TYPE_CHECKING:
    import numpy as np

# Size of the release's exo clips in pixels, for meta.json files, which tell none.
RELEASE_EXO_SIZE = (784, 448)
_POSE_KEYS = ("world_to_camera", "camera_to_world")


class CameraRole(str, Enum):
    """Which of a meta.json's two cameras is meant."""

    EXO = "exo"
    EGO = "ego"


def read_camera(
    path: str | os.PathLike[str],
    role: CameraRole = CameraRole.EGO,
    *,
    width: int = 0,
    height: int = 0,
    lens: LensPreset | Lens = LensPreset.EGOX_RELEASE,
    take: str | None = None,
) -> Camera:
    """Read a camera, by the file's name and content.

    - `.json` that `Camera.to_json` wrote.
    - `.npz` with `world_to_camera` or `camera_to_world` ([4, 4], [F, 3, 4] or [F, 4, 4]), `intrinsics` (3 x 3, or
      fx, fy, cx, cy; pixels, pixel centres at +0.5), `width` and `height`.
    - EgoX's `meta.json`, of a take or a dataset; only here `role`, `lens` and `take` count.

    Args:
        path: the file.
        role: which camera of a `meta.json`.
        width: wanted image width in pixels; 0 keeps the file's own (the release's 784 or 448 for `meta.json`).
        height: wanted image height, with the same meaning of 0; 448 for `meta.json`.
        lens: the ego lens, which `meta.json` does not tell.
        take: the take's name in a dataset's `meta.json`.

    Raises:
        ValueError: if the file is missing, torn, pickled or of another kind, or describes no camera.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        camera = camera_from_arrays(load_arrays(path), path)
    elif path.suffix.lower() == ".json":
        content = load_json(path)
        if isinstance(content, dict) and {"ego_extrinsics", "camera_extrinsics", DATASET_KEY} & set(content):
            meta = EgoXMeta(content, path) if DATASET_KEY not in content else dataset_entry(path.parent, take or "")
            return _camera_of_meta(meta, CameraRole(role), width, height, lens)
        camera = Camera.from_json(json.dumps(content))
    else:
        raise ValueError(f"{path} is no camera file: expected .json (ours or EgoX's meta.json) or .npz.")
    return camera.resized(width or camera.width, height or camera.height)


def camera_from_arrays(arrays: dict[str, np.ndarray], source: str | os.PathLike[str]) -> Camera:
    """Make a pinhole camera from the arrays of an `.npz`; see `read_camera`.

    Raises:
        ValueError: if an array is missing, doubled or of another shape, or the poses are none.
    """
    missing = {"intrinsics", "width", "height"} - set(arrays)
    given = [key for key in _POSE_KEYS if key in arrays]
    if missing or len(given) != 1:
        raise ValueError(
            f"{source} holds the arrays {sorted(arrays)}; a camera needs intrinsics, width, height and either "
            "world_to_camera or camera_to_world."
        )
    intrinsics = arrays["intrinsics"].astype("float64")
    if intrinsics.shape == (3, 3):
        intrinsics = intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    if intrinsics.shape != (4,):
        raise ValueError(f"'intrinsics' of {source} must be 3 x 3 or (fx, fy, cx, cy), got {intrinsics.shape}.")
    sizes = [arrays["width"], arrays["height"]]
    if any(size.size != 1 for size in sizes):
        raise ValueError(f"'width' and 'height' of {source} must be single numbers.")
    width, height = (int(size.item()) for size in sizes)
    camera = Camera(Pinhole(*intrinsics.tolist()), width, height, torch.from_numpy(arrays[given[0]].astype("float64")))
    if given[0] == "world_to_camera":
        return camera
    return Camera(camera.lens, width, height, camera.camera_to_world)


def _camera_of_meta(meta: EgoXMeta, role: CameraRole, width: int, height: int, lens: LensPreset | Lens) -> Camera:
    if role is CameraRole.EGO:
        return meta.ego_camera(width or RELEASE_SIZE, height or RELEASE_SIZE, lens)
    width, height = width or RELEASE_EXO_SIZE[0], height or RELEASE_EXO_SIZE[1]
    # The clip is the middle of the whole image scaled to its height.
    whole_width = max(width, round(height * meta.exo_aspect()))
    return meta.exo_camera(whole_width, height).cropped((whole_width - width) // 2, 0, width, height)
