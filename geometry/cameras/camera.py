"""The one camera type: a lens, an image size and one pose a frame.

Convention of the whole pack: OpenCV axes (x right, y down, z forward), world-to-camera 4x4, metres, pixel centres
at +0.5. Depth is z, not the distance along the ray.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral

import torch
from torch import Tensor

from ...common.cancel import bounded_slices
from ...common.memory import DOUBLE, require_memory
from ...common.messages import arrived, json_fault
from ..lenses import Lens, lens_from_json, lens_to_json
from ..take_kind import TakeKind
from .aspect import in_shape_of, same_aspect

JSON_FORMAT = "exo2ego.camera"
JSON_VERSION = 1

# Released in-the-wild poses are rounded to four decimals, which bends their rotations by up to 8e-3.
_ROTATION_TOLERANCE = 0.05
# A lens solves for each ray in rounds: so many numbers it counts for between two cancel points.
_WORK_PER_RAY = 32
# Pixels; a camera of a broken node would otherwise have work for ever.
_MOST_PIXELS = 65536
# Metres; beyond, the single precision of points and files knows no more than ten metres, and squares overflow.
_FARTHEST = 1e8


@dataclass(frozen=True, eq=False)
class Camera:
    """A fixed camera (one pose) or a trajectory (one pose a frame).

    Attributes:
        lens: how camera-frame points become pixels.
        width, height: image size in pixels.
        world_to_camera: [F, 4, 4] float64 on the CPU; F = 1 for a fixed camera. Given as [4, 4], [F, 3, 4] or any
            float type it is brought to that form.
        take_kind: of an exo camera, the kind of the take that it came with, where that is known; files of `to_json` do
            not hold it.

    Raises:
        ValueError: if a pose is not finite, singular, reflected or no rotation, or if sizes are not positive.
    """

    lens: Lens
    width: int
    height: int
    world_to_camera: Tensor
    take_kind: TakeKind | None = None

    def __post_init__(self) -> None:
        for name, side in (("width", self.width), ("height", self.height)):
            if not isinstance(side, Integral) or not 1 <= side <= _MOST_PIXELS:
                raise ValueError(
                    f"A camera's {name} is a whole number of pixels from 1 to {_MOST_PIXELS:,}, got {arrived(side)}."
                )
        object.__setattr__(self, "world_to_camera", _as_poses(self.world_to_camera))

    # Shape ------------------------------------------------------------------------------------------------------

    @property
    def n_frames(self) -> int:
        """Number of poses; 1 for a fixed camera."""
        return self.world_to_camera.shape[0]

    @property
    def is_fixed(self) -> bool:
        """Whether one pose serves every frame."""
        return self.n_frames == 1

    def __getitem__(self, index: int | slice) -> Camera:
        poses = self.world_to_camera[index]
        if poses.ndim == 3 and poses.shape[0] == 0:
            raise ValueError(f"No frame left: a camera of {self.n_frames} frames was sliced by {index}.")
        return replace(self, world_to_camera=poses)

    def expanded(self, n_frames: int) -> Camera:
        """Return a camera with `n_frames` poses: itself where it has them, a fixed camera's pose repeated.

        Raises:
            ValueError: if it is a trajectory of another length.
        """
        if self.n_frames == n_frames:
            return self
        if not self.is_fixed:
            raise ValueError(f"Expected a fixed camera or {n_frames} poses, got {self.n_frames} poses.")
        return replace(self, world_to_camera=self.world_to_camera.expand(n_frames, 4, 4))

    # Poses ------------------------------------------------------------------------------------------------------

    @cached_property
    def camera_to_world(self) -> Tensor:
        """[F, 4, 4], by the true inverse: rotations of released poses are rounded, so a transpose would not do."""
        return torch.linalg.inv(self.world_to_camera)

    @property
    def centers(self) -> Tensor:
        """Camera centres in the world [F, 3], metres."""
        return self.camera_to_world[:, :3, 3]

    @property
    def rotations(self) -> Tensor:
        """World-to-camera rotations [F, 3, 3]."""
        return self.world_to_camera[:, :3, :3]

    def relative_to(self, reference: Camera) -> Camera:
        """Express the poses in the frame of `reference` (its one pose, or pose by pose where it is a trajectory)."""
        n_frames = max(self.n_frames, reference.n_frames)
        to_reference = reference.expanded(n_frames).camera_to_world
        return replace(self, world_to_camera=self.expanded(n_frames).world_to_camera @ to_reference)

    # Image operations: pixels and rays stay consistent ----------------------------------------------------------

    def resized(self, width: int, height: int, what: str = "images") -> Camera:
        """Return the camera of the image resized to `width` x `height`, which an error calls `what`, in the plural.

        Raises:
            ValueError: if the aspect ratio differs by more than 0.5 %, whatever the lens: an image of another shape is
                a crop far more often than a stretched one, and a stretched camera bends the scene unnoticed.
        """
        if width < 1 or height < 1:
            raise ValueError(f"A camera's image size is positive, got {width} x {height}.")
        if not same_aspect((self.width, self.height), (width, height)):
            kept = in_shape_of((self.width, self.height), (width, height))
            raise ValueError(
                f"The camera is {self.width} x {self.height} but the {what} are {width} x {height}: their aspect "
                f"ratios differ. Crop to one aspect ratio first: {kept[0]} x {kept[1]} of the camera's {self.width} x "
                f"{self.height} pixels have that of the {what}. Or give the camera of the {what} as they are."
            )
        lens = self.lens
        if (width, height) != (self.width, self.height):
            lens = lens.scaled(width / self.width, height / self.height)
        return replace(self, lens=lens, width=width, height=height)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """Return the camera of the window of `width` x `height` pixels whose corner is at column `left`, row `top`.

        Raises:
            ValueError: if the window leaves the image.
        """
        if left < 0 or top < 0 or left + width > self.width or top + height > self.height:
            raise ValueError(
                f"The window {width} x {height} at ({left}, {top}) leaves the image of {self.width} x {self.height}."
            )
        return replace(self, lens=self.lens.cropped(left, top), width=width, height=height)

    def turned_clockwise(self, times: int = 1) -> Camera:
        """Return the camera of the image turned clockwise by 90 degrees, `times` over."""
        camera = self
        for _ in range(times % 4):
            lens = camera.lens.turned_clockwise(camera.width, camera.height)
            poses = QUARTER_TURN_CLOCKWISE @ camera.world_to_camera
            camera = replace(camera, lens=lens, width=camera.height, height=camera.width, world_to_camera=poses)
        return camera

    # Points, pixels and rays ------------------------------------------------------------------------------------

    def project(self, points: Tensor, frame: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Project world points into one frame.

        Args:
            points: [..., 3] in metres; the result has its type and device.
            frame: the frame whose pose counts; a fixed camera has the same pose in all.

        Returns:
            Pixels [..., 2] as (column, row), depth z [...] in metres, and whether the lens sees the point [...]
            (which says nothing of the image's borders).
        """
        pose = self.world_to_camera[0 if self.is_fixed else frame].to(points)
        local = points @ pose[:3, :3].T + pose[:3, 3]
        pixels, valid = self.lens.project(local)
        return pixels, local[..., 2], valid

    def pixel_grid(self, dtype: torch.dtype = torch.float64, rows: slice | None = None) -> Tensor:
        """Return the centres of all pixels [H, W, 2], or of those in some rows, as (column, row)."""
        down = torch.arange(self.height, dtype=dtype)[rows or slice(None)] + 0.5
        down, across = torch.meshgrid(down, torch.arange(self.width, dtype=dtype) + 0.5, indexing="ij")
        return torch.stack([across, down], dim=-1)

    def rays_on_grid(self, width: int, height: int) -> Tensor:
        """Return the unit rays [height, width, 3] float64, in the camera frame, of the cells of a grid over the image.

        A cell's centre is looked up in the camera's own pixels. That scales the lens along each axis by itself, which
        for a fisheye no lens of one focal length could say.
        """
        require_memory(
            3 * DOUBLE * width * height,
            f"The rays of {width} x {height} pixels",
            "Lower the camera's width and height.",
        )
        grid = replace(self[0], width=width, height=height)
        scale = torch.tensor([self.width / width, self.height / height], dtype=torch.float64)
        rays = torch.empty(height, width, 3, dtype=torch.float64)
        for rows in bounded_slices(height, _WORK_PER_RAY * width):
            rays[rows] = self.lens.unproject(grid.pixel_grid(rows=rows) * scale)
        return rays

    @cached_property
    def local_rays(self) -> Tensor:
        """Unit rays of all pixels in the camera frame [H, W, 3] float64."""
        return self.rays_on_grid(self.width, self.height)

    def rays(self, frame: int = 0) -> Tensor:
        """Return the unit rays of all pixels in the world [H, W, 3] float64."""
        rotation = self.camera_to_world[0 if self.is_fixed else frame, :3, :3]
        return torch.nn.functional.normalize(self.local_rays @ rotation.T, dim=-1)

    def unproject(self, depth: Tensor) -> Tensor:
        """Lift depth maps into the world.

        Args:
            depth: z in metres [F, H, W]; a fixed camera serves any F.

        Returns:
            World points [F, H, W, 3] of the depth's type and device.

        Raises:
            ValueError: if the depth's size or length is not the camera's.
        """
        if depth.ndim != 3 or depth.shape[1:] != (self.height, self.width):
            raise ValueError(
                f"Expected depth [F, {self.height}, {self.width}] for this camera, got {list(depth.shape)}. "
                "Resize the depth or the camera first."
            )
        poses = self.expanded(depth.shape[0]).camera_to_world.to(depth)
        rays = self.local_rays
        per_metre = (rays / rays[..., 2:].clamp_min(1e-6)).to(depth)  # [H, W, 3], z = 1
        local = depth[..., None] * per_metre  # [F, H, W, 3]
        return torch.einsum("fij,fhwj->fhwi", poses[:, :3, :3], local) + poses[:, None, None, :3, 3]

    # Exchange ---------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return the camera as JSON text; `from_json` restores it exactly."""
        content = {
            "format": JSON_FORMAT,
            "version": JSON_VERSION,
            "convention": "OpenCV axes, world-to-camera, metres, pixel centres at +0.5",
            "width": self.width,
            "height": self.height,
            "lens": lens_to_json(self.lens),
            "world_to_camera": self.world_to_camera.tolist(),
        }
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> Camera:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text is no JSON, of another format or version, or misses a key.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"Expected a camera as JSON text: {json_fault(error)}.") from error
        if not isinstance(content, dict) or content.get("format") != JSON_FORMAT:
            raise ValueError(f'Expected a camera with "format": "{JSON_FORMAT}"; this JSON is something else.')
        if content.get("version") != JSON_VERSION:
            raise ValueError(f"This pack reads camera version {JSON_VERSION}, got {content.get('version')!r}.")
        try:
            lens = lens_from_json(content["lens"])
            poses = _poses_of_lists(content["world_to_camera"])
            return cls(lens, int(content["width"]), int(content["height"]), poses)
        except KeyError as error:
            raise ValueError(f"The camera has no key {error}; found {sorted(content)}.") from error
        except (TypeError, OverflowError) as error:
            raise ValueError(f"The camera holds a value of the wrong kind: {error}.") from error


