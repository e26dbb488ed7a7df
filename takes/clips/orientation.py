"""How a stored picture lies, and what brings it upright: one of the eight ways that quarter turns and a mirror make."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Of EXIF: what brings a picture upright.
_EXIF = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (1, False),
    7: (1, True),
    8: (3, False),
}
# How far a display matrix may be from a quarter turn, in its unit length.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Orientation:
    """What brings a stored picture upright.

    Attributes:
        turns: quarter turns clockwise, 0 to 3.
        mirrored: whether left and right change places before that.

    Raises:
        ValueError: if there is no such number of turns.
    """

    turns: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.turns not in range(4):
            raise ValueError(f"There are 0 to 3 quarter turns, got {self.turns}.")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the upright picture of a stored one."""
        return (height, width) if self.turns % 2 else (width, height)

    def upright(self, pictures: Tensor) -> Tensor:
        """Bring stored pictures [..., H, W, C] upright; nothing is copied."""
        if self.mirrored:
            pictures = pictures.flip(-2)
        # torch counts from the first axis to the second, which from columns to rows is clockwise.
        return torch.rot90(pictures, self.turns, (-2, -3)) if self.turns else pictures

    def words(self) -> str:
        """Return what is done, for a report: "" where the picture is upright."""
        done = ["mirrored"] if self.mirrored else []
        if self.turns:
            done.append(
                f"turned {('90 degrees clockwise', '180 degrees', '90 degrees counterclockwise')[self.turns - 1]}"
            )
        return " and ".join(done)


UPRIGHT = Orientation()


def of_exif(value: object) -> Orientation:
    """Return what the number of EXIF's orientation means; unknown ones count as upright."""
    return Orientation(*_EXIF.get(value, _EXIF[1])) if isinstance(value, int) else UPRIGHT


def of_display_matrix(data: bytes) -> Orientation | None:
    """Return what a display matrix of FFmpeg means: nine 32-bit numbers, of which the first four columns turn.

    Returns:
        None where it turns by something else than quarters.
    """
    if len(data) < 36:
        return UPRIGHT
    a, b, _, c, d = struct.unpack("=5i", data[:20])
    return _of_numbers((a / 65536, c / 65536), (b / 65536, d / 65536))


def _of_numbers(columns: Sequence[float], rows: Sequence[float]) -> Orientation | None:
    """Find the orientation whose matrix, [x of (x, y), y of (x, y)], is the given one up to a scale."""
    length = max(abs(value) for value in (*columns, *rows))
    if not length:
        return UPRIGHT
    for mirrored in (False, True):
        # A clockwise quarter turn takes (x, y), y down, to (-y, x).
        first, second = (-1.0 if mirrored else 1.0, 0.0), (0.0, 1.0)
        for turns in range(4):
            given = (*columns, *rows)
            if all(abs(value / length - wanted) <= _TOLERANCE for value, wanted in zip(given, (*first, *second))):
                return Orientation(turns, mirrored)
            first, second = (-second[0], -second[1]), first
    return None
