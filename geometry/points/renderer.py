"""Render a point cloud from a camera: EgoX's ego prior (paper section 3.1, Eq. 2).

The paper names PyTorch3D's point renderer; its semantics are kept: hard discs, the K nearest points of a pixel,
alpha compositing front to back over black (see `fragments` and `compositing`). Holes stay black: sparse priors are
what EgoX was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from ...common.cancel import bounded_slices, cancel_point
from ...common.memory import FLOAT, require_memory
from ..cameras.camera import Camera
from . import rasterizer_pytorch3d, rasterizer_torch
from .compositing import composite, compositing_weights
from .fragments import Fragments, Raster, Splats
from .point_cloud import PointCloud

# EgoX's release: discs of 5 px in an image of 448 px height, 20 points a pixel.
RELEASE_RADIUS = 5.0
RELEASE_HEIGHT = 448
RELEASE_POINTS_PER_PIXEL = 20
# The release counts a pixel as empty where every channel is below this.
EMPTY_BELOW = 0.01

# For temporaries: a frame of the release's size fits in one strip, and a CPU gains nothing from more.
DEFAULT_MEMORY_BUDGET = 512 * 2**20
# Index, opacity, weight and gathered features of one point of one pixel.
_BYTES_PER_FRAGMENT = 64


class RenderBackend(str, Enum):
    """Who finds the nearest points of each pixel; both give the same image."""

    TORCH = "torch"
    PYTORCH3D = "pytorch3d"


@dataclass(frozen=True, eq=False)
class Rendering:
    """Images of a point cloud, on the CPU.

    Attributes:
        color: [F, H, W, 3], black where empty.
        depth: z in metres [F, H, W]: the mean over the pixel's points, weighted as their colours are; 0 where no
            point touches the pixel. None where it was not asked for.
    """

    color: Tensor
    depth: Tensor | None

    @property
    def coverage(self) -> Tensor:
        """Where something shows [F, H, W] bool, by the release's rule: some channel reaches `EMPTY_BELOW`.

        A black surface counts as empty, as it does to the model; `depth > 0` tells the two apart.
        """
        return self._coverage(torch.bool)

    @property
    def mask(self) -> Tensor:
        """Coverage as ComfyUI's MASK: [F, H, W] float32, 1 where something shows."""
        return self._coverage(torch.float32)

    @property
    def coverage_percent(self) -> Tensor:
        """Covered share of each frame [F], 0 to 100."""
        return torch.stack([100 * _covered(image).float().mean() for image in self.color])

    def _coverage(self, dtype: torch.dtype) -> Tensor:
        # Frame by frame into the result: of a long clip there is no room for another form of it.
        coverage = torch.empty(self.color.shape[:3], dtype=dtype)
        for frame, image in enumerate(self.color):
            cancel_point()
            coverage[frame] = _covered(image)
        return coverage


def _covered(image: Tensor) -> Tensor:
    return (image >= EMPTY_BELOW).any(dim=-1)


