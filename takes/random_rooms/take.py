"""A random room as a take: exo clip, exact depth, cameras, true ego view and the ego prior of the pack's renderer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ...geometry.cameras.presets import LensPreset, preset_lens
from ...geometry.depth.depth import Depth, DepthMeaning
from ...geometry.lenses import Lens
from ...geometry.points.point_cloud import Background, build_point_cloud
from ...geometry.points.renderer import render_points
from ...geometry.take_kind import take_kind
from ..rooms.room import Room
from ..take import Take
from .scene import random_scene

_FPS = 16.0  # Wan's own rate

PROMPT = (
    "[Exo view]\n**Scene Overview:**\nA kitchen with a wooden table on which plates, boxes, books and fruit lie.\n\n"
    "**Action Analysis:**\nA person stands at the table and moves a fruit with one hand.\n\n"
    "[Ego view]\n**Scene Overview:**\nSeen from above, the table with all that is on it, and the room behind.\n\n"
    "**Action Analysis:**\nOne hand takes a fruit and puts it down; the other rests on the table."
)


@dataclass(frozen=True)
class TakeSize:
    """How large a take is: frames, and pixels of its exo and square ego images."""

    n_frames: int = 9
    exo_width: int = 224
    exo_height: int = 128
    ego_size: int = 128


class RandomRoom:
    """The random room of a number, with eyes in it. Needs numba, which the extra for training brings.

    Every room shows a part of its movement as long as its frames at `_FPS` last, or all of it if that is shorter.

    Args:
        number: of the room, see `random_scene`.
        size: of its take.
        lens: the ego lens, a preset or one of the ego image's size.
    """

    def __init__(
        self, number: int, size: TakeSize | None = None, lens: LensPreset | Lens = LensPreset.EGOX_RELEASE
    ) -> None:
        from ..rooms.compiled_room import CompiledRoom  # numba compiles: seconds, the first time

        self._number, self._size = number, size or TakeSize()
        room = Room(random_scene(number), self._size.n_frames, *_span(number, self._size.n_frames))
        side = self._size.ego_size
        if isinstance(lens, LensPreset):
            lens = preset_lens(lens, side, side)
        self._renderer, self._ego_camera = CompiledRoom(room), room.ego_camera(lens, side, side)

    def take(self) -> Take:
        """Render the room as a take whose ego prior is the pack's own, per frame."""
        renderer, ego_camera = self._renderer, self._ego_camera
        exo_camera = renderer.room.exo_camera(self._size.exo_width, self._size.exo_height)
        exo, depth = renderer.color(exo_camera), Depth(renderer.depth(exo_camera), DepthMeaning.METRIC)
        cloud = build_point_cloud(exo, depth, exo_camera, background=Background.PER_FRAME, stride=1)
        return Take(
            name=f"room_{self._number:06d}",
            exo=exo,
            exo_camera=replace(exo_camera, take_kind=take_kind(exo_camera.world_to_camera)),
            depth=depth,
            ego_camera=ego_camera,
            prompt=PROMPT,
            fps=_FPS,
            ego_prior=render_points(cloud, ego_camera).color,
            ego_truth=renderer.color(ego_camera, with_head=False),
        )

    def visible_arms(self) -> Tensor:
        """Return the pixels [F, He, We] of the ego images that show arms and hands."""
        return self._renderer.arms(self._ego_camera)


def random_take(number: int, size: TakeSize | None = None, lens: LensPreset | Lens = LensPreset.EGOX_RELEASE) -> Take:
    """Render the random room of a number as a take; see `RandomRoom`."""
    return RandomRoom(number, size, lens).take()


_MOVEMENT_SECONDS = 3.0  # as the example's 49 frames at 16 a second


def _span(number: int, n_frames: int) -> tuple[float, float]:
    """Return the part of the movement that a take shows: another one for each number."""
    share = min(1.0, (n_frames - 1) / (_FPS * _MOVEMENT_SECONDS))
    start = (1 - share) * (number * 0.618034 % 1)  # evenly spread
    return start, start + share
