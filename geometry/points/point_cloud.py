"""Point clouds of a clip: a static background and what moves in each frame (EgoX, Section 3.1 and its release)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ...common.memory import DOUBLE, FLOAT, require_memory
from ...common.messages import arrived
from ..cameras.camera import Camera
from ..depth.depth import Depth
from ..depth.dynamic_mask import share_of
from ..depth.reliability import RELIABILITY_THRESHOLD, RELIABILITY_WINDOW, reliable_mask
from .lift import Lift, RunningMean, chosen_colors
from .threads import map_in_threads, n_threads_on

# EgoX's release: every second pixel in both directions.
STRIDE = 2


class Background(str, Enum):
    """Where the static part of a frame comes from."""

    MEAN = "mean"
    """One cloud for the clip, from the mean over time of every pixel's static depth and colour."""
    PER_FRAME = "per frame"
    """None: every frame consists of its own pixels."""


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Coloured points in the world, metres: a background for all frames and each frame's own points.

    Attributes:
        background_points: [N, 3] float32.
        background_colors: [N, 3] float32 in [0, 1].
        frame_points: one [M_f, 3] for each of F frames.
        frame_colors: one [M_f, 3] for each of F frames.

    Raises:
        ValueError: if points and colours do not belong together, or there is no frame.
    """

    background_points: Tensor
    background_colors: Tensor
    frame_points: tuple[Tensor, ...]
    frame_colors: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if not self.frame_points or len(self.frame_points) != len(self.frame_colors):
            raise ValueError(
                f"Expected points and colors of at least one frame, got {len(self.frame_points)} frames of points "
                f"and {len(self.frame_colors)} of colors."
            )
        pairs = [(self.background_points, self.background_colors), *zip(self.frame_points, self.frame_colors)]
        for points, colors in pairs:
            if points.ndim != 2 or points.shape[1] != 3 or points.shape != colors.shape:
                raise ValueError(f"Expected points and colors [N, 3], got {list(points.shape)}, {list(colors.shape)}.")
            if not (points.is_floating_point() and colors.is_floating_point()):
                raise ValueError(f"Expected points and colors as floats, got {arrived(points)}, {arrived(colors)}.")

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frame_points)

    @property
    def counts(self) -> Tensor:
        """Number of points in each frame, background included [F] int64."""
        return torch.tensor([len(self.background_points) + len(points) for points in self.frame_points])

    def frame(self, index: int) -> tuple[Tensor, Tensor]:
        """Return points and colours [N + M_f, 3] of one frame, background first."""
        return (
            torch.cat([self.background_points, self.frame_points[index]]),
            torch.cat([self.background_colors, self.frame_colors[index]]),
        )

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the smallest and the largest x, y, z of all points [3], [3]."""
        boxes = [points.aminmax(dim=0) for points in (self.background_points, *self.frame_points) if len(points)]
        return torch.stack([box.min for box in boxes]).amin(dim=0), torch.stack([box.max for box in boxes]).amax(dim=0)

    def describe(self) -> str:
        """Return counts, bounds and, if frames are empty, a warning, as a few lines of text."""
        counts, own = self.counts, [len(points) for points in self.frame_points]
        lines = [
            f"{self.n_frames} frames of {int(counts.min()):,} to {int(counts.max()):,} points: background "
            f"{len(self.background_points):,}, own {min(own):,} to {max(own):,}"
        ]
        if counts.max():
            low, high = self.bounds()
            axes = (f"{axis} {float(a):.2f} to {float(b):.2f}" for axis, a, b in zip("xyz", low, high))
            lines.append(f"world bounds in metres: {', '.join(axes)}")
        empty = (counts == 0).nonzero().flatten().tolist()
        if empty:
            lines.append(f"Warning: {len(empty)} frames have no point (first: frame {empty[0]}).")
        return "\n".join(lines)