def render_points(
    cloud: PointCloud,
    camera: Camera,
    *,
    radius: float = RELEASE_RADIUS,
    points_per_pixel: int = RELEASE_POINTS_PER_PIXEL,
    backend: RenderBackend | str = RenderBackend.TORCH,
    device: torch.device | str | None = None,
    memory_budget_bytes: int = DEFAULT_MEMORY_BUDGET,
    progress: Callable[[int, int], None] | None = None,
    near: float = 0.0,
    keep_depth: bool = True,
) -> Rendering:
    """Render every frame of a point cloud.

    Where discs overlap the points of smallest z win. So the picture of a slanted surface is shifted towards its far
    side, by up to one radius where points lie dense: PyTorch3D's rendering, which the released priors have as well.

    Args:
        cloud: F frames of points, or one frame that serves all of the camera's poses.
        camera: F poses, or a fixed camera; any lens. Points behind it or outside its field are dropped.
        radius: of the discs, in pixels of an image of `RELEASE_HEIGHT` rows: it grows with the image.
        points_per_pixel: how many of the nearest points a pixel composes, K.
        backend: `PYTORCH3D` works where that is installed.
        device: where to rasterise; the points' device by default.
        memory_budget_bytes: for the temporaries: frames are rendered in batches, a large frame in strips of rows, and
            points spread in portions, that stay within it. The result does not depend on it.
        progress: called with (units done, all units) after each batch of frames, or after each strip where a frame
            takes several; a unit is a strip, else a frame. May raise to cancel.
        near: metres from the camera's center; points that are nearer, in any direction, are not drawn. 0 draws all.
        keep_depth: whether the result has the depth, a quarter of its memory.

    Raises:
        ValueError: if the cloud and the camera differ in length, a setting is out of range, or the backend is
            unknown or not installed.
    """
    n_frames = _common_length(cloud, camera)
    if not radius > 0 or points_per_pixel < 1 or not near >= 0:
        raise ValueError(
            f"Expected a positive radius, at least one point a pixel and near from 0 metres on, got {radius}, "
            f"{points_per_pixel} and {near}."
        )
    raster = Raster(1, camera.height, camera.width, radius * camera.height / RELEASE_HEIGHT, points_per_pixel)
    rasterize = _rasteriser(backend, memory_budget_bytes // 2)  # the other half is for the fragments
    strips = _strips(raster, memory_budget_bytes // 2, torch.device(device or cloud.frame_points[0].device))
    require_memory(
        ((7 if keep_depth else 6) * FLOAT + 4) * n_frames * camera.height * camera.width,
        f"Rendering {n_frames} frames at {camera.width} x {camera.height}",
        "Lower the camera's width and height, or give fewer frames.",
    )
    color = torch.zeros(n_frames, camera.height, camera.width, 3)
    depth = torch.zeros(n_frames, camera.height, camera.width) if keep_depth else None
    visible = _visible_frames(cloud, camera, n_frames, raster.radius, device, near)
    first = done = 0
    for batch in _batches(visible, raster, memory_budget_bytes) if len(strips) == 1 else ([frame] for frame in visible):
        frames = slice(first, first + len(batch))
        for strip in strips:
            rows = slice(strip.top, strip.top + strip.height)
            parts = batch if len(strips) == 1 else [frame.near(strip) for frame in batch]
            found = _render_batch(parts, replace(strip, n_images=len(batch)), rasterize)
            color[frames, rows] = found[0]
            if depth is not None:
                depth[frames, rows] = found[1]
            done += len(batch)
            if progress is not None:
                progress(done, n_frames * len(strips))
        first = frames.stop
    return Rendering(color, depth)


@dataclass(frozen=True, eq=False)
class _Visible:
    """Points whose discs touch the image: pixels [N, 2], z [N], colours [N, 3]."""

    pixels: Tensor
    z: Tensor
    colors: Tensor

    def __add__(self, other: _Visible) -> _Visible:
        pairs = ((self.pixels, other.pixels), (self.z, other.z), (self.colors, other.colors))
        return _Visible(*(torch.cat(pair) for pair in pairs))

    def near(self, strip: Raster) -> _Visible:
        """Return the points whose discs touch a strip of rows."""
        rows = self.pixels[:, 1]
        seen = (rows > strip.top - strip.radius) & (rows < strip.top + strip.height + strip.radius)
        return _Visible(self.pixels[seen], self.z[seen], self.colors[seen])


def _common_length(cloud: PointCloud, camera: Camera) -> int:
    n_clouds = cloud.n_frames
    if n_clouds != camera.n_frames and n_clouds != 1 and not camera.is_fixed:
        raise ValueError(
            f"The point cloud has {n_clouds} frames and the camera {camera.n_frames} poses. "
            "Give a camera path as long as the clip, or a fixed camera."
        )
    return max(n_clouds, camera.n_frames)


def _rasteriser(backend: RenderBackend | str, memory_budget_bytes: int) -> Callable[[Splats, Raster], Fragments]:
    known = [member.value for member in RenderBackend]
    if backend not in known:
        raise ValueError(f"Expected the backend {' or '.join(known)}, got {backend!r}.")
    if backend == RenderBackend.PYTORCH3D:
        rasterizer_pytorch3d.require_pytorch3d()
        return rasterizer_pytorch3d.rasterize
    return lambda splats, raster: rasterizer_torch.rasterize(splats, raster, memory_budget_bytes)


def _visible_frames(
    cloud: PointCloud, camera: Camera, n_frames: int, radius: float, device: torch.device | str | None, near: float
) -> Iterator[_Visible]:
    """Project frame by frame; a fixed camera sees the background once."""

    def visible(points: Tensor, colors: Tensor, frame: int) -> _Visible:
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
            return _Visible(*(torch.zeros(0, *size, device=device or points.device) for size in ((2,), (), (3,))))
        return _Visible(*(torch.cat(values) for values in zip(*found)))

    background = None
    for frame in range(n_frames):
        if background is None or not camera.is_fixed:
            background = visible(cloud.background_points, cloud.background_colors, frame)
        own = 0 if cloud.n_frames == 1 else frame
        yield background + visible(cloud.frame_points[own], cloud.frame_colors[own], frame)


def _strips(raster: Raster, memory_budget_bytes: int, device: torch.device) -> list[Raster]:
    """Cut a frame into strips of equal height whose fragments fit into the memory budget; one row at least.

    On the CPU they are no larger than what the rasteriser is fastest at.
    """
    bytes_per_row = raster.width * raster.points_per_pixel * _BYTES_PER_FRAGMENT
    most_rows = memory_budget_bytes // bytes_per_row
    if device.type == "cpu":
        most_rows = min(most_rows, rasterizer_torch.FAST_PIXELS // raster.width)
    most_rows = max(1, most_rows)
    height = math.ceil(raster.height / math.ceil(raster.height / most_rows))
    tops = range(0, raster.height, height)
    return [replace(raster, top=top, height=min(height, raster.height - top)) for top in tops]


def _batches(frames: Iterator[_Visible], raster: Raster, memory_budget_bytes: int) -> Iterator[list[_Visible]]:
    """Group frames that fit into the memory budget together; one frame at least."""
    bytes_per_splat = memory_budget_bytes / rasterizer_torch.splats_within(memory_budget_bytes, raster)
    bytes_per_frame = raster.height * raster.width * raster.points_per_pixel * _BYTES_PER_FRAGMENT
    batch: list[_Visible] = []
    used = 0.0
    for frame in frames:
        needed = len(frame.z) * bytes_per_splat + bytes_per_frame
        if batch and used + needed > memory_budget_bytes:
            yield batch
            batch, used = [], 0.0
        batch.append(frame)
        used += needed
    yield batch


def _render_batch(
    batch: list[_Visible], raster: Raster, rasterize: Callable[[Splats, Raster], Fragments]
) -> tuple[Tensor, Tensor]:
    """Return colour [n, H, W, 3] and depth [n, H, W] of n frames, on the CPU."""
    points = sum(batch[1:], batch[0])
    counts = torch.tensor([len(frame.z) for frame in batch], device=points.z.device)
    image = torch.repeat_interleave(torch.arange(len(batch), device=points.z.device), counts)
    fragments = rasterize(Splats(points.pixels, points.z, image), raster)
    weights = compositing_weights(fragments.alpha)  # [P, K]
    features = torch.cat([points.colors, points.z[:, None]], dim=-1)  # [N, 4]
    sums = composite(fragments, weights, features)  # [P, 4]
    # Weights sum to less than one towards a disc's rim; a depth must not fade there as a colour does.
    total = weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    values = torch.cat([sums[:, :3], sums[:, 3:] / total], dim=-1).to("cpu", torch.float32)
    images = torch.zeros(raster.n_images * raster.height * raster.width, 4)
    images[fragments.pixel.cpu()] = values
    images = images.view(raster.n_images, raster.height, raster.width, 4)
    return images[..., :3], images[..., 3]
