"""What is rasterised at once: the points of some frames, or of a strip of one frame, that the camera sees."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...common.cancel import bounded_slices
from ..cameras.camera import Camera
from . import rasterizer_torch
from .fragments import Raster
from .point_cloud import PointCloud

# Index, opacity, weight and gathered features of one point of one pixel.
_BYTES_PER_FRAGMENT = 64


@dataclass(frozen=True, eq=False)
class Visible:
    """Points whose discs touch the image: pixels [N, 2], z [N], colours [N, 3]."""

    pixels: Tensor
    z: Tensor
    colors: Tensor

    def __add__(self, other: Visible) -> Visible:
        pairs = ((self.pixels, other.pixels), (self.z, other.z), (self.colors, other.colors))
        return Visible(*(torch.cat(pair) for pair in pairs))

    def near(self, strip: Raster) -> Visible:
        """Return the points whose discs touch a strip of rows."""
        rows = self.pixels[:, 1]
        seen = (rows > strip.top - strip.radius) & (rows < strip.top + strip.height + strip.radius)
        return Visible(self.pixels[seen], self.z[seen], self.colors[seen])


@dataclass(frozen=True, eq=False)
class Part:
    """Points of n frames, and where their pictures belong.

    Attributes:
        frames: of the clip.
        points: of each of them.
        raster: of a strip of each.
    """

    frames: slice
    points: list[Visible]
    raster: Raster

    @property
    def rows(self) -> slice:
        """Of the picture."""
        return slice(self.raster.top, self.raster.top + self.raster.height)


def visible_frames(
    cloud: PointCloud, camera: Camera, n_frames: int, radius: float, device: torch.device | str | None, near: float
) -> Iterator[Visible]:
    """Project frame by frame; a fixed camera sees the background once."""

    def visible(points: Tensor, colors: Tensor, frame: int) -> Visible:
        found = []
        for part in bounded_slices(len(points), 3):
            some = points[part].to(device or points.device)
            pixels, z, seen = camera.project(some, frame)
            limits = pixels.new_tensor([camera.width, camera.height]) + radius
            seen = seen & ((pixels > -radius) & (pixels < limits)).all(dim=-1)
            if near > 0:
                center = camera.centers[0 if camera.is_fixed else frame].to(some)
                seen = seen & (torch.linalg.vector_norm(some - center, dim=-1) >= near)
            found.append((pixels[seen], z[seen], colors[part].to(some)[seen]))
        if not found:
            return Visible(*(torch.zeros(0, *size, device=device or points.device) for size in ((2,), (), (3,))))
        return Visible(*(torch.cat(values) for values in zip(*found)))

    background = None
    for frame in range(n_frames):
        if background is None or not camera.is_fixed:
            background = visible(cloud.background_points, cloud.background_colors, frame)
        own = 0 if cloud.n_frames == 1 else frame
        yield background + visible(cloud.frame_points[own], cloud.frame_colors[own], frame)


def strips_of(raster: Raster, memory_budget_bytes: int, most_pixels: int | None) -> list[Raster]:
    """Cut a frame into strips of equal height whose fragments fit into the memory budget; one row at least.

    Nor are they larger than what the rasteriser is fastest at, `most_pixels`.
    """
    bytes_per_row = raster.width * raster.points_per_pixel * _BYTES_PER_FRAGMENT
    most_rows = memory_budget_bytes // bytes_per_row
    if most_pixels is not None:
        most_rows = min(most_rows, most_pixels // raster.width)
    most_rows = max(1, most_rows)
    height = math.ceil(raster.height / math.ceil(raster.height / most_rows))
    tops = range(0, raster.height, height)
    return [replace(raster, top=top, height=min(height, raster.height - top)) for top in tops]


def parts_of(
    frames: Iterator[Visible], strips: list[Raster], memory_budget_bytes: int, most_pixels: int | None
) -> Iterator[Part]:
    """Yield a clip in parts that fit into the memory budget: whole frames, or each strip of one after the other.

    Nor are they larger than what the rasteriser is fastest at, `most_pixels`.
    """
    whole = len(strips) == 1
    first = 0
    for batch in (
        _batches(frames, strips[0], memory_budget_bytes, most_pixels) if whole else ([frame] for frame in frames)
    ):
        for strip in strips:
            points = batch if whole else [frame.near(strip) for frame in batch]
            yield Part(slice(first, first + len(batch)), points, replace(strip, n_images=len(batch)))
        first += len(batch)


def _batches(
    frames: Iterator[Visible], raster: Raster, memory_budget_bytes: int, most_pixels: int | None
) -> Iterator[list[Visible]]:
    """Group frames that fit into the memory budget together; one frame at least."""
    pixels = raster.height * raster.width
    bytes_per_splat = memory_budget_bytes / rasterizer_torch.splats_within(memory_budget_bytes, raster)
    bytes_per_frame = pixels * raster.points_per_pixel * _BYTES_PER_FRAGMENT
    batch: list[Visible] = []
    used = 0.0
    for frame in frames:
        needed = len(frame.z) * bytes_per_splat + bytes_per_frame
        is_large = most_pixels is not None and (len(batch) + 1) * pixels > most_pixels
        if batch and (is_large or used + needed > memory_budget_bytes):
            yield batch
            batch, used = [], 0.0
        batch.append(frame)
        used += needed
    yield batch
