"""What was done to a clip, in time and picture, so that whatever belongs to the whole clip can follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import TypeVar

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...geometry.cameras.aspect import ASPECT_TOLERANCE
from ...geometry.cameras.camera import Camera
from ...geometry.depth.depth import Depth, DepthMeaning
from ..video import squeezed
from .orientation import Orientation

# How far the shape of a depth map may be from the clip's: models round sides to multiples of 14 or 16 pixels.
_SHAPE = 0.03
_USE = "Connect the cut that Load Clip gives."
_MOST_PIXELS = 100_000

Box = tuple[int, int, int, int]
Frames = TypeVar("Frames")


@dataclass(frozen=True)
class Cut:
    """What was done to a clip.

    The *whole* clip is all frames of the file as they are stored. A stored picture is mirrored and turned upright; a
    window of it is scaled, and placed between bars.

    Attributes:
        frames: for each frame handed out, the number of the whole clip's frame, counted from 0.
        times: the time of each of these in the whole clip, seconds from its first frame.
        n_source: frames of the whole clip.
        fps: frames a second of what is handed out.
        stored: width and height of the stored picture in pixels.
        pixel_aspect: width of an upright pixel over its height.
        orientation: what brings it upright.
        window: left, top, width, height of what is kept, in pixels of the upright picture.
        size: width and height of what is handed out.
        placed: left, top, width, height of the window in it.

    Raises:
        ValueError: if the numbers contradict each other.
    """

    frames: tuple[int, ...]
    times: tuple[float, ...]
    n_source: int
    fps: float
    stored: tuple[int, int]
    pixel_aspect: float
    orientation: Orientation
    window: Box
    size: tuple[int, int]
    placed: Box

    def __post_init__(self) -> None:
        if not self.frames or len(self.frames) != len(self.times):
            raise ValueError(f"A cut has a time for each of its frames, and at least one. {_USE}")
        if not all(isfinite(time) for time in self.times) or list(self.times) != sorted(self.times):
            raise ValueError(f"The times of a cut rise from one frame to the next. {_USE}")
        if min(self.frames) < 0 or max(self.frames) >= self.n_source:
            raise ValueError(f"The frames of a cut are among the {self.n_source} of the clip. {_USE}")
        if not 0 < self.fps < 1e5 or not 1e-3 < self.pixel_aspect < 1e3:
            raise ValueError(f"A cut has a frame rate and pixels of a shape. {_USE}")
        for size in (self.stored, self.size):
            if not all(1 <= side <= _MOST_PIXELS for side in size):
                raise ValueError(f"Sizes are positive numbers of pixels, got {size[0]} x {size[1]}. {_USE}")
        for what, box, size in (("window", self.window, self.upright), ("picture", self.placed, self.size)):
            if min(box[:2]) < 0 or min(box[2:]) < 1 or box[0] + box[2] > size[0] or box[1] + box[3] > size[1]:
                raise ValueError(f"The {what} of a cut lies within {size[0]} x {size[1]} pixels, got {box}. {_USE}")

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright picture in pixels."""
        return self.orientation.size(*self.stored)

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height at which a player shows the whole picture, its pixels made square."""
        width, height = self.upright
        return max(1, round(width * self.pixel_aspect)), height

    # Time -------------------------------------------------------------------------------------------------------

    def in_time(self, frames: Frames, what: str) -> Frames:
        """Take the cut's frames out of those of the whole clip.

        Args:
            frames: a list, an array or a tensor with one entry a frame of the whole clip.
            what: they are, for the message: "depth maps".

        Raises:
            ValueError: if there are not as many as the whole clip has frames.
        """
        if len(frames) != self.n_source:
            more = "or more " if len(frames) > self.n_source else ""
            already = (
                " They seem to be made from the frames of Load Clip: then they follow already, and `cut` must not be "
                "connected."
                if len(frames) == len(self.frames)
                else ""
            )
            raise ValueError(
                f"The whole clip has {self.n_source} frames, and there are {len(frames)} {more}{what}. Give one "
                f"for each frame of the clip's file, or disconnect cut.{already}"
            )
        picked = list(self.frames)
        return [frames[index] for index in picked] if isinstance(frames, list) else frames[picked]

    def has_made(self, images: Tensor) -> bool:
        """Whether images [F, H, W, C] are of what was handed out: they follow the clip already.

        They have its number of frames and its very size. Those of the whole clip have not, but for a clip that was
        handed out as it is.
        """
        is_whole = len(images) == self.n_source and images.shape[2:0:-1] == self.stored
        return len(images) == len(self.frames) and images.shape[2:0:-1] == self.size and not is_whole

    # Picture ----------------------------------------------------------------------------------------------------

    def picture(self, stored: Tensor) -> Tensor:
        """Bring one stored picture [H, W, C] in [0, 1] to what is handed out, [h, w, C]; bars are 0."""
        left, top, width, height = self.window
        kept = self.orientation.upright(stored)[top : top + height, left : left + width]
        left, top, width, height = self.placed
        scaled = squeezed(kept[None], width, height)[0]
        if self.size == (width, height):
            return scaled
        picture = scaled.new_zeros(self.size[1], self.size[0], scaled.shape[-1])
        picture[top : top + height, left : left + width] = scaled
        return picture

    def points(self, points: Tensor, size: tuple[int, int], what: str = "picture") -> Tensor:
        """Return where points [..., 2] (column, row) of the whole picture, at any size, are in what is handed out.

        Args:
            points: in pixels, whose centres are at +0.5.
            size: width and height of the picture that they belong to: upright, or as stored.
            what: has this size, for the message.

        Raises:
            ValueError: if the size has another shape than the clip.
        """
        column, row = points.unbind(-1)
        column, row = column / size[0], row / size[1]
        if self._is_stored(size, what):
            if self.orientation.mirrored:
                column = 1 - column
            for _ in range(self.orientation.turns):
                column, row = 1 - row, column
        (width, height), window, placed = self.upright, self.window, self.placed
        column = (column * width - window[0]) / window[2] * placed[2] + placed[0]
        row = (row * height - window[1]) / window[3] * placed[3] + placed[1]
        return torch.stack([column, row], dim=-1)

    def maps(self, maps: Tensor, fill: float, what: str = "depth maps") -> Tensor:
        """Bring maps [F, H, W] of the cut's frames, at any size, to [F, h, w]: each pixel takes the one under it.

        Args:
            maps: as `in_time` returns them, upright or as stored.
            fill: value of the bars.
            what: they are, for the message.

        Raises:
            ValueError: if they have another shape than the clip.
        """
        width, height = self.size
        require_memory(
            FLOAT * len(maps) * width * height,
            f"{len(maps)} {what} at {width} x {height}",
            "Make the images smaller, or give fewer frames.",
        )
        result = torch.empty(len(maps), height, width, dtype=maps.dtype)
        for index, stored in enumerate(maps):
            cancel_point()
            result[index] = self.map(stored, fill, what)
        return result

    def map(self, stored: Tensor, fill: float, what: str = "depth maps") -> Tensor:
        """Bring one map [H, W] to [h, w], as `maps` does."""
        (width, height), upright, window, placed = self.size, self.upright, self.window, self.placed
        turned = self._is_stored((stored.shape[1], stored.shape[0]), what)
        whole = self.orientation.upright(stored[..., None])[..., 0] if turned else stored
        columns = _under(placed[2], window[0], window[2], upright[0], whole.shape[1])
        rows = _under(placed[3], window[1], window[3], upright[1], whole.shape[0])
        result = torch.full((height, width), fill, dtype=stored.dtype)
        inner = whole[rows[:, None], columns]
        result[placed[1] : placed[1] + placed[3], placed[0] : placed[0] + placed[2]] = inner
        return result

    def depth(self, depth: Depth) -> Depth:
        """Bring depth of the cut's frames, at any size, to the picture; bars have none.

        Raises:
            ValueError: as `maps`, or if no pixel is left that holds a depth.
        """
        fill = 0.0 if depth.meaning is DepthMeaning.METRIC else float("nan")
        return replace(depth, values=self.maps(depth.values, fill))

    def camera(self, camera: Camera) -> Camera:
        """Bring the camera of the whole clip, at any size, to the picture: fixed, or with one pose a frame of it.

        Raises:
            ValueError: if its size has another shape than the clip, it has another number of poses, or its lens cannot
                follow.
        """
        size = (camera.width, camera.height)
        if self._is_stored(size, "camera", ASPECT_TOLERANCE):
            if self.orientation.mirrored:
                raise ValueError(
                    "The clip is stored mirrored, and so is this camera, which no lens can follow. Give the camera of "
                    "the upright picture."
                )
            camera = camera.turned_clockwise(self.orientation.turns)
        if not camera.is_fixed:
            camera = replace(camera, world_to_camera=self.in_time(camera.world_to_camera, "poses"))
        across, down = camera.width / self.upright[0], camera.height / self.upright[1]
        (left, top, width, height), placed = self.window, self.placed
        lens = camera.lens.cropped(left * across, top * down)
        lens = lens.scaled(placed[2] / (width * across), placed[3] / (height * down)).cropped(-placed[0], -placed[1])
        return replace(camera, lens=lens, width=self.size[0], height=self.size[1])

    def mask(self, mask: Tensor) -> Tensor:
        """Bring masks of the whole clip to [F, h, w]; bars are 0.

        Args:
            mask: [F, H, W] or [F, H, W, 1]; or [1, H, W] or [H, W], which count for all frames.

        Raises:
            ValueError: as `in_time` and `maps`.
        """
        mask = mask[..., 0] if mask.ndim == 4 else mask
        mask = mask[None] if mask.ndim == 2 else mask
        masks = mask.expand(len(self.frames), -1, -1) if len(mask) == 1 else self.in_time(mask, "masks")
        return self.maps(masks, 0, "masks")

    def _is_stored(self, size: tuple[int, int], what: str, tolerance: float = _SHAPE) -> bool:
        """Return whether a picture of a size lies as stored; those that have both shapes count as upright.

        Raises:
            ValueError: if it has neither shape.
        """
        width, height = self.upright
        shapes = (width / height, width / height * self.pixel_aspect)
        given = size[0] / size[1]
        if any(abs(given / shape - 1) <= tolerance for shape in shapes):
            return False
        if self.orientation.turns % 2 and any(abs(given * shape - 1) <= tolerance for shape in shapes):
            return True
        raise ValueError(
            f"The clip's picture has {width} x {height} pixels, and the {what} {size[0]} x {size[1]}: another shape, "
            "so it shows another part. Give it for the whole picture of the clip's file, at any size, or disconnect "
            "cut."
        )


def _under(count: int, first: int, width: int, whole: int, size: int) -> Tensor:
    """Return which of `size` cells along an axis lies under each of `count` pixels.

    Args:
        count: pixels that show the window.
        first: where the window begins, in pixels of a picture.
        width: the window's pixels.
        whole: the picture's.
        size: cells that stand for the whole picture.
    """
    centres = (torch.arange(count, dtype=torch.float64) + 0.5) / count * width + first
    return (centres / whole * size).floor().long().clamp(0, size - 1)
