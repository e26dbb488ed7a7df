"""Write a camera as a file that another program, or `camera_files.read_camera`, reads."""

from __future__ import annotations

import io
import json
import os
from enum import Enum
from pathlib import Path

import numpy as np

from ...common.whole_file import whole_file
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.field_of_view import lost_without_lens
from ..egox.write import meta_entry
from .gltf_write import gltf_text
from .nuke_chan import chan_text


class CameraFormat(str, Enum):
    """What a camera can be written as."""

    JSON = "JSON"
    """This pack's own: everything, exactly."""
    NPZ = "NPZ"
    """NumPy arrays: everything, exactly."""
    EGOX = "EgoX meta.json"
    """Poses of both cameras in EgoX's axes; no ego lens."""
    CHAN = "Nuke .chan"
    """Poses and the field of view of a centred pinhole; no picture size."""
    GLTF = "glTF (Blender)"
    """Poses in float32 and a field of view; the whole lens beside it, for this pack."""

    @property
    def suffix(self) -> str:
        """The ending of the file's name."""
        return {"NPZ": ".npz", "CHAN": ".chan", "GLTF": ".gltf"}.get(self.name, ".json")


def write_camera(
    path: str | os.PathLike[str],
    camera: Camera,
    kind: CameraFormat,
    *,
    exo_camera: Camera | None = None,
    fps: float = 24.0,
) -> str:
    """Write a camera; the file appears whole or not at all.

    Args:
        path: the file, replaced if it is there.
        camera: with any lens that the format can hold.
        kind: the format.
        exo_camera: the fixed pinhole that `EGOX` needs beside the ego camera.
        fps: frames a second, for `GLTF`.

    Returns:
        What the file leaves out, as a sentence; empty if nothing.

    Raises:
        ValueError: if the format cannot hold the camera, or needs an exo camera.
    """
    content, lost = _content(camera, kind, Path(path).stem, exo_camera, fps)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)
    return lost


def _content(camera: Camera, kind: CameraFormat, name: str, exo_camera: Camera | None, fps: float) -> tuple[bytes, str]:
    if kind is CameraFormat.JSON:
        return camera.to_json().encode(), ""
    if kind is CameraFormat.NPZ:
        return _npz(camera), ""
    if kind is CameraFormat.CHAN:
        size = f"{camera.width} x {camera.height}"
        return chan_text(camera).encode(), f"A .chan file does not store the image size: this one is for {size} pixels."
    if kind is CameraFormat.GLTF:
        lost = lost_without_lens(camera)
        return gltf_text(camera, fps).encode(), f"For other programs {lost}." if lost else ""
    if exo_camera is None:
        raise ValueError("EgoX's meta.json holds both cameras: connect exo_camera too.")
    meta = json.dumps(meta_entry(name, "", exo_camera, camera), indent=1)
    return meta.encode(), "meta.json stores no ego lens and no prompt: choose the lens when you load it."


def _npz(camera: Camera) -> bytes:
    """Return the arrays that `camera_files.camera_from_arrays` reads."""
    lens = camera.lens
    numbers = [[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]] if lens.is_pinhole else lens.row()
    stored = io.BytesIO()
    np.savez_compressed(
        stored,
        world_to_camera=camera.world_to_camera.numpy(),
        width=camera.width,
        height=camera.height,
        **{lens.npz_key: np.array(numbers, dtype="float64")},
    )
    return stored.getvalue()
