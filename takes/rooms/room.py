"""A room with a figure at work, over time: what cameras in it see, exactly."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...common.memory import FLOAT, require_memory
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.rotations import look_at, rigid
from ...geometry.lenses import Lens
from ...geometry.lenses.pinhole import Pinhole
from ...geometry.points.threads import map_in_threads
from .figure import Look, Moment, moment
from .movement import Movement
from .ray_caster import Hits, Light, Rays, Shading, darken_near, shade, trace
from .shapes import Point, Shape

Progress = Callable[[int, int], None]

SUPERSAMPLING = 2  # rays a side of a pixel
_MOST_THREADS = 8
_BYTES_PER_PIXEL = 600  # that a thread holds while it draws
_LAMP_FOV = 136.0  # degrees: how far to the side the lamp's shadows reach


@dataclass(frozen=True)
class Scene:
    """What is in a room.

    Attributes:
        shapes: what stands still, the room's walls among it. The floor is at y = 0; the figure stands at the origin.
        look, movement: the figure's.
        exo_places: where the exo cameras stand and the points they look at, metres in the room's axes (y down).
        exo_fov: their horizontal field of view, degrees.
        lamp: where the lamp hangs.
        shadow_size: pixels a side of the lamp's shadow map.
    """

    shapes: tuple[Shape, ...]
    look: Look
    movement: Movement
    exo_places: tuple[tuple[Point, Point], ...]
    exo_fov: float
    lamp: Point
    shadow_size: int = 1024

    def lamp_camera(self) -> Camera:
        """Return the camera at the lamp that looks straight down; its image holds the lamp's shadows."""
        lamp = torch.tensor(self.lamp, dtype=torch.float64)
        lens = Pinhole.from_fov(_LAMP_FOV, self.shadow_size, self.shadow_size)
        below = lamp + lamp.new_tensor([0, 1, 1e-3])  # not quite straight down: there "up" would be anything
        return Camera(lens, self.shadow_size, self.shadow_size, looking(lamp[None], below[None]))


