"""What every clip says of itself, whatever its files are, and how its frames are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .orientation import UPRIGHT, Orientation


@dataclass(frozen=True)
class Header:
    """What is known of a clip before its frames are read.

    Attributes:
        times: of its frames, seconds from the first, rising; None where they have none, as pictures of a folder.
        rate: frames a second that the file states; 0 for none.
        width, height: of a stored picture in pixels.
        pixel_aspect: width of an upright pixel over its height.
        orientation: what brings a stored picture upright.
        count: number of frames.
        kind: in words, such as "hevc, 10 bit, HLG".
        curve: "HLG", "PQ" or "": how its colors are coded.
        wide: whether its colors are BT.2020's.
        remarks: what a user should know, as sentences.
    """

    times: tuple[float, ...] | None
    rate: float
    width: int
    height: int
    count: int
    kind: str
    pixel_aspect: float = 1.0
    orientation: Orientation = UPRIGHT
    curve: str = ""
    wide: bool = False
    remarks: tuple[str, ...] = ()


class ClipSource(Protocol):
    """A clip's files.

    Attributes:
        header: what is known before frames are read.
        remarks: what was noticed while they were read, as sentences.
    """

    header: Header
    remarks: list[str]

    def pictures(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """Give stored pictures [H, W, 3] float32 in [0, 1], one after the other.

        Args:
            frames: numbers of the clip's frames from 0, rising, each once.

        Raises:
            ValueError: if a file is truncated or corrupt.
        """

    def sound(self, start: float, seconds: float) -> dict[str, object] | None:
        """Return the part of the sound as ComfyUI's AUDIO, None where there is none; times as those of frames."""