def build_point_cloud(
    images: Tensor,
    depth: Depth,
    camera: Camera,
    *,
    background: Background | str = Background.MEAN,
    dynamic: Tensor | None = None,
    dynamic_points: bool = True,
    stride: int = STRIDE,
    reliability_window: int = RELIABILITY_WINDOW,
    reliability_threshold: float = RELIABILITY_THRESHOLD,
    quantise_colors: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> PointCloud:
    """Lift the frames of an exo clip into coloured points.

    MEAN averages depth and colour of each pixel over the frames in which it is static and reliable, and unprojects
    the means that are reliable themselves, as EgoX's release does; the pixels that move add to their own frame only.
    This needs a camera that stands still. PER_FRAME takes all reliable pixels of a frame as that frame's points; the
    camera may move.

    Args:
        images: [F, H, W, 3] in [0, 1]; further channels are ignored.
        depth: metric, of the same frames and size.
        camera: of the same size; fixed, or with one pose a frame.
        background: `Background`.
        dynamic: [F, H, W] bool, True where something moves; only MEAN looks at it. None: nothing moves.
        dynamic_points: whether moving pixels become points of their frame (the release does so for in-the-wild
            clips; its Ego-Exo4D priors are background only).
        stride: take every n-th pixel in both directions, from the first row and column on.
        reliability_window: see `reliable_mask`.
        reliability_threshold: see `reliable_mask`.
        quantise_colors: round colours to 8 bits, as the release stores them.
        progress: called with (frames done, all frames).

    Returns:
        The points in the camera's world, on the CPU.

    Raises:
        ValueError: if lengths or sizes differ, the depth is not metric, MEAN meets a moving camera, or no pixel is
            reliable.
    """
    background = Background(background)
    metres = depth.metric()
    _check(images, metres, camera, background, dynamic, stride)
    n_frames = len(metres)
    _require_memory(metres, background, dynamic, dynamic_points, stride)
    lift = Lift(camera, stride)
    averaging = background is Background.MEAN
    mean = RunningMean(metres.shape[1:])

    def lifted(frame: int) -> tuple[Tensor, Tensor, Tensor]:
        """The frame's own points and colours, and where it counts in the mean."""
        own = reliable = reliable_mask(metres[frame : frame + 1], reliability_window, reliability_threshold)[0]
        still = _nothing(reliable)
        if averaging:
            moves = _nothing(reliable) if dynamic is None else dynamic[frame].to("cpu")
            still = reliable & ~moves
            own = reliable & moves if dynamic_points else _nothing(reliable)
        own = own[::stride, ::stride]
        points = lift(metres[frame, ::stride, ::stride], own, frame)
        return points, chosen_colors(images[frame, ::stride, ::stride], own, quantise_colors), still

    own_points, own_colors = [], []
    for frame, (points, colors, still) in enumerate(map_in_threads(lifted, range(n_frames), n_threads_on("cpu"))):
        own_points.append(points)
        own_colors.append(colors)
        if averaging:
            mean.add(metres[frame], images[frame], still)
        if progress is not None:
            progress(frame + 1, n_frames)

    # Where something passed, the mean lies on no surface. Checking it anew is what the released priors agree with:
    # PSNR 21.7 dB instead of 20.6 on a kitchen take (see tests/geometry/points/test_released_prior.py).
    mean_depth = mean.depth
    seen = reliable_mask(mean_depth[None], reliability_window, reliability_threshold)[0, ::stride, ::stride]
    cloud = PointCloud(
        background_points=lift(mean_depth[::stride, ::stride], seen, 0),
        background_colors=chosen_colors(mean.color[::stride, ::stride], seen, quantise_colors),
        frame_points=tuple(own_points),
        frame_colors=tuple(own_colors),
    )
    if not cloud.counts.any():
        raise ValueError(_why_empty(metres, dynamic, reliability_threshold))
    return cloud


def _require_memory(
    metres: Tensor, background: Background, dynamic: Tensor | None, dynamic_points: bool, stride: int
) -> None:
    """Refuse a cloud whose points, and the means and rays on the way to it, would not fit into memory."""
    n_frames, height, width = metres.shape
    share = 1.0 if background is Background.PER_FRAME else 0.0
    if background is Background.MEAN and dynamic is not None and dynamic_points:
        moving = (dynamic[frame, ::stride, ::stride].to("cpu") for frame in range(n_frames))
        share = sum(float(one.float().mean()) for one in moving) / n_frames
    on_grid = height * width / stride**2
    points = 6 * FLOAT * on_grid * (1 + share * n_frames)
    means = 10 * FLOAT * height * width if background is Background.MEAN else 0
    require_memory(
        points + means + (3 * DOUBLE + 3 * FLOAT) * height * width,
        f"A point cloud of {n_frames} frames at {width} x {height} with stride {stride}",
        "Raise stride, make images and depth smaller, or give fewer frames.",
    )


def _nothing(mask: Tensor) -> Tensor:
    return torch.zeros_like(mask)


def _check(
    images: Tensor, metres: Tensor, camera: Camera, background: Background, dynamic: Tensor | None, stride: int
) -> None:
    if images.ndim != 4 or images.shape[-1] < 3:
        raise ValueError(f"Expected images [F, H, W, 3], got the shape {list(images.shape)}.")
    n_frames, height, width = images.shape[:3]
    if len(metres) != n_frames:
        raise ValueError(
            f"The clip has {n_frames} frames and its depth {len(metres)}. Run the depth model on the same frames, or "
            "cut the longer one."
        )
    if metres.shape[1:] != (height, width) or (camera.height, camera.width) != (height, width):
        raise ValueError(
            f"The images are {width} x {height} pixels, the depth {metres.shape[2]} x {metres.shape[1]} and the "
            f"camera {camera.width} x {camera.height}. Resize or crop them alike."
        )
    if not camera.is_fixed and camera.n_frames != n_frames:
        raise ValueError(f"The camera has {camera.n_frames} poses and the clip {n_frames} frames. Cut the longer one.")
    if background is Background.MEAN and not camera.is_fixed and _moves(camera):
        raise ValueError(
            "The mean background averages each pixel over time, so the exo camera must stand still; this one moves. "
            f'Choose the background "{Background.PER_FRAME.value}".'
        )
    if dynamic is not None and (dynamic.dtype is not torch.bool or dynamic.shape != metres.shape):
        raise ValueError(
            f"Expected the mask of moving pixels as bool {list(metres.shape)}, got {dynamic.dtype} "
            f"{list(dynamic.shape)}."
        )
    if stride < 1:
        raise ValueError(f"Expected a stride of at least 1 pixel, got {stride}.")


def _moves(camera: Camera) -> bool:
    """Whether a trajectory is more than one pose repeated (up to a tenth of a millimetre or milliradian)."""
    return float((camera.world_to_camera - camera.world_to_camera[:1]).abs().max()) > 1e-4


def _why_empty(metres: Tensor, dynamic: Tensor | None, threshold: float) -> str:
    valid = sum(share_of(frame > 0) for frame in metres) / len(metres)
    masked = 0.0 if dynamic is None else share_of(dynamic)
    return (
        f"The point cloud is empty: {valid:.3g} % of the depth is valid, {masked:.3g} % is masked as "
        f"moving, and the rest varies by more than {threshold:g} of its mean within its neighbourhood. "
        "Check the depth's meaning, that the mask is not inverted, or raise the reliability threshold."
    )
