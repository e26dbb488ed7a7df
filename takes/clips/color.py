"""Pixels of a decoded frame as ordinary colors: of any depth, with alpha, and of phones' HDR."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from av import VideoFrame

# Numbers of the transfer curves in ITU-T H.273, as FFmpeg hands them out.
_CURVES = {16: "PQ", 18: "HLG"}
_BT2020 = 9

# Luminance in candela a square metre: what HDR calls white on paper (ITU-R BT.2408), and an HLG display at its best.
_PAPER_WHITE = 203.0
_HLG_PEAK = 1000.0
# In linear light: below it nothing changes, above it highlights are bent to 1.
_KNEE = 0.8
_BT2020_TO_BT709 = (
    (1.660491, -0.587641, -0.072850),
    (-0.124550, 1.132900, -0.008349),
    (-0.018151, -0.100579, 1.118730),
)


def curve_of(transfer: object) -> str:
    """Return "HLG" or "PQ" for FFmpeg's number of a transfer curve, "" for any other."""
    return _CURVES.get(int(transfer), "") if transfer is not None else ""


def bits_of(frame: VideoFrame) -> int:
    """Return the bits of a frame's first channel."""
    return max((component.bits for component in frame.format.components), default=8)


def has_alpha(frame: VideoFrame) -> bool:
    """Whether a frame's pixels can be transparent."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def pixels_of(frame: VideoFrame, deep: bool) -> Tensor:
    """Return a frame's colors [H, W, 3] float32 in [0, 1] as they are coded; what is transparent lies over black.

    Args:
        frame: as it was decoded.
        deep: whether more than 8 bits count, as where dark HDR colors are stretched; it takes twice the memory.
    """
    alpha = has_alpha(frame)
    # To planes: FFmpeg's way to packed 16-bit colors is wrong (in 8.0 a green that is not quite pure became one).
    kind = ("gbrap16le" if alpha else "gbrp16le") if deep else ("rgba" if alpha else "rgb24")
    from_full = {"src_color_range": "JPEG"} if int(frame.color_range) == 2 else {}
    array = frame.reformat(format=kind, dst_color_range="JPEG", **from_full).to_ndarray()
    pixels = torch.from_numpy(array.astype("float32")).div_(65535 if deep else 255)
    return pixels[..., :3] * pixels[..., 3:] if alpha else pixels


def toned_down(coded: Tensor, curve: str, wide: bool = True) -> Tensor:
    """Bring HDR to what an ordinary screen shows: middle tones stay, highlights are bent down to white.

    Args:
        coded: [..., 3] in [0, 1], coded by the curve.
        curve: "HLG" or "PQ"; with "" nothing is done.
        wide: whether the colors are BT.2020's.

    Returns:
        [..., 3] in [0, 1], coded as sRGB.
    """
    if not curve:
        return coded
    light = (_from_pq if curve == "PQ" else _from_hlg)(coded) / _PAPER_WHITE
    if wide:
        light = light @ light.new_tensor(_BT2020_TO_BT709).T
    light = light.clamp_min(0)
    # By the brightest channel, so that colors keep their hue.
    brightest = light.amax(dim=-1, keepdim=True)
    bent = _KNEE + (1 - _KNEE) * (1 - torch.exp((_KNEE - brightest) / (1 - _KNEE)))
    light = light * torch.where(brightest > _KNEE, bent / brightest.clamp_min(1e-6), 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-9) ** (1 / 2.4) - 0.055).clamp(
        0, 1
    )


def is_wide(colorspace: object) -> bool:
    """Whether FFmpeg's number of a matrix, or of primaries, is BT.2020's."""
    return colorspace is not None and int(colorspace) == _BT2020


def _from_pq(coded: Tensor) -> Tensor:
    """Return candela a square metre of SMPTE ST 2084's code values."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = coded.clamp(0, 1) ** (1 / m2)
    return 10_000 * ((power - c1).clamp_min(0) / (c2 - c3 * power)) ** (1 / m1)


def _from_hlg(coded: Tensor) -> Tensor:
    """Return candela a square metre of ARIB STD-B67's code values, as a display of 1000 shows them."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    coded = coded.clamp(0, 1)
    scene = torch.where(coded <= 0.5, coded**2 / 3, (torch.exp((coded - c) / a) + b) / 12)
    luminance = (scene * scene.new_tensor([0.2627, 0.6780, 0.0593])).sum(dim=-1, keepdim=True)
    return _HLG_PEAK * luminance.clamp_min(1e-9) ** 0.2 * scene
