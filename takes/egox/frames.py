"""How many frames of a take are read, and how far the reading has come."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...geometry.cameras.camera import Camera

# Released Ego-Exo4D videos carry one frame more than they have poses and depth maps (50 for 49); it does not count.
_SPARE_FRAMES = 1


@dataclass(frozen=True)
class FrameCut:
    """The first frames of a take, `max_frames` at most.

    Every part must cover all poses, even where less of it is read; only a clip's end goes unseen then.

    Attributes:
        n_poses: ego poses of the take.
        max_frames: frames to keep; `None` keeps all.
        source: the take's `meta.json`, for messages.

    Raises:
        ValueError: if `max_frames` is below 1.
    """

    n_poses: int
    max_frames: int | None
    source: str | os.PathLike[str]

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"Expected to read at least one frame, got max_frames = {self.max_frames}.")

    @property
    def n_frames(self) -> int:
        """Frames to keep."""
        return self.n_poses if self.max_frames is None else min(self.n_poses, self.max_frames)

    @property
    def frames_to_decode(self) -> int:
        """Frames of a video to decode: those to keep, or so many that a clip of another length shows itself."""
        return self.n_frames if self.n_frames < self.n_poses else self.n_poses + _SPARE_FRAMES + 1

    def clip(self, frames: Tensor, what: str) -> Tensor:
        """Return the frames to keep of a video that was decoded up to `frames_to_decode`."""
        if self.n_frames == self.n_poses or len(frames) < self.n_frames:
            self._check(len(frames), what)
        return frames[: self.n_frames]

    def maps(self, maps: Tensor) -> Tensor:
        """Return the depth maps [F, H, W] to keep of all maps."""
        self._check(len(maps), "depth")
        return maps[: self.n_frames]

    def map_files(self, files: Sequence[Path]) -> Sequence[Path]:
        """Return the depth files to read of one a frame."""
        self._check(len(files), "depth")
        return files[: self.n_frames]

    def camera(self, camera: Camera) -> Camera:
        """Return the camera of the frames to keep."""
        if camera.is_fixed:
            return camera
        self._check(camera.n_frames, "exo camera")
        return camera[: self.n_frames]

    def _check(self, length: int, what: str) -> None:
        if self.n_poses <= length <= self.n_poses + _SPARE_FRAMES:
            return
        many = f"at least {length}" if length > self.n_poses else f"{length}"
        raise ValueError(
            f"{what} of the take in {self.source} has {many} frames, but 'ego_extrinsics' has {self.n_poses} poses. "
            "Exo clip, depth and poses must cover the same frames: cut the longer ones."
        )


class StepCounter:
    """Counts units of work over several loops and reports (done, total)."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def step(self) -> None:
        """Report one more unit; a spare frame beyond the total counts as the last."""
        self._done = min(self._done + 1, self._total)
        if self._progress:
            self._progress(self._done, self._total)
