"""A random room from four sides, in the form of an Ego-Exo4D clip for Exo2EgoSyn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..example.views import SOURCE_FPS, SOURCE_FRAMES, ego_lenses, squeezed
from ..rooms.room import Room, Scene
from ..views import MAX_EXO_VIEWS, Clip, EgoView, MultiViewTake, View
from .scene import random_scene

_EXO_SIZE = (1280, 720)  # pixels: the shape of the exo images before they are squeezed


def random_views(
    number: int,
    clip: Clip | None = None,
    ego_view: EgoView = EgoView.UNDISTORTED,
    n_views: int = MAX_EXO_VIEWS,
    scene_of: Callable[[int], Scene] = random_scene,
) -> MultiViewTake:
    """Render the random room of a number through its exo cameras and the figure's eyes. Needs numba.

    Args:
        number: of the room.
        clip: the frames, of a movement as long as the example's; default as Exo2EgoSyn.
        ego_view: what the ego images are.
        n_views: how many of the room's four exo cameras, the first ones.
        scene_of: what a number's room holds: `random_scene`, or `random_kitchen`.

    Raises:
        ValueError: if the clip goes beyond the movement, or there are not so many cameras.
    """
    from ..rooms.compiled_room import CompiledRoom  # numba compiles: seconds, the first time

    if not 1 <= n_views <= MAX_EXO_VIEWS:
        raise ValueError(f"A random room has 1 to {MAX_EXO_VIEWS} exo cameras, got {n_views}. Ask for as many.")
    clip = clip or Clip()
    last = clip.start + clip.span - 1
    if last >= SOURCE_FRAMES:
        raise ValueError(
            f"A random room has {SOURCE_FRAMES} source frames; {clip.n_frames} frames from {clip.start} with stride "
            f"{clip.stride} would need {last + 1}. Start earlier, or take fewer frames or a smaller stride."
        )
    room = Room(scene_of(number), clip.n_frames, clip.start / (SOURCE_FRAMES - 1), last / (SOURCE_FRAMES - 1))
    renderer = CompiledRoom(room)
    cameras = [squeezed(camera, clip.size) for camera in room.exo_cameras(*_EXO_SIZE)[:n_views]]
    views = [View(f"cam{place:02d}", renderer.color(camera), camera) for place, camera in enumerate(cameras, 1)]
    seen_lens, told_lens = ego_lenses(ego_view, clip.size)
    seen = room.ego_camera(seen_lens, clip.size, clip.size)
    return MultiViewTake(
        name=f"room_{number:06d}",
        exo=tuple(views),
        ego_camera=replace(seen, lens=told_lens),
        ego=renderer.color(seen, with_head=False),
        fps=SOURCE_FPS / clip.stride,
    )