# Turning an image clockwise sends its right (x) to its down and its down (y) to its left: x' = -y, y' = x.
QUARTER_TURN_CLOCKWISE = torch.tensor([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)


def _poses_of_lists(content: object) -> Tensor:
    try:
        return torch.tensor(content, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"Expected world_to_camera as rows of numbers, [F, 3, 4] or [F, 4, 4]; got {arrived(content)} with rows of "
            "different lengths, or with something else than numbers."
        ) from error


def _as_poses(matrices: Tensor) -> Tensor:
    """Bring [4, 4], [3, 4], [F, 3, 4] or [F, 4, 4] to checked [F, 4, 4] float64 on the CPU."""
    poses = torch.as_tensor(matrices).detach().to("cpu", torch.float64)
    if poses.ndim == 2:
        poses = poses[None]
    if poses.ndim != 3 or poses.shape[1:] not in ((3, 4), (4, 4)) or poses.shape[0] == 0:
        shape = list(torch.as_tensor(matrices).shape)
        raise ValueError(f"Expected world-to-camera matrices [F, 3, 4] or [F, 4, 4], got the shape {shape}.")
    last_row = poses.new_tensor([0, 0, 0, 1])
    if poses.shape[1] == 3:
        poses = torch.cat([poses, last_row.expand(len(poses), 1, 4)], dim=1)
    if not torch.isfinite(poses).all():
        raise ValueError("The world-to-camera matrices hold NaN or infinity: every entry is a finite number.")
    if not torch.allclose(poses[:, 3], last_row, atol=1e-6):
        if torch.allclose(poses[:, :, 3], last_row, atol=1e-6):
            raise ValueError(
                "The world-to-camera matrices are transposed: their last column is 0 0 0 1, and the translation stands "
                "in the last row. Give them row by row."
            )
        raise ValueError(f"The last row of a world-to-camera matrix is 0 0 0 1, got {poses[:, 3][0].tolist()}.")
    if float(poses[:, :3, 3].abs().max()) > _FARTHEST:
        frame = int(poses[:, :3, 3].abs().amax(dim=1).argmax())
        raise ValueError(
            f"The camera of frame {frame} is more than {_FARTHEST:,.0f} m away. Check the unit: poses are in metres."
        )
    _check_rotations(poses[:, :3, :3])
    return poses


def _check_rotations(rotations: Tensor) -> None:
    determinants = torch.linalg.det(rotations)
    error = (rotations @ rotations.mT - torch.eye(3, dtype=rotations.dtype)).abs().amax(dim=(1, 2))  # [F]
    bad = (error > _ROTATION_TOLERANCE) | (determinants <= 0)
    if not bad.any():
        return
    frame = int(bad.nonzero()[0, 0])
    determinant = float(determinants[frame])
    if abs(determinant) < 1e-3:
        what, advice = "singular", "Check that the matrix was filled in."
    elif determinant < 0:
        what, advice = (
            "reflected",
            "Its axes are mirrored, as those of a left-handed program: flip one of them, so that they are OpenCV's (x "
            "right, y down, z forward).",
        )
    else:
        what, advice = "not a rotation", "Remove scale and shear from it."
    raise ValueError(
        f"The world-to-camera matrix of frame {frame} is {what} (determinant {determinant:.4g}, "
        f"R R^T off the identity by {float(error[frame]):.3g}). {advice}"
    )
