"""What any file, or sequence of files, with depth is to the code that reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor


class DepthSource(Protocol):
    """Files with depth.

    Attributes:
        count: number of maps.
        size: width and height of a map in pixels.
        kind: in words, such as "OpenEXR, channel Z".
        white: the number that white has, where they hold whole numbers: 255 or 65535; 0 where they do not.
        remarks: what a user should know, as sentences.
    """

    count: int
    size: tuple[int, int]
    kind: str
    white: float
    remarks: list[str]

    def maps(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """Give maps [H, W] float32 with the numbers as they are written, one after the other.

        Args:
            frames: numbers of maps from 0, rising, each once.

        Raises:
            ValueError: if a file is truncated or corrupt, or of another size.
        """


def check_size(name: str, size: tuple[int, int], first: tuple[int, int]) -> None:
    """Check that one map is as large as the first.

    Raises:
        ValueError: if it is not; sizes are width and height.
    """
    if size != first:
        raise ValueError(
            f"{name} has {size[0]} x {size[1]} pixels, and the first map {first[0]} x {first[1]}. Give maps of one "
            "size, or name those of one clip by a pattern such as depth_%04d.exr."
        )


def gray_of(channels: Tensor) -> tuple[Tensor, bool]:
    """Return gray [H, W] of channels [H, W, C] and whether they were colors, which were averaged.

    Alpha, the second of two channels or the fourth of four, is left out.
    """
    from ...geometry.depth.checks import colour_finding

    colors = channels[..., :3] if channels.shape[-1] >= 3 else channels[..., :1]
    colored = bool(colour_finding(colors[None]))
    return (colors.mean(dim=-1) if colored else colors[..., 0]), colored
