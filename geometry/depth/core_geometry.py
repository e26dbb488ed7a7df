"""Geometry of newer ComfyUI cores: MOGE_GEOMETRY (MoGe) and DA3_GEOMETRY (Depth Anything 3).

Both are dictionaries of tensors, of any float type and on any device. They were written after the sources of ComfyUI
0.27 and 0.38 and not run against models, so everything that is read is checked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import atan, degrees
from typing import Any

import torch
from torch import Tensor

from ...common.memory import FLOAT, require_memory
from ...common.messages import arrived, with_advice
from ..cameras.camera import Camera
from ..lenses.pinhole import Pinhole
from .depth import Depth, DepthMeaning

# Fields of view of one clip, estimated frame by frame, that differ by more are worth a word: in degrees.
_STEADY = 2.0
_SKY = 0.5  # as core's own nodes take it
# How far a model's rotation may be from one before its poses are not used.
_NEARLY = 0.2
_MOGE = "Connect moge_geometry of MoGe Inference (perspective)."
_DA3 = "Connect da3_geometry of Run Depth Anything 3."


@dataclass(frozen=True)
class Geometry:
    """What a geometry model found of a clip.

    Attributes:
        depth: metric depth, 0 where the model sees no surface.
        camera: with one lens, fixed or with one pose a frame; None where the model gives none.
        notes: what a user should know, as sentences.
    """

    depth: Depth
    camera: Camera | None
    notes: tuple[str, ...]


@with_advice(_MOGE)
def read_moge(payload: Any, factor: float = 1.0) -> Geometry:
    """Read MOGE_GEOMETRY.

    Used of it: `depth` [B, H, W] in metres, infinite where masked, or else z of `points` [B, H, W, 3]; `intrinsics`
    [B, 3, 3], of which a row belongs to the width, and the other to the height, of 1; `mask` [B, H, W]; `normal` tells
    the version.

    Args:
        payload: the dictionary.
        factor: that all lengths are multiplied by.

    Raises:
        ValueError: if it holds something else, or is of a panorama.
    """
    depth = _tensor(payload, "MOGE_GEOMETRY", "depth", 3)
    if depth is None:
        points = _tensor(payload, "MOGE_GEOMETRY", "points", 4)
        if points is None or points.shape[-1] != 3:
            raise ValueError("The MOGE_GEOMETRY has neither 'depth' nor 'points'.")
        depth = points[..., 2]
    intrinsics = _tensor(payload, "MOGE_GEOMETRY", "intrinsics", 3)
    if intrinsics is None:
        raise ValueError(
            "The MOGE_GEOMETRY has no intrinsics, as that of a panorama: its depth is the distance to a point, not z."
        )
    n_frames, height, width = depth.shape
    if intrinsics.shape[1:] != (3, 3) or len(intrinsics) not in (1, n_frames):
        raise ValueError(f"'intrinsics' of a MOGE_GEOMETRY are [{n_frames}, 3, 3], got {list(intrinsics.shape)}.")
    pixels = intrinsics * intrinsics.new_tensor([width, height, 1.0])[:, None]
    lens, notes = _lens(pixels, width, "MoGe")
    if lens is None:
        raise ValueError("'intrinsics' of the MOGE_GEOMETRY are not those of a camera.")
    surface = torch.isfinite(depth) & (depth > 0)
    mask = _tensor(payload, "MOGE_GEOMETRY", "mask", 3)
    if mask is not None:
        _check_shape("MOGE_GEOMETRY", "mask", mask, depth)
        surface &= mask > 0.5
    if payload.get("normal") is None:
        notes.append("It has no normals, as of MoGe's first version, whose lengths are not metres.")
    camera = Camera(lens, width, height, torch.eye(4, dtype=torch.float64))
    return Geometry(_depth(depth, surface, factor), camera, tuple(notes))


@with_advice(_DA3)
def read_da3(payload: Any, factor: float = 1.0) -> Geometry:
    """Read DA3_GEOMETRY.

    Used of it: `depth` [B, H, W]; `sky` [B, H, W], a probability; and of several views `extrinsics` [1, S, 3, 4] or
    [1, S, 4, 4], world to camera, and `intrinsics` [1, S, 3, 3] in pixels of the size that the model worked at: the
    middle of the picture tells that size. Where the model gives no camera, both are identities.

    Args:
        payload: the dictionary.
        factor: that all lengths are multiplied by: those of poses too.

    Raises:
        ValueError: if it holds something else.
    """
    name = "DA3_GEOMETRY"
    depth = _tensor(payload, name, "depth", 3)
    if depth is None:
        raise ValueError("The DA3_GEOMETRY has no 'depth'.")
    n_frames, height, width = depth.shape
    surface = torch.isfinite(depth) & (depth > 0)
    sky = _tensor(payload, name, "sky", 3)
    if sky is not None:
        _check_shape(name, "sky", sky, depth)
        surface &= ~(sky >= _SKY)
    extrinsics, intrinsics = (_tensor(payload, name, key, 4) for key in ("extrinsics", "intrinsics"))
    notes = [
        "Only its Metric-Large model knows metres: of others, give the factor or the lengths are of an unknown unit."
    ]
    camera = None
    if intrinsics is not None and extrinsics is not None:
        for key, given, rows in (("extrinsics", extrinsics, (3, 4)), ("intrinsics", intrinsics, (3,))):
            if given.shape[:2] != (1, n_frames) or given.shape[2] not in rows:
                raise ValueError(f"{key!r} of a DA3_GEOMETRY are [1, {n_frames}, ...], got {list(given.shape)}.")
        camera, more = _da3_camera(extrinsics[0], intrinsics[0], width, height, factor)
        notes += more
    else:
        notes.append("It has no camera, as in the mode mono: give its field of view to the node Camera.")
    return Geometry(_depth(depth, surface, factor), camera, tuple(notes))


def _da3_camera(
    extrinsics: Tensor, intrinsics: Tensor, width: int, height: int, factor: float
) -> tuple[Camera | None, list[str]]:
    """Make the camera of `width` x `height` pixels of matrices a view, and say what is wrong with it."""
    middle = intrinsics[:, :2, 2]
    if not bool(torch.isfinite(intrinsics).all()) or not bool((middle > 1).all()):
        return None, ["Its intrinsics are not those of a camera, so no camera goes out."]
    # Of the size that the model worked at, the middle is half.
    scale = torch.tensor([width, height], dtype=torch.float64) / (2 * middle.double())  # [S, 2]
    pixels = intrinsics.double().clone()
    pixels[:, :2] *= scale[..., None]
    lens, notes = _lens(pixels, width, "Depth Anything 3")
    if lens is None:
        return None, ["Its intrinsics are not those of a camera, so no camera goes out."]
    poses = torch.eye(4, dtype=torch.float64).repeat(len(extrinsics), 1, 1)
    poses[:, :3] = extrinsics[:, :3, :4].double()
    if not bool(torch.isfinite(poses).all()):
        return Camera(lens, width, height, torch.eye(4)), [*notes, "Its poses hold NaN or infinity, so none is used."]
    left, _, right = torch.linalg.svd(poses[:, :3, :3])
    rotations = left @ right
    off = float((rotations - poses[:, :3, :3]).abs().max())
    if bool((torch.linalg.det(rotations) < 0).any()) or off > _NEARLY:
        return Camera(lens, width, height, torch.eye(4)), [*notes, "Its poses are no rotations, so none is used."]
    poses[:, :3, :3] = rotations
    poses[:, :3, 3] *= factor
    if bool((poses - torch.eye(4)).abs().amax() < 1e-6):
        poses = poses[:1]
    return Camera(lens, width, height, poses), notes


def _lens(pixels: Tensor, width: int, model: str) -> tuple[Pinhole | None, list[str]]:
    """Return the lens of matrices in pixels [F, 3, 3], their median, and a word where they differ; None: no lens."""
    numbers = torch.stack([pixels[:, 0, 0], pixels[:, 1, 1], pixels[:, 0, 2], pixels[:, 1, 2]], dim=-1).double()
    if not bool(torch.isfinite(numbers).all()) or not bool((numbers > 0).all()):
        return None, []
    fields = [degrees(2 * atan(0.5 * width / float(focal))) for focal in numbers[:, 0]]
    notes = []
    if max(fields) - min(fields) > _STEADY:
        notes.append(
            f"{model} sees fields of view from {min(fields):.1f} to {max(fields):.1f} degrees in the frames, and one "
            "lens stands for all: give it the field of view, if you know it, and run it again."
        )
    fx, fy, cx, cy = numbers.median(dim=0).values.tolist()
    return Pinhole(fx, fy, cx, cy), notes


def _depth(depth: Tensor, surface: Tensor, factor: float) -> Depth:
    return Depth(torch.where(surface, depth * factor, 0.0), DepthMeaning.METRIC)


def _tensor(payload: Any, name: str, key: str, dimensions: int) -> Tensor | None:
    """Return a tensor of the payload as float32 on the CPU; None where it has none."""
    if not isinstance(payload, Mapping):
        raise ValueError(f"Expected a {name}, which is a dictionary, got {arrived(payload)}.")
    value = payload.get(key)
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.is_complex() or value.ndim != dimensions or 0 in value.shape:
        raise ValueError(f"{key!r} of a {name} is a tensor of {dimensions} dimensions, got {arrived(value)}.")
    if value.layout is not torch.strided or value.is_meta:
        raise ValueError(f"{key!r} of a {name} is a plain tensor, got {arrived(value)} without numbers.")
    require_memory(3 * FLOAT * value.numel(), f"{key} of a {name} {list(value.shape)}", "Give fewer frames.")
    return value.detach().to("cpu", torch.float32)


def _check_shape(name: str, key: str, value: Tensor, depth: Tensor) -> None:
    if value.shape != depth.shape:
        raise ValueError(f"{key!r} of a {name} is as large as its depth, {list(depth.shape)}, got {list(value.shape)}.")
