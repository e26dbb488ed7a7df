"""A room over time, rendered by the compiled ray caster: what training draws its clips from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...geometry.lenses import Lens
from .compiled_rays import trace
from .compiled_shading import CompiledLight, darken_near, shade
from .encoded import EncodedShapes, encode, encode_occluders
from .figure import Moment
from .paints import noise_table
from .ray_caster import Light
from .room import SUPERSAMPLING, Room, in_field
from .shapes import Shape


@dataclass(frozen=True, eq=False)
class CompiledRoom:
    """A room whose images are rendered on one thread, some ten times as fast as by `Room`.

    Attributes:
        room: the room.
    """

    room: Room
    _static: EncodedShapes = field(init=False)
    _light: CompiledLight = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_static", encode(self.room.scene.shapes))
        object.__setattr__(self, "_light", self._hang_lamp())

    def color(self, camera: Camera, *, with_head: bool = True) -> Tensor:
        """Render the scene as `Room.color` does.

        Returns:
            [F, H, W, 3] float32 in [0, 1].
        """
        camera.expanded(self.room.n_frames)  # raises where the lengths differ
        fine = camera.resized(camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)
        seen = in_field(camera)[..., None]
        local, still, images = _local_rays(fine.lens, fine.width, fine.height), None, []
        for frame, present in enumerate(self.room.moments):
            if still is None or not camera.is_fixed:
                still = _Image.empty(local, self.room.pose_in_room(camera, frame))
                _trace(self._static, 0, still)
                if camera.is_fixed:
                    self._shade(self._static, 0, still)
            image = still.copy()
            moving = encode(_shapes_of(present, with_head))
            _trace(moving, len(self._static.kinds), image)
            if not camera.is_fixed:
                self._shade(self._static, 0, image)  # what the figure hides of it needs no color
            self._shade(moving, len(self._static.kinds), image)
            darken_near(
                encode_occluders(present.occluders), image.origin, image.rays, image.distance, image.normal, image.color
            )
            mean = torch.nn.functional.avg_pool2d(torch.from_numpy(image.color).movedim(-1, 0), SUPERSAMPLING)
            images.append(mean.movedim(0, -1).clamp(0, 1) * seen)
        return torch.stack(images)

    def depth(self, camera: Camera, *, with_head: bool = True) -> Tensor:
        """Measure z at the pixel centers as `Room.geometry` does.

        Returns:
            [F, H, W] float32, metres, 0 outside the lens' field.
        """
        ahead = _local_rays(camera.lens, camera.width, camera.height)[..., 2]
        seen = in_field(camera).numpy()
        depths = [np.where(seen, image.distance * ahead, 0) for image in self._traced(camera, with_head)]
        return torch.from_numpy(np.stack(depths).astype(np.float32))

    def arms(self, camera: Camera) -> Tensor:
        """Return the pixels [F, H, W] whose centers show the figure's arms and hands, to eyes that see no head."""
        seen = in_field(camera).numpy()
        found = []
        for present, image in zip(self.room.moments, self._traced(camera, with_head=False)):
            first = len(self._static.kinds) + len(present.body)
            found.append(seen & (image.shape >= first))
        return torch.from_numpy(np.stack(found))

    def _traced(self, camera: Camera, with_head: bool) -> Iterator[_Image]:
        """Yield what the rays through the pixel centers meet in each frame, without colors."""
        camera.expanded(self.room.n_frames)  # raises where the lengths differ
        local, still = _local_rays(camera.lens, camera.width, camera.height), None
        for frame, present in enumerate(self.room.moments):
            if still is None or not camera.is_fixed:
                still = _Image.empty(local, self.room.pose_in_room(camera, frame))
                _trace(self._static, 0, still)
            image = still.copy()
            _trace(encode(_shapes_of(present, with_head)), len(self._static.kinds), image)
            yield image

    def _shade(self, shapes: EncodedShapes, first: int, image: _Image) -> None:
        shade(
            *(shapes.kinds, shapes.rows, shapes.paint_of, shapes.paint_kinds, shapes.paints, noise_table().numpy()),
            *(first, self._light, image.origin, image.rays, image.distance, image.shape, image.color, image.normal),
        )

    def _hang_lamp(self) -> CompiledLight:
        camera = self.room.scene.lamp_camera()
        lens = camera.lens
        shadows = _Image.empty(_local_rays(lens, camera.width, camera.height), camera.camera_to_world[0])
        _trace(self._static, 0, shadows)
        strengths = (np.array(getattr(Light, name), np.float32) for name in _LIGHT_FIELDS)
        return CompiledLight(
            shadows.origin,
            *strengths,
            pose=_float32(camera.world_to_camera[0, :3]),
            lens=np.array((lens.fx, lens.fy, lens.cx, lens.cy), np.float32),
            shadows=shadows.distance,
        )


@lru_cache(maxsize=8)
def _local_rays(lens: Lens, width: int, height: int) -> np.ndarray:
    """Return a lens' rays [H, W, 3]: a fisheye's take as long as a frame, and all ego clips have the same."""
    return _float32(Camera(lens, width, height, torch.eye(4)).local_rays)


_LIGHT_FIELDS = ("lamp", "fill", "fill_direction", "above", "below")


@dataclass(eq=False)
class _Image:
    """Rays of one pose, and what they meet; arrays as `trace` and `shade` take them."""

    origin: np.ndarray
    rays: np.ndarray
    distance: np.ndarray
    shape: np.ndarray
    color: np.ndarray
    normal: np.ndarray

    @classmethod
    def empty(cls, local: np.ndarray, camera_to_room: Tensor) -> _Image:
        pose = _float32(camera_to_room)
        size = local.shape[:2]
        return cls(
            origin=pose[:3, 3].copy(),
            rays=np.ascontiguousarray(local @ pose[:3, :3].T),
            distance=np.full(size, np.inf, np.float32),
            shape=np.full(size, -1, np.int64),
            color=np.zeros((*size, 3), np.float32),
            normal=np.zeros((*size, 3), np.float32),
        )

    def copy(self) -> _Image:
        """Return a copy whose results may be written over."""
        changing = (self.distance.copy(), self.shape.copy(), self.color.copy(), self.normal.copy())
        return _Image(self.origin, self.rays, *changing)


def _trace(shapes: EncodedShapes, first: int, image: _Image) -> None:
    trace(shapes.kinds, shapes.rows, first, image.origin, image.rays, image.distance, image.shape)


def _shapes_of(present: Moment, with_head: bool) -> list[Shape]:
    return [*present.body, *present.arms, *(present.head if with_head else ())]


def _float32(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.numpy(), np.float32)
