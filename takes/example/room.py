"""A take made from nothing: exact depth, cameras and ego view of a small procedural scene.

It serves the demo, the tests and every picture in the documentation: no licence is attached to it, and its truth is
known to the last digit.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...common.cancel import cancel_point, cancellable
from ...common.memory import FLOAT, require_memory
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from ...geometry.cameras.rotations import look_at, rigid
from ...geometry.depth.depth import Depth, DepthMeaning
from ...geometry.lenses import Lens
from ...geometry.lenses.pinhole import Pinhole
from ...geometry.take_kind import take_kind
from ..take import Take
from .figure import Moment, moment
from .ray_caster import Hits, Light, Rays, Shading, darken_near, shade, trace
from .scene import static_shapes
from .shapes import Shape

Progress = Callable[[int, int], None]

_FPS = 16.0  # Wan's own rate
_SUPERSAMPLING = 2
_MOST_THREADS = 8
_BYTES_PER_PIXEL = 600  # that a thread holds while it draws
_SECONDS_BETWEEN_POINTS = 0.2

EXO_FOV = 66.0  # degrees, horizontal
# Where the exo cameras stand in the room and what they look at, metres. The first, the exo camera of the take with one,
# stands behind the figure's right shoulder, so that it sees much of what the figure sees; the others around the table.
_EXO_PLACES = (
    ((1.75, -1.95, -0.75), (-0.30, -0.98, 0.75)),
    ((-1.80, -1.90, -0.85), (0.25, -0.95, 0.60)),
    ((-1.70, -1.75, 2.05), (0.10, -1.05, 0.25)),
    ((2.00, -1.75, 1.95), (0.05, -1.00, 0.30)),
)
_LAMP = (0.55, -2.45, 0.75)
_LAMP_FOV = 136.0
_SHADOW_MAP_SIZE = 1024  # pixels

# What the two-view prompt says, by the fields of the prompt node.
PROMPT_PARTS = {
    "exo_scene": (
        "A tidy kitchen with a plank floor, a checkered red rug, striped green wallpaper on the left wall with a "
        "bright window, and pale blue tiles on the far wall. A wooden table stands in the middle, laid with a white "
        "and blue plate, a cutting board, a striped box, a checkered tin, a green bottle, a steel pot, a striped mug, "
        "two books and two apples. Behind it are a shelf with colourful books and a blue cupboard."
    ),
    "exo_action": (
        "A person in a blue and white striped shirt and jeans stands at the table. The right hand reaches for an "
        "orange in the middle of the table, closes around it, lifts it in an arc to the right and puts it down on the "
        "plate, then lets go and withdraws. The left hand rests on the cutting board throughout."
    ),
    "ego_scene": (
        "Seen from above, the oak table fills the lower view with the plate on the right, the cutting board on the "
        "left, and the bottle, the pot and the boxes at its far edge. Beyond it are the plank floor and the tiled "
        "wall with the shelf of books, a framed landscape and the blue cupboard."
    ),
    "ego_action": (
        "The right hand enters from the lower right, takes hold of the orange, carries it over to the plate and opens "
        "again. The left hand lies still on the cutting board at the lower left. The head follows the orange."
    ),
}


@dataclass(frozen=True)
class ExampleRoom:
    """The scene over `n_frames` frames, from time `start` to time `end` of its movement, which lasts from 0 to 1."""

    n_frames: int
    start: float = 0.0
    end: float = 1.0

    def exo_camera(self, width: int, height: int) -> Camera:
        """Return the fixed exo camera, a pinhole of `EXO_FOV`. Its frame is the world."""
        return self.exo_cameras(width, height)[0]

    def exo_cameras(self, width: int, height: int) -> tuple[Camera, ...]:
        """Return four fixed cameras around the table, pinholes of `EXO_FOV`. The first one's frame is the world."""
        lens = Pinhole.from_fov(EXO_FOV, width, height)
        eyes, targets = (torch.tensor(places, dtype=torch.float64) for places in zip(*_EXO_PLACES))
        poses = _looking(eyes, targets) @ torch.linalg.inv(_exo_pose())
        poses[0] = torch.eye(4)  # exactly: a product with the inverse rounds
        return tuple(Camera(lens, width, height, pose) for pose in poses)

    def ego_camera(self, lens: Lens, width: int, height: int) -> Camera:
        """Return the camera in the figure's head, one pose a frame."""
        eyes = torch.stack([moment.eye for moment in self._moments])
        gazes = torch.stack([moment.gaze for moment in self._moments])
        return Camera(lens, width, height, _looking(eyes, gazes) @ torch.linalg.inv(_exo_pose()))

    def color(self, camera: Camera, *, with_head: bool = True, progress: Progress | None = None) -> Tensor:
        """Render the scene through a camera of the scene's length, or a fixed one.

        Args:
            camera: any camera. A pixel's colour is the mean of 2 x 2 rays; it is black outside the lens' field.
            with_head: whether the figure's head is seen; its own eyes must not see it.
            progress: called with (done, total) after each frame.

        Returns:
            [F, H, W, 3] float32 in [0, 1].
        """
        camera.expanded(self.n_frames)  # raises where the lengths differ
        pixels = camera.width * camera.height
        require_memory(
            (3 * FLOAT * self.n_frames + _BYTES_PER_PIXEL * min(_MOST_THREADS, self.n_frames)) * pixels,
            f"Rendering {self.n_frames} frames of the example room at {camera.width} x {camera.height}",
            "Lower the size, or take fewer frames.",
        )
        grid = Rays.of_camera(
            camera.resized(camera.width * _SUPERSAMPLING, camera.height * _SUPERSAMPLING), torch.float32
        )
        in_field = _in_field(camera)[..., None]
        static, light, moments = self._static, self._light, self._moments  # made here, once, not in each thread

        def see_still_things(frame: int) -> tuple[Rays, Hits, Shading]:
            rays = grid.posed(_pose_in_room(camera, frame))
            hits = trace(rays, static)
            return rays, hits, shade(rays, hits, static, light)

        at_rest = see_still_things(0) if camera.is_fixed else None

        def draw(frame: int) -> Tensor:
            present = moments[frame]
            moving = self._moving(present, with_head)
            rays, still_hits, still_shading = at_rest or see_still_things(frame)
            hits = trace(rays, moving, still_hits)
            shading = shade(rays, hits, moving, light, still_shading)
            fine = rays.image(darken_near(rays, hits, shading, present.occluders)).movedim(-1, 0)
            image = torch.nn.functional.avg_pool2d(fine, _SUPERSAMPLING).movedim(0, -1)
            return image.clamp(0, 1) * in_field

        return torch.stack(_frame_by_frame(draw, self.n_frames, progress))

    def geometry(self, camera: Camera, *, with_head: bool = True) -> tuple[Tensor, Tensor]:
        """Measure the scene at the pixel centres of a camera.

        Returns:
            Exact depth z in metres [F, H, W] float64, 0 outside the lens' field, and the pixels [F, H, W] that show
            the figure or what it carries.
        """
        camera.expanded(self.n_frames)
        grid, in_field = Rays.of_camera(camera, torch.float64), _in_field(camera)
        depths, dynamic, still = [], [], None
        for frame, present in enumerate(self._moments):
            if still is None or not camera.is_fixed:
                rays = grid.posed(_pose_in_room(camera, frame))
                still = trace(rays, self._static)
            hits = trace(rays, self._moving(present, with_head), still)
            depths.append(torch.where(in_field, rays.image(hits.distance) * camera.local_rays[..., 2], 0))
            dynamic.append((rays.image(hits.shape) >= len(self._static)) & in_field)
        return torch.stack(depths), torch.stack(dynamic)

    def joints(self, head: Tensor) -> Tensor:
        """Return the figure's joints in the world [F, J, 3], in the order of `geometry.keypoints.Joint`.

        Args:
            head: its head joints [5, 3] in the ego camera's axes, metres.
        """
        to_world = self.ego_camera(Pinhole.from_fov(90, 1, 1), 1, 1).camera_to_world
        on_head = torch.einsum("fij,nj->fni", to_world[:, :3, :3], head) + to_world[:, None, :3, 3]
        shoulders, hips = (
            torch.stack([getattr(moment, name) for moment in self._moments]) for name in ("shoulders", "hips")
        )
        in_room = torch.cat([shoulders.mean(dim=1, keepdim=True), shoulders, hips], dim=1)
        to_exo = _exo_pose()
        return torch.cat([on_head, in_room @ to_exo[:3, :3].T + to_exo[:3, 3]], dim=1)

    def _moving(self, present: Moment, with_head: bool) -> dict[int, Shape]:
        shapes = [*present.body, *(present.head if with_head else ())]
        return dict(enumerate(shapes, start=len(self._static)))

    @cached_property
    def _static(self) -> dict[int, Shape]:
        return dict(enumerate(static_shapes()))

    @cached_property
    def _light(self) -> Light:
        lamp = torch.tensor(_LAMP, dtype=torch.float64)
        lens = Pinhole.from_fov(_LAMP_FOV, _SHADOW_MAP_SIZE, _SHADOW_MAP_SIZE)
        below = lamp + lamp.new_tensor([0, 1, 1e-3])  # not quite straight down: there "up" would be anything
        camera = Camera(lens, _SHADOW_MAP_SIZE, _SHADOW_MAP_SIZE, _looking(lamp[None], below[None]))
        return Light.over(camera, self._static)

    @cached_property
    def _moments(self) -> list[Moment]:
        span, steps = self.end - self.start, max(1, self.n_frames - 1)
        return [moment(self.start + span * frame / steps) for frame in range(self.n_frames)]


