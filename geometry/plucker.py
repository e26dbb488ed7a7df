"""Pluecker maps: the line that every pixel of the ego camera sees, in the frame of a reference camera.

For the camera-frame ray d_c of a pixel's centre and the relative pose T = inv(C_ref) @ C_ego (C: camera to world),

    d = R d_c,  m = o x d,  map = [m ; d]        R, o: rotation and translation of T

with |d| = 1, the moment first, metres and pixel centres at +0.5 (Exo2EgoSyn, sections 3.3 and 3.4.2; order and
normalisation as CameraCtrl's `ray_condition`). Two sets of maps exist:

- `plucker_maps`: all ego frames relative to one reference at full resolution; PoseInj takes exo camera 1.
- `align_maps`: ego frame 0 relative to each exo camera on the latent grid; EgoExo-Align takes them.

Rays come from the camera model that made the pixels: a pinhole, a fisheye, or an external map of directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..common.cancel import bounded_slices
from ..common.memory import DOUBLE, FLOAT, require_memory
from ..common.wan_grid import PLUCKER_CHANNELS, TEMPORAL_STRIDE, fits_wan, latent_frames
from .cameras.camera import Camera

# How far the length of an external direction may be from 1: half precision rounds to 5e-4.
_UNIT_TOLERANCE = 2e-3


class PoseReference(str, Enum):
    """Which camera's frame holds the lines; the names of `pose_reference` in Exo2EgoSyn's component files."""

    EXO1 = "exo1"
    OWN_FIRST_FRAME = "own_first_frame"


class RayModel(str, Enum):
    """Where the rays come from; the names of `rays` in Exo2EgoSyn's component files."""

    PINHOLE = "pinhole"
    RAYMAP = "raymap"


@dataclass(frozen=True, eq=False)
class PluckerMaps:
    """Maps of a clip with what a trained network must know of them.

    Attributes:
        maps: [F, 6, H, W] float32 on the CPU, moment first.
        reference: whose frame holds the lines.
        rays: whether the ego camera is a pinhole.
        poses: [F, 4, 4] float32, ego camera to reference in metres: inv(C_ref) @ C_ego; None where they are not known.

    Raises:
        ValueError: if the shapes do not fit together.
    """

    maps: Tensor
    reference: PoseReference
    rays: RayModel
    poses: Tensor | None = None

    def __post_init__(self) -> None:
        if self.maps.ndim != 4 or self.maps.shape[1] != PLUCKER_CHANNELS or 0 in self.maps.shape:
            raise ValueError(f"Expected Pluecker maps [F, {PLUCKER_CHANNELS}, H, W], got {list(self.maps.shape)}.")
        if self.poses is not None and self.poses.shape != (len(self.maps), 4, 4):
            raise ValueError(f"Expected poses [{len(self.maps)}, 4, 4] for the maps, got {list(self.poses.shape)}.")

    @classmethod
    def of(cls, ego: Camera, reference: Camera | None, width: int, height: int) -> PluckerMaps:
        """Make the maps of `ego` relative to exo camera 1, or, where it is `None`, to the ego camera's first frame.

        Args:
            ego: one pose a frame.
            reference: exo camera 1; its first pose counts.
            width: width of the maps in pixels.
            height: height of the maps.
        """
        kind = PoseReference.OWN_FIRST_FRAME if reference is None else PoseReference.EXO1
        reference = ego if reference is None else reference
        poses = ego.relative_to(reference[0]).camera_to_world.float()
        return cls(plucker_maps(ego, reference, width, height), kind, ray_model(ego), poses)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.maps)


def ray_model(camera: Camera) -> RayModel:
    """Return how a network's metadata calls the rays of `camera`."""
    return RayModel.PINHOLE if camera.lens.is_pinhole else RayModel.RAYMAP


def plucker_maps(ego: Camera, reference: Camera, width: int, height: int, *, raymap: Tensor | None = None) -> Tensor:
    """Make the Pluecker maps of every pose of a camera.

    Args:
        ego: the camera whose pixels see the lines, one pose a frame (F poses). Its image may have another size and
            another aspect ratio than the maps: the whole image is squeezed onto them, as the training pictures are.
        reference: the camera whose frame holds the lines. Its first pose counts: exo cameras stand still, and a
            moving one is a fixed frame only so.
        width: width of the maps in pixels.
        height: height of the maps.
        raymap: unit directions of the maps' pixels in the ego camera's frame [height, width, 3], in place of the
            lens' own.

    Returns:
        [F, 6, height, width] float32 on the CPU: o x d, then d.

    Raises:
        ValueError: if a size is not positive, or `raymap` is of another size or holds no unit directions.
    """
    poses = ego.relative_to(reference[0]).camera_to_world  # [F, 4, 4], ego camera to reference camera
    require_memory(
        (FLOAT * PLUCKER_CHANNELS * len(poses) + 3 * DOUBLE) * width * height,
        f"Pluecker maps of {len(poses)} frames at {width} x {height}",
        "Lower width, height or frames.",
    )
    rays = ego.rays_on_grid(width, height) if raymap is None else _checked_raymap(raymap, width, height)
    maps = torch.empty(len(poses), PLUCKER_CHANNELS, height, width)
    for frame, pose in enumerate(poses):  # some rows at a time: in double precision a long clip would take gigabytes
        for rows in bounded_slices(height, PLUCKER_CHANNELS * width):
            maps[frame, :, rows] = _lines(rays[rows], pose)
    return maps


