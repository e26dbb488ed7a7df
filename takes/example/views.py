"""The example room as a take from four sides, in the form of an Ego-Exo4D clip for Exo2EgoSyn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import LensPreset, preset_lens
from ...geometry.lenses import Lens
from ...geometry.lenses.pinhole import Pinhole
from ..views import Clip, EgoView, MultiViewTake, View
from .room import ExampleRoom

SOURCE_FPS = 30.0
SOURCE_FRAMES = 93  # the whole movement, as slow as in the take with one exo view (49 frames at 16 a second)

_EXO_SIZE = (1280, 720)  # pixels: the shape of the exo picture before it is squeezed
# Aria's linear view in Ego-Exo4D: focal length 150 px on 512 px, centre in the middle.
_LINEAR_FOCAL_PER_PIXEL = 150 / 512

Progress = Callable[[int, int], None]


def example_views(
    clip: Clip | None = None, ego_view: EgoView = EgoView.UNDISTORTED, progress: Progress | None = None
) -> MultiViewTake:
    """Render the example room through four exo cameras and the figure's eyes.

    Args:
        clip: the frames of a movement of `SOURCE_FRAMES` frames at 30 a second; default as Exo2EgoSyn.
        ego_view: what the ego pictures are.
        progress: called with (done, total) after each frame of a view.

    Raises:
        ValueError: if the clip goes beyond the movement.
    """
    clip = clip or Clip()
    last = clip.start + clip.span - 1
    if last >= SOURCE_FRAMES:
        raise ValueError(
            f"The example room has {SOURCE_FRAMES} source frames; {clip.n_frames} frames from {clip.start} with stride "
            f"{clip.stride} would need {last + 1}. Start earlier, or take fewer frames or a smaller stride."
        )
    room = ExampleRoom(clip.n_frames, clip.start / (SOURCE_FRAMES - 1), last / (SOURCE_FRAMES - 1))
    exo = [squeezed(camera, clip.size) for camera in room.exo_cameras(*_EXO_SIZE)]
    total = (len(exo) + 1) * clip.n_frames

    def report(before: int) -> Progress | None:
        return progress and (lambda done, _: progress(before + done, total))

    views = [
        View(f"cam{number + 1:02d}", room.color(camera, progress=report(number * clip.n_frames)), camera)
        for number, camera in enumerate(exo)
    ]
    seen_lens, told_lens = ego_lenses(ego_view, clip.size)
    seen = room.ego_camera(seen_lens, clip.size, clip.size)
    return MultiViewTake(
        name="example_room",
        exo=tuple(views),
        ego_camera=replace(seen, lens=told_lens),
        ego=room.color(seen, with_head=False, progress=report(len(exo) * clip.n_frames)),
        fps=SOURCE_FPS / clip.stride,
    )


def ego_lenses(ego_view: EgoView, size: int) -> tuple[Lens, Lens]:
    """Return the lens that makes the ego images of `size` pixels a side, and the one that the camera tells."""
    pinhole, fisheye = _linear_lens(size), preset_lens(LensPreset.EGOX_RELEASE, size, size)
    if ego_view is EgoView.UNDISTORTED:
        return pinhole, pinhole
    return fisheye, pinhole if ego_view is EgoView.PAPER else fisheye


def squeezed(camera: Camera, size: int) -> Camera:
    """Return the camera of the picture squeezed into a square of `size` pixels, each axis by its own factor."""
    lens = camera.lens.scaled(size / camera.width, size / camera.height)
    return Camera(lens, size, size, camera.world_to_camera)


def _linear_lens(size: int) -> Lens:
    focal = _LINEAR_FOCAL_PER_PIXEL * size
    return Pinhole(focal, focal, size / 2, size / 2)
