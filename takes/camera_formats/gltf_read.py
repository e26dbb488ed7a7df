"""The animated camera of a glTF 2.0 file, such as Blender exports: `.gltf` or `.glb`. Axes as in `gltf_write`.

Poses are taken at even steps: the smallest distance between two keys. Blender's export writes a key for every frame
("sample animations", which is on by default).
"""

from __future__ import annotations

import base64
import json
import math
import os
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from torch import Tensor

from ...common.messages import json_fault
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.field_of_view import lens_of_fov, vertical_fov
from ...geometry.cameras.rotations import matrices_to_quaternions, quaternions_to_matrices, rigid, y_up_swapped
from ...geometry.lenses import lens_from_json
from ..files import read_whole, resolve_inside
from .gltf_write import LENS_KEY

_LARGEST_FILE = 256 * 2**20  # bytes; a camera needs little, but a scene may lie in the same file
_MOST_FRAMES = 100_000
_SAME_TIME = 1e-4  # seconds: float32 tells times of hours apart no better
_FLOAT = 5126  # glTF's number for float32
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_PATHS = {"translation": 3, "rotation": 4, "scale": 3}
_GLB_MAGIC, _GLB_JSON, _GLB_BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
_FOV_TOLERANCE = 1e-4  # radians: a lens moved by hand changes more, float32 less


def read_gltf(path: str | os.PathLike[str], width: int = 0, height: int = 0) -> Camera:
    """Read the one camera of a file.

    Args:
        path: `.gltf` with its numbers inside or in files beside it, or `.glb`.
        width: image width in pixels where the file does not tell it; 0 follows the file's aspect ratio.
        height: image height, likewise; one of both is needed then.

    Raises:
        ValueError: if the file is missing, torn or no glTF, has no camera or several, or tells no picture size and
            none is given.
    """
    path = Path(path)
    content = read_whole(path, _LARGEST_FILE)
    try:
        scene = _Scene(path, content)
        node = scene.camera_node()
        poses = y_up_swapped(scene.poses(node))
        return _with_lens(scene.content["cameras"][scene.nodes[node]["camera"]], poses, width, height)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        said = (
            str(error) if isinstance(error, ValueError) else f"something is missing or of the wrong kind, {error!r:.80}"
        )
        raise ValueError(
            f"{path} contains no camera that this pack can read: {said.rstrip('.')}. Export a perspective camera as "
            "glTF 2.0, or choose another file."
        ) from error


def _with_lens(entry: dict[str, Any], poses: Tensor, width: int, height: int) -> Camera:
    """Make the camera of poses [F, 4, 4], camera-to-world, with the lens of a glTF camera."""
    if entry.get("type") != "perspective":
        raise ValueError("its camera is orthographic, which this pack does not support. Switch it to perspective")
    world_to_camera = torch.linalg.inv(poses)
    perspective = entry["perspective"]
    fov = float(perspective["yfov"])
    extras = dict(entry.get("extras", {}).get(LENS_KEY, {}))
    if extras:
        size = int(extras.pop("width")), int(extras.pop("height"))
        camera = Camera(lens_from_json(extras), *size, world_to_camera)
        if abs(math.radians(vertical_fov(camera)) - fov) < _FOV_TOLERANCE:
            return camera
        width, height = (width, height) if width or height else size  # the lens was changed since: its own is out
    if not width and not height:
        raise ValueError("glTF does not store the image size in pixels: give width and height")
    aspect = float(perspective.get("aspectRatio", 1))
    if not 0 < aspect < math.inf:
        raise ValueError(f"its camera's aspect ratio is {aspect}")
    width, height = width or max(1, round(height * aspect)), height or max(1, round(width / aspect))
    return Camera(lens_of_fov(math.degrees(fov), width, height), width, height, world_to_camera)


