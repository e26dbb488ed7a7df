"""A take: one exo clip with all that is known about it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..geometry.cameras.camera import Camera
from ..geometry.depth.depth import Depth


@dataclass(frozen=True, eq=False)
class Take:
    """An exo clip, its cameras and depth, and the ego view as far as it is known.

    Attributes:
        name: what the take is called.
        exo: the third-person clip [F, H, W, 3] in [0, 1].
        exo_camera: the camera of `exo`, fixed or one pose a frame, in the clip's own size.
        depth: depth of every exo frame, in the clip's own size.
        ego_camera: one pose a frame; its images are upright.
        prompt: the two-view text prompt.
        fps: frames a second.
        ego_prior: the ego prior that came with the take [F, He, We, 3], where there is one.
        ego_truth: the true ego view [F, He, We, 3], where it is known.

    Raises:
        ValueError: if the parts differ in length, or exo clip, camera and depth in size.
    """

    name: str
    exo: Tensor
    exo_camera: Camera
    depth: Depth
    ego_camera: Camera
    prompt: str
    fps: float
    ego_prior: Tensor | None = None
    ego_truth: Tensor | None = None

    def __post_init__(self) -> None:
        lengths = {"exo clip": len(self.exo), "depth": self.depth.n_frames}
        cameras = {"exo camera": self.exo_camera, "ego camera": self.ego_camera}
        lengths |= {name: camera.n_frames for name, camera in cameras.items() if not camera.is_fixed}
        videos = {"ego prior": self.ego_prior, "true ego view": self.ego_truth}
        lengths |= {name: len(video) for name, video in videos.items() if video is not None}
        if len(set(lengths.values())) != 1:
            parts = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"The take {self.name} has parts of different length: {parts} frames. Cut them alike.")
        sizes = {
            "exo clip": (self.exo.shape[2], self.exo.shape[1]),
            "exo camera": (self.exo_camera.width, self.exo_camera.height),
            "depth": (self.depth.width, self.depth.height),
        }
        if len(set(sizes.values())) != 1:
            parts = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes.items())
            raise ValueError(f"The take {self.name} has parts of different size: {parts}. Resize them alike.")

    @property
    def n_frames(self) -> int:
        """Number of frames of every part."""
        return len(self.exo)