def align_maps(exo: Sequence[Camera], ego: Camera, width: int, height: int, *, raymap: Tensor | None = None) -> Tensor:
    """Make the maps of the first ego frame relative to each exo camera, R_i^0 = inv(C_exo_i) @ C_ego_0.

    Args:
        exo: the exo cameras, V of them; the first pose of each counts.
        ego: the ego camera.
        width: width of the latent grid (image width / 8). Rays are made anew for its cells: a map of the image's size
            must not be scaled down.
        height: height of the latent grid.
        raymap: as in `plucker_maps`, for the cells of the latent grid.

    Returns:
        [V, 6, height, width] float32 on the CPU.

    Raises:
        ValueError: if there is no exo camera, and as `plucker_maps`.
    """
    if not exo:
        raise ValueError("Expected at least one exo camera, got none.")
    first = ego[0]
    return torch.cat([plucker_maps(first, camera, width, height, raymap=raymap) for camera in exo])


def wan_camera_embedding(maps: Tensor) -> Tensor:
    """Pack maps as ComfyUI's WAN_CAMERA_EMBEDDING, which Wan's Fun Camera models take.

    The maps themselves agree: moment first, unit direction, pixel centres at +0.5. Differences lie around them.

    - Time: the first frame stands four times, then every four frames make one group; T = (F + 3) / 4 groups.
    - Channels: channel `4 c + k` of a group is Pluecker channel c of its k-th frame.
    - Reference: core's poses count from the same camera's first frame, so that group 0 is the identity pose with
      moment zero. Maps relative to an exo camera have the same layout but mean something else to those models.
    - Scale: core's presets move by up to 2 units a clip, without a unit. Ours are metres, and nothing is normalised.
    - For three frames core crosses over time instead of space (`torch.cross` without `dim`); these maps do not.

    Args:
        maps: [F, 6, H, W] of `plucker_maps`, with F = 4n + 1. The models need H and W as multiples of 16.

    Returns:
        [1, 24, T, H, W].

    Raises:
        ValueError: if the number of frames is not 4n + 1, or there are not 6 channels.
    """
    if maps.ndim != 4 or maps.shape[1] != PLUCKER_CHANNELS or not fits_wan(len(maps)):
        raise ValueError(f"Expected Pluecker maps [4n + 1, {PLUCKER_CHANNELS}, H, W], got {list(maps.shape)}.")
    n_frames, _, height, width = maps.shape
    steps = latent_frames(n_frames)
    packed = maps.new_empty(PLUCKER_CHANNELS, TEMPORAL_STRIDE, steps, height, width)
    for place in range(TEMPORAL_STRIDE * steps):
        step, within = divmod(place, TEMPORAL_STRIDE)
        for rows in bounded_slices(height, PLUCKER_CHANNELS * width):
            packed[:, within, step, rows] = maps[max(0, place - TEMPORAL_STRIDE + 1), :, rows]
    return packed.flatten(0, 1)[None]


def _checked_raymap(raymap: Tensor, width: int, height: int) -> Tensor:
    if raymap.shape != (height, width, 3):
        raise ValueError(
            f"Expected a map of directions [{height}, {width}, 3], got {list(raymap.shape)}. Make it for this size: "
            "directions must not be scaled like an image."
        )
    rays = raymap.detach().to("cpu", torch.float64)
    lengths = torch.linalg.vector_norm(rays, dim=-1)
    if not bool(((lengths - 1).abs() <= _UNIT_TOLERANCE).all()):
        raise ValueError(
            f"Expected unit directions in the map, got lengths from {float(lengths.min()):.4g} to "
            f"{float(lengths.max()):.4g}. Normalise them, and give pixels outside the lens a direction too."
        )
    return rays


def _lines(rays: Tensor, pose: Tensor) -> Tensor:
    """Return the lines [6, H, W] of camera-frame rays [H, W, 3] under a pose [4, 4] from camera to reference."""
    # Rounded rotations of released poses bend lengths a little: hence normalised after the turn.
    directions = torch.nn.functional.normalize(rays @ pose[:3, :3].T, dim=-1)
    moments = torch.linalg.cross(pose[:3, 3].expand_as(directions), directions, dim=-1)
    return torch.cat([moments, directions], dim=-1).permute(2, 0, 1)