class _Scene:
    """A parsed file: nodes, their parents, and what moves them."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self.content, self._binary = _parsed(path, content)
        self.nodes: list[dict[str, Any]] = self.content.get("nodes", [])
        self._parents = {child: number for number, node in enumerate(self.nodes) for child in node.get("children", [])}

    def camera_node(self) -> int:
        """Return the number of the one node with a camera."""
        found = [number for number, node in enumerate(self.nodes) if "camera" in node]
        if len(found) != 1:
            names = [self.nodes[number].get("name", number) for number in found]
            raise ValueError(f"expected one camera, found {names}. Export one camera alone")
        return found[0]

    def poses(self, node: int) -> Tensor:
        """Return a node's poses in the world [F, 4, 4], without scale."""
        chain = [node]
        while chain[-1] in self._parents:
            if len(chain) > len(self.nodes):
                raise ValueError("its nodes are their own parents")
            chain.append(self._parents[chain[-1]])
        channels = self._channels(set(chain))
        times = _even_times([channel.times for channel in channels.values()])
        poses = torch.eye(4, dtype=torch.float64).expand(len(times), 4, 4)
        for number in chain:
            poses = self._local(number, channels, times) @ poses
        axes = poses[:, :3, :3] / torch.linalg.vector_norm(poses[:, :3, :3], dim=1, keepdim=True)
        return rigid(quaternions_to_matrices(matrices_to_quaternions(axes)), poses[:, :3, 3])

    def _local(self, number: int, channels: dict[tuple[int, str], _Channel], times: np.ndarray) -> Tensor:
        """Return a node's matrices [F, 4, 4] in its parent."""
        node = self.nodes[number]
        if "matrix" in node:  # such a node is never animated
            matrix = torch.tensor(node["matrix"], dtype=torch.float64).reshape(4, 4).T  # stored by columns
            return matrix.expand(len(times), 4, 4)
        values = {}
        for path, default in (("translation", [0, 0, 0]), ("rotation", [0, 0, 0, 1]), ("scale", [1, 1, 1])):
            if (number, path) in channels:
                values[path] = channels[number, path].at(times)
            else:
                value = torch.tensor(node.get(path, default), dtype=torch.float64)
                values[path] = value.reshape(_PATHS[path]).expand(len(times), _PATHS[path])
        unit = torch.nn.functional.normalize(values["rotation"], dim=-1).roll(1, dims=-1)
        return rigid(quaternions_to_matrices(unit) * values["scale"][:, None, :], values["translation"])

    def _channels(self, nodes: set[int]) -> dict[tuple[int, str], _Channel]:
        """Return what moves these nodes, from the first animation that moves one of them."""
        for animation in self.content.get("animations", []):
            found = {}
            for channel in animation["channels"]:
                target = channel["target"].get("node"), channel["target"]["path"]
                if target[0] in nodes and target[1] in _PATHS:
                    sampler = animation["samplers"][channel["sampler"]]
                    mode = sampler.get("interpolation", "LINEAR")
                    if mode not in ("LINEAR", "STEP"):
                        raise ValueError(f"its animation is {mode}. Export it sampled, a key a frame")
                    times, values = (
                        self._numbers(sampler["input"], 1),
                        self._numbers(sampler["output"], _PATHS[target[1]]),
                    )
                    found[target] = _Channel(times[:, 0], torch.from_numpy(values), mode == "STEP")
            if found:
                return found
        return {}

    def _numbers(self, accessor: int, width: int) -> np.ndarray:
        """Return an accessor's float32 numbers as [N, width] float64."""
        entry = self.content["accessors"][accessor]
        if entry["componentType"] != _FLOAT or _WIDTHS.get(entry["type"]) != width or "sparse" in entry:
            raise ValueError(f"its accessor {accessor} is not plain float32 of width {width}. Export it sampled")
        view = self.content["bufferViews"][entry["bufferView"]]
        start = int(view.get("byteOffset", 0)) + int(entry.get("byteOffset", 0))
        values = np.frombuffer(self._buffer(view["buffer"]), "<f4", int(entry["count"]) * width, start)
        if not np.isfinite(values).all():
            raise ValueError(f"its accessor {accessor} holds NaN or infinity")
        return values.astype("float64").reshape(-1, width)

    def _buffer(self, number: int) -> bytes:
        uri = self.content["buffers"][number].get("uri")
        if uri is None:
            return self._binary
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2], validate=True)
        beside = resolve_inside(self.path.parent, unquote(uri))  # glTF writes a space as %20
        return read_whole(beside, _LARGEST_FILE)


class _Channel:
    """One animated value: keys at times [K] in seconds, values [K, 3] or quaternions (x, y, z, w) [K, 4]."""

    def __init__(self, times: np.ndarray, values: Tensor, steps: bool) -> None:
        if not len(times) or len(times) != len(values) or (np.diff(times) <= 0).any():
            raise ValueError("the times of its animation do not ascend, or do not fit its values")
        self.times, self._values, self._steps = times, values, steps

    def at(self, times: np.ndarray) -> Tensor:
        """Return the values [F, 3] or [F, 4] at some times; before the first and after the last key they rest."""
        if self._steps or len(self.times) == 1:
            return self._values[np.searchsorted(self.times, times, side="right").clip(1) - 1]
        times = times.clip(self.times[0], self.times[-1])
        if self._values.shape[-1] == 4:
            from scipy.spatial.transform import Rotation, Slerp

            return torch.from_numpy(Slerp(self.times, Rotation.from_quat(self._values.numpy()))(times).as_quat())
        columns = [np.interp(times, self.times, column) for column in self._values.T.numpy()]
        return torch.from_numpy(np.stack(columns, axis=-1))


def _even_times(keys: list[np.ndarray]) -> np.ndarray:
    """Return even times from the first to the last key, as far apart as the two nearest ones; [0] if there are none."""
    if not keys:
        return np.zeros(1)
    times = np.unique(np.concatenate(keys))
    times = times[np.concatenate([[True], np.diff(times) > _SAME_TIME])]
    if len(times) == 1:
        return times
    steps = np.diff(times)
    step = np.median(steps[steps < 1.5 * steps.min()])
    count = round(float((times[-1] - times[0]) / step)) + 1
    if count > _MOST_FRAMES:
        raise ValueError(f"its animation has {count:,} frames, more than {_MOST_FRAMES:,}. Export it sampled")
    # Keys that are even already are taken as they are, to the last digit.
    return times if count == len(times) else np.linspace(times[0], times[-1], count)


def _parsed(path: Path, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a file's JSON, and the binary part of a `.glb`."""
    text, binary = data, b""
    if path.suffix.lower() == ".glb":
        if len(data) < 20 or struct.unpack_from("<2I", data) != (_GLB_MAGIC, 2):
            raise ValueError("it is not a binary glTF 2.0")
        length, kind = struct.unpack_from("<2I", data, 12)
        text, rest = data[20 : 20 + length], data[20 + length :]
        if kind != _GLB_JSON:
            raise ValueError("it is not a binary glTF 2.0")
        if len(rest) >= 8:
            length, kind = struct.unpack_from("<2I", rest)
            binary = rest[8 : 8 + length] if kind == _GLB_BINARY else b""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({json_fault(error)})") from error
    if not isinstance(content, dict) or not str(content.get("asset", {}).get("version", "")).startswith("2"):
        raise ValueError("it is not glTF 2.0")
    return content, binary
