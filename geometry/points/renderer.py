"""Render a point cloud from a camera: EgoX's ego prior (paper section 3.1, Eq. 2).

The paper names PyTorch3D's point renderer; its semantics are kept: hard discs, the K nearest points of a pixel,
alpha compositing front to back over black (see `fragments` and `compositing`). Holes stay black: sparse priors are
what EgoX was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ..cameras.camera import Camera
from . import rasterizer_numba, rasterizer_pytorch3d, rasterizer_torch
from .compositing import composite, compositing_weights
from .fragments import Fragments, Raster, Splats
from .parts import Part, parts_of, strips_of, visible_frames
from .point_cloud import PointCloud
from .reused_memory import ReusedMemory
from .threads import map_in_threads, n_threads_on

# EgoX's release: discs of 5 px in an image of 448 px height, 20 points a pixel.
RELEASE_RADIUS = 5.0
RELEASE_HEIGHT = 448
RELEASE_POINTS_PER_PIXEL = 20
# The release counts a pixel as empty where every channel is below this.
EMPTY_BELOW = 0.01

# For temporaries: a frame of the release's size fits in one strip, and a CPU gains nothing from more.
DEFAULT_MEMORY_BUDGET = 512 * 2**20
_BYTES_PER_POINT = 6 * FLOAT  # of what the camera sees

Rasteriser = Callable[[Splats, Raster], Fragments]


class RenderBackend(str, Enum):
    """Who finds the nearest points of each pixel; both give the same image.

    On a CPU `TORCH` is compiled where Numba is installed.
    """

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
    on = torch.device(device or cloud.frame_points[0].device)
    n_threads = n_threads_on(on)
    budget = memory_budget_bytes // n_threads
    rasterize, most_pixels = _rasteriser(backend, on, budget // 2)  # the other half is for the fragments
    strips = strips_of(raster, budget // 2, most_pixels)
    require_memory(
        ((7 if keep_depth else 6) * FLOAT + 4) * n_frames * camera.height * camera.width,
        f"Rendering {n_frames} frames at {camera.width} x {camera.height}",
        "Lower the camera's width and height, or give fewer frames.",
    )
    color = torch.zeros(n_frames, camera.height, camera.width, 3)
    depth = torch.zeros(n_frames, camera.height, camera.width) if keep_depth else None
    visible = visible_frames(cloud, camera, n_frames, raster.radius, device, near)
    done = 0
    parts = parts_of(visible, strips, budget, most_pixels)
    most_ahead = max(1, memory_budget_bytes // (_BYTES_PER_POINT * max(1, int(cloud.counts.max()))))
    for part, found in map_in_threads(partial(_rasterised, rasterize), parts, n_threads, most_ahead):
        color[part.frames, part.rows] = found[0]
        if depth is not None:
            depth[part.frames, part.rows] = found[1]
        done += part.raster.n_images
        if progress is not None:
            progress(done, n_frames * len(strips))
    return Rendering(color, depth)


def _common_length(cloud: PointCloud, camera: Camera) -> int:
    n_clouds = cloud.n_frames
    if n_clouds != camera.n_frames and n_clouds != 1 and not camera.is_fixed:
        raise ValueError(
            f"The point cloud has {n_clouds} frames and the camera {camera.n_frames} poses. "
            "Give a camera path as long as the clip, or a fixed camera."
        )
    return max(n_clouds, camera.n_frames)


def _rasteriser(
    backend: RenderBackend | str, device: torch.device, memory_budget_bytes: int
) -> tuple[Rasteriser, int | None]:
    """Return a rasteriser, and how many pixels it is fastest at if that matters."""
    known = [member.value for member in RenderBackend]
    if backend not in known:
        raise ValueError(f"Expected the backend {' or '.join(known)}, got {backend!r}.")
    on_cpu = device.type == "cpu"
    most_pixels = rasterizer_torch.FAST_PIXELS if on_cpu else None
    if backend == RenderBackend.PYTORCH3D:
        rasterizer_pytorch3d.require_pytorch3d()
        return rasterizer_pytorch3d.rasterize, most_pixels
    if on_cpu and rasterizer_numba.has_numba():
        return rasterizer_numba.rasterize, rasterizer_numba.FAST_PIXELS
    by_torch = partial(rasterizer_torch.rasterize, memory_budget_bytes=memory_budget_bytes, memory=ReusedMemory())
    return by_torch, most_pixels


def _rasterised(rasterize: Rasteriser, part: Part) -> tuple[Part, tuple[Tensor, Tensor]]:
    """Return the part with colour [n, h, W, 3] and depth [n, h, W] of its n frames, on the CPU."""
    points, raster = sum(part.points[1:], part.points[0]), part.raster
    counts = torch.tensor([len(frame.z) for frame in part.points], device=points.z.device)
    image = torch.repeat_interleave(torch.arange(len(counts), device=points.z.device), counts)
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
    return part, (images[..., :3], images[..., 3])