def example_take(
    n_frames: int = 49,
    *,
    exo_width: int = 784,
    exo_height: int = 448,
    ego_size: int = RELEASE_SIZE,
    lens: LensPreset | Lens = LensPreset.EGOX_RELEASE,
    progress: Progress | None = None,
) -> Take:
    """Render the example take.

    Args:
        n_frames: frames; whatever their number, they span the same movement.
        exo_width: width of the exo clip in pixels.
        exo_height: height of the exo clip.
        ego_size: side of the square ego images in pixels.
        lens: the ego lens, a preset or one of the ego image's size.
        progress: called with (done, total) after each frame of either clip.

    Returns:
        A take with exact depth and the true ego view, whose figure has no head of its own in sight.
    """
    if n_frames < 1:
        raise ValueError(f"A take has at least one frame, got {n_frames}.")
    room = ExampleRoom(n_frames)
    if isinstance(lens, LensPreset):
        lens = preset_lens(lens, ego_size, ego_size)
    exo_camera, ego_camera = room.exo_camera(exo_width, exo_height), room.ego_camera(lens, ego_size, ego_size)

    def report(before: int) -> Progress | None:
        return progress and (lambda done, _: progress(before + done, 2 * n_frames))

    return Take(
        name="example_room",
        exo=room.color(exo_camera, progress=report(0)),
        exo_camera=replace(exo_camera, take_kind=take_kind(exo_camera.world_to_camera)),
        depth=Depth(room.geometry(exo_camera)[0], DepthMeaning.METRIC),
        ego_camera=ego_camera,
        prompt=_prompt(),
        fps=_FPS,
        ego_truth=room.color(ego_camera, with_head=False, progress=report(n_frames)),
    )


