"""What the camera editor's node sends to the page: the cloud, the exo camera and its pictures, the camera it had.

    {"cloud": FILE, "points": N, "frames": F, "fps": R, "near": M, "exo_camera": TEXT, "start": TEXT or null,
     "pictures": [{**FILE, "frame": 0}, ...], "lenses": {PRESET: LENS, ...}, "coverage_percent": [...],
     "warning": "..." or null}

FILE is {"filename", "subfolder", "type"} for core's /view. The cloud is `geometry.packed_cloud`'s, which may have been
thinned from N points. The exo camera is `Camera.to_json`'s, `start` the text of a trajectory (see
`geometry.trajectory_json`); LENS is a lens as JSON, of a picture of 448 x 448 pixels.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import folder_paths
import torch
from torch import Tensor

from ...common.paths import is_file
from ...common.safe_text import for_page
from ...common.whole_file import whole_file
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import NAMED_PRESETS, RELEASE_SIZE, LensPreset, preset_lens
from ...geometry.cameras.trajectory import Trajectory
from ...geometry.cameras.trajectory_json import trajectory_to_json
from ...geometry.lenses import Lens, lens_to_json
from ...geometry.points.packed_cloud import pack_cloud
from ...geometry.points.point_cloud import PointCloud

UI_KEY = "exo2ego_editor"

_SUBFOLDER = "exo2ego_editor"
_MOST_PICTURES = 25
_PICTURE_WIDTH = 448  # pixels
# How far the keys of an incoming camera may leave it: less than is seen, and few enough to be moved by hand.
_START_METRES, _START_DEGREES = 0.005, 0.25


def editor_answer(
    images: Tensor,
    cloud: PointCloud,
    exo_camera: Camera,
    start: Camera | None,
    coverage_percent: Tensor,
    warning: str,
    fps: float,
    near: float,
) -> dict[str, Any]:
    """Return the ui entry of the module's table, with its files written to ComfyUI's temp folder.

    Args:
        images: the exo clip [F, H, W, 3].
        cloud: its points.
        exo_camera: of the images' size.
        start: the ego camera that the editor starts from, where one is connected.
        coverage_percent: covered share of each frame of the ego view as the node rendered it.
        warning: empty where nothing is odd.
        fps: frames a second of the clip.
        near: metres around the ego camera in which the node drew no points.
    """
    return {
        UI_KEY: [
            {
                "cloud": _temp_file(pack_cloud(cloud), ".bin"),
                "points": len(cloud.background_points) + sum(len(points) for points in cloud.frame_points),
                "frames": len(images),
                "fps": fps,
                "near": near,
                "exo_camera": exo_camera.to_json(),
                "start": None if start is None else _as_keys(start),
                "pictures": _pictures(images),
                "lenses": {preset.value: lens_to_json(_at_release_size(preset)) for preset in NAMED_PRESETS},
                "coverage_percent": [round(float(value), 3) for value in coverage_percent],
                "warning": for_page(warning) or None,
            }
        ]
    }


def _at_release_size(preset: LensPreset) -> Lens:
    return preset_lens(preset, RELEASE_SIZE, RELEASE_SIZE)


def _as_keys(camera: Camera) -> str:
    return trajectory_to_json(Trajectory.from_camera(camera, _START_METRES, _START_DEGREES))


def _pictures(images: Tensor) -> list[dict[str, Any]]:
    """Write evenly chosen frames as small JPEGs; the first and the last are among them."""
    from PIL import Image

    count = min(len(images), _MOST_PICTURES)
    frames = sorted({round(float(place)) for place in torch.linspace(0, len(images) - 1, count)})
    pictures = []
    for frame in frames:
        pixels = images[frame, ..., :3].float().mul(255).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
        picture = Image.fromarray(pixels)
        picture.thumbnail((_PICTURE_WIDTH, 4 * _PICTURE_WIDTH))
        stored = io.BytesIO()
        picture.save(stored, "JPEG", quality=85)
        pictures.append({**_temp_file(stored.getvalue(), ".jpg"), "frame": frame})
    return pictures


def _temp_file(content: bytes, suffix: str) -> dict[str, str]:
    """Write a file named by its content into the temp folder, unless it is there; return its place for /view."""
    filename = hashlib.sha256(content).hexdigest() + suffix
    path = Path(folder_paths.get_temp_directory()) / _SUBFOLDER / filename
    if not is_file(path):
        with whole_file(path) as unfinished:
            unfinished.write_bytes(content)
    return {"filename": filename, "subfolder": _SUBFOLDER, "type": "temp"}
