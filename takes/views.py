"""A take seen from several sides: one to four fixed exo cameras and the ego camera, all in one world."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from ..common.wan_grid import fits_wan, fitting_frames
from ..geometry.cameras.camera import Camera

MAX_EXO_VIEWS = 4


class EgoView(str, Enum):
    """What the ego pictures and their rays are.

    Rays must come from the camera model that made the pixels. The third choice breaks that rule as the paper of
    Exo2EgoSyn most likely did, and is there to reproduce its tables.
    """

    UNDISTORTED = "undistorted"
    FISHEYE = "as recorded, fisheye rays"
    PAPER = "as recorded, pinhole rays (paper)"


@dataclass(frozen=True, eq=False)
class View:
    """One exo view.

    Attributes:
        name: such as `cam01`.
        frames: [F, H, W, 3] in [0, 1].
        camera: the fixed camera of the whole picture. Its image may have another size and shape than `frames`, which
            are squeezed.
    """

    name: str
    frames: Tensor
    camera: Camera


@dataclass(frozen=True, eq=False)
class MultiViewTake:
    """A clip from several sides.

    Attributes:
        name: what the take is called.
        exo: one to four views.
        ego_camera: one pose a frame, of upright pictures of the frames' size, in the exo cameras' world.
        ego: the recorded ego view [F, H, W, 3] in [0, 1].
        fps: frames a second of these clips.
        remarks: what the reader had to decide, for the artist.

    Raises:
        ValueError: if there is no exo view or more than four, or the parts differ in length.
    """

    name: str
    exo: tuple[View, ...]
    ego_camera: Camera
    ego: Tensor
    fps: float
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.exo) <= MAX_EXO_VIEWS:
            raise ValueError(
                f"The take {self.name} has {len(self.exo)} exo views; expected 1 to {MAX_EXO_VIEWS}. Choose another "
                "take."
            )
        lengths = {view.name: len(view.frames) for view in self.exo}
        lengths |= {"ego view": len(self.ego), "ego camera": self.ego_camera.n_frames}
        if len(set(lengths.values())) != 1:
            parts = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"The take {self.name} has parts of different length: {parts} frames. Cut them alike.")

    @property
    def n_frames(self) -> int:
        """Number of frames of every part."""
        return len(self.ego)


@dataclass(frozen=True)
class Clip:
    """Which source frames of a take are read, and how large the pictures become.

    Attributes:
        start: frames after the task's start.
        n_frames: frames of the clip.
        stride: source frames from one to the next; 4 as Exo2EgoSyn.
        size: side of the square pictures in pixels.
    """

    start: int = 0
    n_frames: int = 9
    stride: int = 4
    size: int = 256

    def __post_init__(self) -> None:
        if self.start < 0 or self.stride < 1 or self.size < 1:
            raise ValueError(
                f"Expected a start of at least 0, a stride and a size of at least 1, got {self.start}, {self.stride} "
                f"and {self.size}."
            )
        if not fits_wan(self.n_frames):
            raise ValueError(
                f"Wan samples 4n+1 frames, got {self.n_frames}. Take {fitting_frames(self.n_frames)} frames."
            )

    @property
    def span(self) -> int:
        """Source frames from the first to the last, both counted."""
        return (self.n_frames - 1) * self.stride + 1
