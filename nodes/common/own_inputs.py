"""Inputs that check more, or less, than their type: see `guard`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .checks import frames, naming, text
from .sockets import CutSocket


class ReadText(io.String.Input):
    """A text with a form of its own, such as JSON, which is read when the graph is sent.

    Args:
        name: the input's name.
        reader: reads the text, or raises a ValueError that says what is wrong.
        most: characters that it reads.
        options: as `io.String.Input`.
    """

    def __init__(self, name: str, reader: Callable[[str], Any], most: int, **options: Any) -> None:
        super().__init__(name, **{"default": "", **options})
        self._reader, self._most = reader, most

    def checked(self, value: Any) -> str:
        """Return the text if it can be read.

        Raises:
            ValueError: if it cannot.
        """
        written = text(self, value, self._most)
        with naming(self):
            self._reader(written)
        return written


def cut_input(what: str, more: str = "") -> io.Input:
    """Return the optional input `cut` of a node that takes something made for a whole clip.

    Args:
        what: that is, for the tooltip.
        more: a further sentence of it.
    """
    return CutSocket.Input(
        "cut",
        optional=True,
        tooltip=f"Optional: cut of Load Clip, for {what} of the whole clip as its file is, at any size. It follows the "
        f"same frames, turn and crop.{more}",
    )


class DepthImages(io.Image.Input):
    """Depth as images of any number of channels, where NaN and infinity mark pixels without depth."""

    def checked(self, value: Any) -> Tensor:
        """Return the images [F, H, W, C] as float32 on the CPU.

        Raises:
            ValueError: if they are something else.
        """
        return frames(self, value, None, finite=False)
