"""Write a take as EgoX lays out its own, so that it can be read back, shared or given to EgoX's code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ...common.whole_file import whole_file
from ...geometry.cameras.camera import QUARTER_TURN_CLOCKWISE, Camera
from ...geometry.cameras.presets import SCRIPT_CENTER_AT_512, SCRIPT_FOCAL_AT_512
from ...geometry.lenses.pinhole import Pinhole
from ..take import Take
from ..video import write_video
from .read import EXO_CAMERA_FILE, EXO_FILE, META_FILE, PRIOR_FILE, TRUTH_FILE

DEPTH_FILE = "depth_f16.npz"
EGO_CAMERA_FILE = "ego_camera.json"

_CRF = 12  # finer than for watching: priors are made from these pixels


def write_take(take: Take, folder: str | os.PathLike[str]) -> None:
    """Write a take folder that `read_take` reads back.

    It holds `exo.mp4`, `ego_Prior.mp4` and `ego_GT.mp4` where the take has them, `depth_f16.npz` (metres in half
    precision, as in EgoX's data), `meta.json`, and both cameras as this pack's camera files, for what EgoX's format
    cannot say. `exo_camera.json` has the exact principal point, and `read_take` prefers it to `meta.json`.
    `ego_camera.json` has the ego lens: `read_take` leaves that to its caller, `read_camera` reads the file.

    Args:
        take: its exo camera must be fixed and have a pinhole lens; its frame sizes must be even.
        folder: is made; files of these names in it are replaced.

    Raises:
        ValueError: if the exo camera moves or is no pinhole, its depth is not metric, or a size is odd.
    """
    folder = Path(folder)
    meta = meta_entry(folder.name, take.prompt, take.exo_camera, take.ego_camera.expanded(take.n_frames))
    depth = take.depth.metric().numpy().astype(np.float16)
    videos = {EXO_FILE: take.exo, PRIOR_FILE: take.ego_prior, TRUTH_FILE: take.ego_truth}
    if any(size % 2 for video in videos.values() if video is not None for size in video.shape[1:3]):
        raise ValueError("H.264 needs even sizes, and a padded video would no longer fit its camera: crop the take.")
    for name, video in videos.items():
        if video is not None:
            write_video(folder / name, video, take.fps, crf=_CRF)
    with whole_file(folder / DEPTH_FILE) as unfinished:
        np.savez_compressed(unfinished, depth=depth)
    texts = {
        EXO_CAMERA_FILE: take.exo_camera.to_json(),
        EGO_CAMERA_FILE: take.ego_camera.to_json(),
        META_FILE: json.dumps(meta, indent=1),
    }
    for name, text in texts.items():
        with whole_file(folder / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def meta_entry(name: str, prompt: str, exo: Camera, ego: Camera) -> dict[str, object]:
    """Return a take's entry of `meta.json`; see `EgoXMeta` for its conventions.

    It holds neither the ego lens nor a principal point of the exo camera off the middle.

    Raises:
        ValueError: if the exo camera moves or is no pinhole.
    """
    if not exo.is_fixed or not isinstance(exo.lens, Pinhole):
        raise ValueError("EgoX's format holds a fixed pinhole as exo camera; this exo camera is another kind.")
    as_mounted = QUARTER_TURN_CLOCKWISE.T @ ego.world_to_camera
    return {
        "exo_path": f"./videos/{name}/{EXO_FILE}",
        "prompt": prompt,
        "camera_intrinsics": _matrix(exo.lens.fx, exo.lens.fy, exo.width / 2, exo.height / 2),
        "camera_extrinsics": _rows(exo)[0],
        # One constant in all of EgoX's files.
        "ego_intrinsics": _matrix(SCRIPT_FOCAL_AT_512, SCRIPT_FOCAL_AT_512, *(SCRIPT_CENTER_AT_512,) * 2),
        "ego_extrinsics": as_mounted[:, :3].tolist(),
    }


def _matrix(fx: float, fy: float, cx: float, cy: float) -> list[list[float]]:
    return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]


def _rows(camera: Camera) -> list[list[list[float]]]:
    return camera.world_to_camera[:, :3].tolist()
