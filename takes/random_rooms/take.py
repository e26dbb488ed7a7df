"""A random room as a take: exo clip, exact depth, cameras, true ego view and the ego prior of the pack's renderer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from ...geometry.cameras.camera import Camera
    from ..rooms.compiled_room import CompiledRoom

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


def random_take(number: int, size: TakeSize | None = None, lens: LensPreset | Lens = LensPreset.EGOX_RELEASE) -> Take:
    """Render the random room of a number. Needs numba, which the extra for training brings.

    Every take spans a part of its movement as long as its frames at `_FPS` last, or all of it if that is shorter.

    Args:
        number: of the room, see `random_scene`.
        size: of the take.
        lens: the ego lens, a preset or one of the ego image's size.

    Returns:
        A take whose ego prior is the pack's own, per frame.
    """
    size = size or TakeSize()
    renderer, ego_camera = _room_and_eyes(number, size, lens)
    exo_camera = renderer.room.exo_camera(size.exo_width, size.exo_height)
    exo, depth = renderer.color(exo_camera), Depth(renderer.depth(exo_camera), DepthMeaning.METRIC)
    cloud = build_point_cloud(exo, depth, exo_camera, background=Background.PER_FRAME, stride=1)
    return Take(
        name=f"room_{number:06d}",
        exo=exo,
        exo_camera=replace(exo_camera, take_kind=take_kind(exo_camera.world_to_camera)),
        depth=depth,
        ego_camera=ego_camera,
        prompt=PROMPT,
        fps=_FPS,
        ego_prior=render_points(cloud, ego_camera).color,
        ego_truth=renderer.color(ego_camera, with_head=False),
    )


def visible_arms(
    number: int, size: TakeSize | None = None, lens: LensPreset | Lens = LensPreset.EGOX_RELEASE
) -> Tensor:
    """Return the pixels [F, He, We] of a random room's ego images that show arms and hands; arguments as there."""
    renderer, ego_camera = _room_and_eyes(number, size or TakeSize(), lens)
    return renderer.arms(ego_camera)


def _room_and_eyes(number: int, size: TakeSize, lens: LensPreset | Lens) -> tuple[CompiledRoom, Camera]:
    from ..rooms.compiled_room import CompiledRoom  # numba compiles: seconds, the first time

    room = Room(random_scene(number), size.n_frames, *_span(number, size.n_frames))
    if isinstance(lens, LensPreset):
        lens = preset_lens(lens, size.ego_size, size.ego_size)
    return CompiledRoom(room), room.ego_camera(lens, size.ego_size, size.ego_size)


_MOVEMENT_SECONDS = 3.0  # as the example's 49 frames at 16 a second


def _span(number: int, n_frames: int) -> tuple[float, float]:
    """Return the part of the movement that a take shows: another one for each number."""
    share = min(1.0, (n_frames - 1) / (_FPS * _MOVEMENT_SECONDS))
    start = (1 - share) * (number * 0.618034 % 1)  # evenly spread
    return start, start + share
