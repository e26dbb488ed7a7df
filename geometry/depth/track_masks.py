"""Masks of tracked objects from newer ComfyUI cores: SAM3_TRACK_DATA.

    {"packed_masks": [F, K, h, w / 8] uint8 or None, "n_frames": F, "scores": [...], "orig_size": (H, W)}

A mask shows the whole picture squeezed into the model's own square; eight pixels of a row are the bits of a byte, the
lowest first. An object that is absent in a frame has an empty mask; None: nothing was found in any frame.
Written after the sources of ComfyUI 0.27 and 0.38, and not run against the model: what is read is checked first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...common.messages import arrived, few, with_advice

_MOST_PIXELS = 65536
_CHOICE = re.compile(r"\s*(\d{1,9}(\s*,\s*\d{1,9})*)?\s*")


def chosen_objects(text: str) -> list[int]:
    """Read numbers of objects, such as "0, 2"; an empty text stands for all and gives none.

    Raises:
        ValueError: if it is something else.
    """
    if not _CHOICE.fullmatch(text):
        raise ValueError(
            f"Objects are numbers from 0, with commas between, such as 0, 2; got {arrived(text)}. Type such numbers, "
            "or leave it empty for all objects."
        )
    return sorted({int(number) for number in re.findall(r"\d+", text)})


@with_advice("Connect track_data of SAM3 Video Track.")
def read_sam3_track(payload: Any, objects: str = "") -> Tensor:
    """Read SAM3_TRACK_DATA as one mask a frame.

    Args:
        payload: see the module.
        objects: numbers of the objects that count, as `chosen_objects` reads them; "" for all.

    Returns:
        [F, H, W] float32 in [0, 1], at the size of the images that were tracked.

    Raises:
        ValueError: if it holds something else, nothing was found, or there is no such object.
    """
    if not isinstance(payload, Mapping):
        raise ValueError(f"Expected a SAM3_TRACK_DATA, which is a dictionary, got {arrived(payload)}.")
    height, width = _size(payload.get("orig_size"))
    packed = payload.get("packed_masks")
    if packed is None:
        raise ValueError("SAM 3 found no object in any frame. Describe it otherwise, or lower its threshold.")
    if not isinstance(packed, Tensor) or packed.ndim != 4 or 0 in packed.shape or packed.dtype is not torch.uint8:
        raise ValueError(f"'packed_masks' of a SAM3_TRACK_DATA are bytes [F, K, h, w / 8], got {arrived(packed)}.")
    if packed.is_meta or packed.layout is not torch.strided:
        raise ValueError(f"'packed_masks' of a SAM3_TRACK_DATA hold no bytes, got {arrived(packed)}.")
    n_frames, n_objects = packed.shape[:2]
    wanted = chosen_objects(objects) or list(range(n_objects))
    if absent := [str(number) for number in wanted if number >= n_objects]:
        raise ValueError(
            f"There is no object {few(absent)}: SAM 3 tracked {n_objects}, counted from 0. Choose among them."
        )
    require_memory(
        FLOAT * n_frames * height * width,
        f"Masks of {n_frames} frames at {width} x {height}",
        "Track fewer or smaller images.",
    )
    bits = torch.arange(8, dtype=torch.uint8)
    masks = torch.empty(n_frames, height, width)
    for frame in range(n_frames):
        cancel_point()
        one = packed[frame, wanted].detach().to("cpu")  # [k, h, w / 8]
        pixels = ((one[..., None] >> bits) & 1).flatten(-2).amax(dim=0)
        masks[frame] = torch.nn.functional.interpolate(
            pixels[None, None].float(), (height, width), mode="bilinear", align_corners=False
        )[0, 0]
    if not bool((masks > 0.5).any()):
        raise ValueError("The chosen objects of SAM 3's track are in no frame. Choose others.")
    return masks


def _size(value: Any) -> tuple[int, int]:
    sides = list(value) if isinstance(value, list | tuple) else []
    if len(sides) != 2 or not all(
        isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= _MOST_PIXELS for side in sides
    ):
        raise ValueError(f"'orig_size' of a SAM3_TRACK_DATA is a height and a width, got {arrived(value)}.")
    return sides[0], sides[1]
