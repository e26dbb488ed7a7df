"""Inputs that check more, or less, than their type: see `guard`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...geometry.depth.track_masks import chosen_objects, read_sam3_track
from .checks import frames, naming, text
from .sockets import CutSocket, SAM3TrackSocket


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


def near_input() -> io.Input:
    """Return the optional input `near` of a node that draws what the ego camera sees."""
    return io.Float.Input(
        "near",
        default=0.0,
        min=0.0,
        max=10.0,
        step=0.05,
        optional=True,
        tooltip="Metres around the ego camera in which points are not drawn: 0.25 takes out the actor's own hair and "
        "cheek, which are neither coverage nor content. 0, all points, as in EgoX's release.",
    )


def track_inputs(instead_of: str) -> list[io.Input]:
    """Return the optional inputs for objects that a newer core's SAM 3 tracked, and for the choice among them.

    Args:
        instead_of: the input that they stand in for, for the tooltip.
    """
    return [
        SAM3TrackSocket.Input(
            "sam3_track",
            optional=True,
            tooltip=f"Instead of {instead_of}: track_data of SAM3 Video Track of newer ComfyUIs.",
        ),
        ReadText(
            "track_objects",
            chosen_objects,
            1000,
            optional=True,
            tooltip="Numbers of the tracked objects that count, from 0, such as 0, 2. Empty: all.",
        ),
    ]


def mask_or_track(name: str, mask: Tensor | None, track: Any, objects: str) -> Tensor | None:
    """Return the mask that is connected, or that of tracked objects; None where neither is.

    Raises:
        ValueError: if both are connected, or the track cannot be read.
    """
    if track is None:
        return mask
    if mask is not None:
        raise ValueError(f"Connect {name} or sam3_track, not both: they tell the same.")
    return read_sam3_track(track, objects)


class StreamedImages(io.Image.Input):
    """Images that a node takes frame after frame: in half precision they are not copied to float32 as a whole."""

    keeps_half = True


class DepthImages(io.Image.Input):
    """Depth as images of any number of channels, where NaN and infinity mark pixels without depth."""

    def checked(self, value: Any) -> Tensor:
        """Return the images [F, H, W, C] as float32 on the CPU.

        Raises:
            ValueError: if they are something else.
        """
        return frames(self, value, None, finite=False)