@dataclass(frozen=True)
class Room:
    """A scene over `n_frames` frames, from time `start` to time `end` of its movement, which lasts from 0 to 1."""

    scene: Scene
    n_frames: int
    start: float = 0.0
    end: float = 1.0

    def exo_camera(self, width: int, height: int) -> Camera:
        """Return the fixed exo camera, a pinhole. Its frame is the world."""
        return self.exo_cameras(width, height)[0]

    def exo_cameras(self, width: int, height: int) -> tuple[Camera, ...]:
        """Return the scene's fixed exo cameras, pinholes. The first one's frame is the world."""
        lens = Pinhole.from_fov(self.scene.exo_fov, width, height)
        eyes, targets = (torch.tensor(places, dtype=torch.float64) for places in zip(*self.scene.exo_places))
        poses = looking(eyes, targets) @ torch.linalg.inv(self._exo_pose)
        poses[0] = torch.eye(4)  # exactly: a product with the inverse rounds
        return tuple(Camera(lens, width, height, pose) for pose in poses)

    def ego_camera(self, lens: Lens, width: int, height: int) -> Camera:
        """Return the camera in the figure's head, one pose a frame."""
        eyes = torch.stack([moment.eye for moment in self.moments])
        gazes = torch.stack([moment.gaze for moment in self.moments])
        return Camera(lens, width, height, looking(eyes, gazes) @ torch.linalg.inv(self._exo_pose))

    def color(self, camera: Camera, *, with_head: bool = True, progress: Progress | None = None) -> Tensor:
        """Render the scene through a camera of the scene's length, or a fixed one.

        Args:
            camera: any camera. A pixel's color is the mean of 2 x 2 rays; it is black outside the lens' field.
            with_head: whether the figure's head is seen; its own eyes must not see it.
            progress: called with (done, total) after each frame.

        Returns:
            [F, H, W, 3] float32 in [0, 1].
        """
        camera.expanded(self.n_frames)  # raises where the lengths differ
        pixels = camera.width * camera.height
        require_memory(
            (3 * FLOAT * self.n_frames + _BYTES_PER_PIXEL * min(_MOST_THREADS, self.n_frames)) * pixels,
            f"Rendering {self.n_frames} frames of the room at {camera.width} x {camera.height}",
            "Lower the size, or take fewer frames.",
        )
        grid = Rays.of_camera(
            camera.resized(camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING), torch.float32
        )
        seen = in_field(camera)[..., None]
        static, light, moments = self._static, self._light, self.moments  # made here, once, not in each thread

        def see_still_things(frame: int) -> tuple[Rays, Hits, Shading]:
            rays = grid.posed(self.pose_in_room(camera, frame))
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
            image = torch.nn.functional.avg_pool2d(fine, SUPERSAMPLING).movedim(0, -1)
            return image.clamp(0, 1) * seen

        return torch.stack(_frame_by_frame(draw, self.n_frames, progress))

    def geometry(self, camera: Camera, *, with_head: bool = True) -> tuple[Tensor, Tensor]:
        """Measure the scene at the pixel centers of a camera.

        Returns:
            Exact depth z in metres [F, H, W] float64, 0 outside the lens' field, and the pixels [F, H, W] that show
            the figure or what it carries.
        """
        camera.expanded(self.n_frames)
        grid, seen = Rays.of_camera(camera, torch.float64), in_field(camera)
        depths, dynamic, still = [], [], None
        for frame, present in enumerate(self.moments):
            if still is None or not camera.is_fixed:
                rays = grid.posed(self.pose_in_room(camera, frame))
                still = trace(rays, self._static)
            hits = trace(rays, self._moving(present, with_head), still)
            depths.append(torch.where(seen, rays.image(hits.distance) * camera.local_rays[..., 2], 0))
            dynamic.append((rays.image(hits.shape) >= len(self._static)) & seen)
        return torch.stack(depths), torch.stack(dynamic)

    def depth_at(self, camera: Camera, frame: int, pixels: Tensor) -> Tensor:
        """Measure the scene at a few pixels of one frame: what `geometry` finds there, without the rest of the clip.

        Args:
            camera: any camera.
            frame: of the room.
            pixels: centers of pixels [N, 2] within the lens' field, as (column, row).

        Returns:
            Exact depth z in metres [N] float64.
        """
        local = camera.lens.unproject(pixels.double())
        rays = Rays.single(local).posed(self.pose_in_room(camera, frame))
        hits = trace(rays, {**self._static, **self._moving(self.moments[frame], with_head=True)})
        return hits.distance[:, 0] * local[:, 2]

    def joints(self, head: Tensor) -> Tensor:
        """Return the figure's joints in the world [F, J, 3], in the order of `geometry.head.keypoints.Joint`.

        Args:
            head: its head joints [5, 3] in the ego camera's axes, metres.
        """
        to_world = self.ego_camera(Pinhole.from_fov(90, 1, 1), 1, 1).camera_to_world
        on_head = torch.einsum("fij,nj->fni", to_world[:, :3, :3], head) + to_world[:, None, :3, 3]
        shoulders, hips = (
            torch.stack([getattr(moment, name) for moment in self.moments]) for name in ("shoulders", "hips")
        )
        in_room = torch.cat([shoulders.mean(dim=1, keepdim=True), shoulders, hips], dim=1)
        to_exo = self._exo_pose
        return torch.cat([on_head, in_room @ to_exo[:3, :3].T + to_exo[:3, 3]], dim=1)

    def _moving(self, present: Moment, with_head: bool) -> dict[int, Shape]:
        shapes = [*present.body, *present.arms, *(present.head if with_head else ())]
        return dict(enumerate(shapes, start=len(self._static)))

    def pose_in_room(self, camera: Camera, frame: int) -> Tensor:
        """Return a camera's camera-to-room matrix [4, 4]."""
        return torch.linalg.inv(camera.world_to_camera[0 if camera.is_fixed else frame] @ self._exo_pose)

    @cached_property
    def _exo_pose(self) -> Tensor:
        """The matrix [4, 4] from the room to the first exo camera, which is the world."""
        eye, target = (torch.tensor([place], dtype=torch.float64) for place in self.scene.exo_places[0])
        return looking(eye, target)[0]

    @cached_property
    def _static(self) -> dict[int, Shape]:
        return dict(enumerate(self.scene.shapes))

    @cached_property
    def _light(self) -> Light:
        return Light.over(self.scene.lamp_camera(), self._static)

    @cached_property
    def moments(self) -> list[Moment]:
        """The figure in each frame."""
        span, steps = self.end - self.start, max(1, self.n_frames - 1)
        times = [self.start + span * frame / steps for frame in range(self.n_frames)]
        return [moment(self.scene.look, self.scene.movement, time) for time in times]


def looking(eyes: Tensor, targets: Tensor) -> Tensor:
    """Return world-to-camera matrices [F, 4, 4] of upright cameras at `eyes` [F, 3] that look at `targets` [F, 3]."""
    to_camera = look_at(eyes, targets).mT.contiguous()
    return rigid(to_camera, -(to_camera @ eyes[..., None])[..., 0])


def in_field(camera: Camera) -> Tensor:
    """Return the pixels [H, W] whose ray the lens really has; a fisheye's image may be wider than its field."""
    pixels, valid = camera.lens.project(camera.local_rays)
    return valid & ((pixels - camera.pixel_grid()).abs().amax(dim=-1) < 0.01)


def _frame_by_frame(draw: Callable[[int], Tensor], n_frames: int, progress: Progress | None) -> list[Tensor]:
    """Draw all frames, one a core at a time: their many small operations do not fill several cores."""
    images = []
    for image in map_in_threads(draw, range(n_frames), min(_MOST_THREADS, os.cpu_count() or 1)):
        images.append(image)
        if progress:
            progress(len(images), n_frames)
    return images