def _frame_by_frame(draw: Callable[[int], Tensor], n_frames: int, progress: Progress | None) -> list[Tensor]:
    """Draw all frames, one a core at a time: their many small operations do not fill several cores."""
    images, stopped = [], threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise CancelledError

    def drawn(frame: int) -> Tensor:
        with cancellable(check):  # what a node asks belongs to its own thread
            return draw(frame)

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(drawn, frame) for frame in range(n_frames)]
        try:
            for future in futures:
                while wait([future], _SECONDS_BETWEEN_POINTS).not_done:
                    cancel_point()
                images.append(future.result())
                if progress:
                    progress(len(images), n_frames)
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return images


def _prompt() -> str:
    """Return the prompt in the two blocks that EgoX was trained with."""
    blocks = [
        f"[{view.capitalize()} view]\n**Scene Overview:**\n{PROMPT_PARTS[f'{view}_scene']}\n\n"
        f"**Action Analysis:**\n{PROMPT_PARTS[f'{view}_action']}"
        for view in ("exo", "ego")
    ]
    return "\n\n".join(blocks)


def _looking(eyes: Tensor, targets: Tensor) -> Tensor:
    """Return world-to-camera matrices [F, 4, 4] of upright cameras at `eyes` [F, 3] that look at `targets` [F, 3]."""
    to_camera = look_at(eyes, targets).mT.contiguous()
    return rigid(to_camera, -(to_camera @ eyes[..., None])[..., 0])


def _exo_pose() -> Tensor:
    """Return the matrix [4, 4] from the room to the exo camera, which is the world."""
    eye, target = (torch.tensor([place], dtype=torch.float64) for place in _EXO_PLACES[0])
    return _looking(eye, target)[0]


def _pose_in_room(camera: Camera, frame: int) -> Tensor:
    """Return a camera's camera-to-room matrix [4, 4]."""
    return torch.linalg.inv(camera.world_to_camera[0 if camera.is_fixed else frame] @ _exo_pose())


def _in_field(camera: Camera) -> Tensor:
    """Return the pixels [H, W] whose ray the lens really has; a fisheye's image may be wider than its field."""
    pixels, valid = camera.lens.project(camera.local_rays)
    return valid & ((pixels - camera.pixel_grid()).abs().amax(dim=-1) < 0.01)
