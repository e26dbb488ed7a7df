"""Cameras from files: our own JSON, NumPy archives, EgoX's `meta.json`, Nuke's `.chan`, glTF."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...common.messages import with_advice
from ...geometry.cameras.aspect import same_aspect
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import RELEASE_SIZE, LensPreset
from ...geometry.lenses import Lens, lens_kinds
from ..egox.meta import EgoXMeta
from ..egox.read import DATASET_KEY, dataset_entry
from ..files import EXPORT_AGAIN, load_json
from ..numpy_files import load_arrays
from .gltf_read import read_gltf
from .nuke_chan import read_chan

if TYPE_CHECKING:
    import numpy as np

# Size of the release's exo clips in pixels, for meta.json files, which tell none.
RELEASE_EXO_SIZE = (784, 448)
CAMERA_SUFFIXES = (".json", ".npz", ".chan", ".gltf", ".glb")
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
    - `.npz` with `world_to_camera` or `camera_to_world` ([4, 4], [F, 3, 4] or [F, 4, 4]), `width`, `height`, and
      `intrinsics` (3 x 3, or fx, fy, cx, cy; pixels, pixel centres at +0.5), or the array of another lens: `npz_key`
      and `number_names` of its class, e.g. `fisheye624`.
    - Nuke's `.chan`, which needs a picture size: `nuke_chan`.
    - `.gltf` and `.glb`, which need a picture size unless this pack wrote them: `gltf_read`.
    - EgoX's `meta.json`, of a take or a dataset; only here `role`, `lens` and `take` count.

    Args:
        path: the file.
        role: which camera of a `meta.json`.
        width: wanted image width in pixels. Where only one of both is given, the other follows the aspect ratio;
            0 for both keeps the file's size (for `meta.json` the release's: 784 x 448 exo, 448 x 448 ego).
        height: wanted image height.
        lens: the ego lens, which `meta.json` does not tell.
        take: the take's name in a dataset's `meta.json`; a dataset of one take needs none.

    Raises:
        ValueError: if the file is missing, torn, pickled or of another kind, or describes no camera, or none of
            the wanted aspect ratio.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        arrays = load_arrays(path)
        with with_advice(EXPORT_AGAIN):
            camera = camera_from_arrays(arrays, path)
    elif path.suffix.lower() == ".json":
        content = load_json(path)
        if isinstance(content, dict) and {"ego_extrinsics", "camera_extrinsics", DATASET_KEY} & set(content):
            meta = EgoXMeta(content, path) if DATASET_KEY not in content else dataset_entry(path, take)
            return _camera_of_meta(meta, CameraRole(role), width, height, lens)
        with with_advice(EXPORT_AGAIN):
            camera = Camera.from_json(json.dumps(content))
    elif path.suffix.lower() == ".chan":
        if not width and not height:
            raise ValueError(f"{path} does not store the image size, as no .chan file does: give width and height.")
        return read_chan(path, width or height, height or width)
    elif path.suffix.lower() in (".gltf", ".glb"):
        camera = read_gltf(path, width, height)
    else:
        raise ValueError(
            f"{path} is not a camera file: expected {', '.join(CAMERA_SUFFIXES)}; .json is ours or EgoX's meta.json. "
            "Choose one of these."
        )
    try:
        return fit(camera, width, height)
    except ValueError as error:
        raise ValueError(f"{path}: {error} With a width or height of 0 it keeps its own shape.") from error


def fit(camera: Camera, width: int, height: int) -> Camera:
    """Resize a camera; a side of 0 follows the other one, and both keep the camera's size.

    Raises:
        ValueError: if the aspect ratio is another; a crop is needed then.
    """
    if not width and not height:
        return camera
    wide = width or max(1, round(camera.width * height / camera.height))
    high = height or max(1, round(camera.height * width / camera.width))
    return camera.resized(wide, high)


def camera_from_arrays(arrays: dict[str, np.ndarray], source: str | os.PathLike[str]) -> Camera:
    """Make a camera from the arrays of an `.npz`; see `read_camera`.

    Raises:
        ValueError: if an array is missing, doubled or of another shape, or the poses are none.
    """
    missing = {"width", "height"} - set(arrays)
    given = [key for key in _POSE_KEYS if key in arrays]
    kinds = {kind.npz_key: kind for kind in lens_kinds().values()}
    lenses = [key for key in kinds if key in arrays]
    if missing or len(given) != 1 or len(lenses) != 1:
        raise ValueError(
            f"{source} holds the arrays {sorted(arrays)}; a camera needs {' or '.join(kinds)}, width, height and "
            "either world_to_camera or camera_to_world."
        )
    lens = _lens_of_array(kinds[lenses[0]], arrays[lenses[0]].astype("float64"), source)
    sizes = [arrays["width"], arrays["height"]]
    if any(size.size != 1 for size in sizes):
        raise ValueError(f"'width' and 'height' of {source} must be single numbers.")
    width, height = (int(size.item()) for size in sizes)
    camera = Camera(lens, width, height, torch.from_numpy(arrays[given[0]].astype("float64")))
    if given[0] == "world_to_camera":
        return camera
    return Camera(camera.lens, width, height, camera.camera_to_world)


def _lens_of_array(kind: type[Lens], numbers: np.ndarray, source: str | os.PathLike[str]) -> Lens:
    if kind.is_pinhole and numbers.shape == (3, 3):
        numbers = numbers[[0, 1, 0, 1], [0, 1, 2, 2]]
    count = len(kind.number_names)
    if numbers.shape != (count,):
        matrix = "3 x 3 or " if kind.is_pinhole else ""
        raise ValueError(
            f"'{kind.npz_key}' of {source} must be {matrix}{count} numbers ({', '.join(kind.number_names)}), got the "
            f"shape {numbers.shape}."
        )
    return kind.from_row(numbers.tolist())


def _camera_of_meta(meta: EgoXMeta, role: CameraRole, width: int, height: int, lens: LensPreset | Lens) -> Camera:
    if role is CameraRole.EGO:
        return meta.ego_camera(width or height or RELEASE_SIZE, height or width or RELEASE_SIZE, lens)
    if not width or not height:
        release_width, release_height = RELEASE_EXO_SIZE
        width, height = (
            width or round((height or release_height) * release_width / release_height),
            height or round((width or release_width) * release_height / release_width),
        )
    # The clip is the middle of the whole image scaled to its height.
    whole_width = round(height * meta.exo_aspect())
    if width > whole_width and not same_aspect((width, height), (whole_width, height)):
        raise ValueError(
            f"Images of {width} x {height} are wider than those that {meta.source} describes ({whole_width} x "
            f"{height}). Crop the video to at most that aspect ratio, or give a camera file of the video as it is."
        )
    whole_width = max(width, whole_width)
    return meta.exo_camera(whole_width, height).cropped((whole_width - width) // 2, 0, width, height)
