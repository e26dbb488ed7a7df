"""Heat maps of attention over video frames, and the sheet that compares them (paper, Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...common.wan_grid import latent_groups, video_frames
from ...geometry.cameras.aspect import same_aspect
from .contact_sheet import FONT_SIZE, GAP, INK, LABEL_HEIGHT, PAPER, as_tensor, contact_sheet, side_by_side

_COLORS = "turbo"
# Full color stands for this quantile of the tokens: a few outliers would leave the rest dark.
_TOP_QUANTILE = 0.995
# The picture below is drawn in grey and darker, so that color means heat alone.
_PICTURE_BRIGHTNESS = 0.6
_OPACITY = 0.7  # of full heat
_OPAQUE_FROM = 0.35  # heat above this has full opacity
_RING, _RING_EDGE = (1.0, 0.9, 0.1), (0.0, 0.0, 0.0)
_LEAST_TOP = 1e-12  # a scale of nothing

_BAR_SIZE = (240, 18)  # width and height in pixels


@dataclass(frozen=True)
class HeatScale:
    """One color scale for several maps: from 0 to a share of the attention.

    Attributes:
        top: the share that gets the full color.
        even: the share of every token if attention were spread evenly.
    """

    top: float
    even: float

    @classmethod
    def shared(cls, maps: Sequence[Tensor], even: float) -> HeatScale:
        """Return the scale of maps that are to be compared; each [T, rows, columns]."""
        values = torch.cat([values.flatten() for values in maps])
        return cls(max(float(torch.quantile(values, _TOP_QUANTILE)), _LEAST_TOP), even)

    def describe(self) -> str:
        """Return the scale in words."""
        times = self.top / self.even
        return f"0 to {100 * self.top:.2g} % of the attention per token ({times:.1f} times an even spread)"


def check_video(view: str, frames: Tensor, latent_frames: int, tokens: tuple[int, int]) -> None:
    """Raise ValueError unless a video is the one that latent frames of tokens stand for.

    Args:
        view: the video's name, for the error.
        frames: [F, H, W, 3].
        latent_frames: T; F has to be 4 (T - 1) + 1.
        tokens: columns and rows of the view.
    """
    if frames.ndim != 4 or frames.shape[-1] < 3:
        raise ValueError(f"Expected the {view} video as frames [F, H, W, 3], got {list(frames.shape)}.")
    n_frames = video_frames(latent_frames)
    if len(frames) != n_frames:
        raise ValueError(
            f"The latent stands for {n_frames} frames, but the {view} video has {len(frames)}. Give the video that the "
            "latent was made from."
        )
    size = (frames.shape[2], frames.shape[1])
    if not same_aspect(size, tokens):
        raise ValueError(
            f"The {view} video is {size[0]} x {size[1]} pixels, but its part of the latent is {tokens[0]} x "
            f"{tokens[1]} tokens: the aspect ratios differ, so they show different parts of the image. Crop it as for "
            "EgoX Conditioning."
        )


def heat_over(heat: Tensor, frames: Tensor, scale: HeatScale) -> Tensor:
    """Paint a map of latent frames over the video frames that they stand for.

    Args:
        heat: share of attention of every token, [T, rows, columns].
        frames: [4 (T - 1) + 1, H, W, 3] in [0, 1].
        scale: of the colors.

    Returns:
        [F, H, W, 3] in [0, 1], on the CPU.
    """
    height, width = frames.shape[1:3]
    require_memory(
        3 * FLOAT * len(frames) * height * width,
        f"A map over {len(frames)} frames at {width} x {height}",
        "Give smaller videos, or fewer frames.",
    )
    colors = _colors()
    relative = (heat / scale.top).clamp(0, 1).float().cpu().unsqueeze(1)  # [T, 1, rows, columns]
    painted = torch.empty(len(frames), height, width, 3)
    for latent, group in enumerate(latent_groups(len(frames))):
        cancel_point()
        smooth = torch.nn.functional.interpolate(
            relative[latent : latent + 1], size=(height, width), mode="bilinear", align_corners=False
        )[0, 0]  # [H, W]
        color = colors[(255 * smooth).round().long()]  # [H, W, 3]
        opacity = _OPACITY * (smooth / _OPAQUE_FROM).clamp(max=1.0).unsqueeze(-1)
        grey = _PICTURE_BRIGHTNESS * frames[group, ..., :3].float().cpu().mean(dim=-1, keepdim=True)
        painted[group] = torch.lerp(grey, color, opacity)
    return painted


def black_frames(latent_frames: int, height: int, width: int) -> Tensor:
    """Return the frames of a video that is not there, [4 (T - 1) + 1, H, W, 3]."""
    return torch.zeros(video_frames(latent_frames), height, width, 3)


def ring(frames: Tensor, x: float, y: float, size: float) -> Tensor:
    """Return frames with a ring around a point.

    Args:
        frames: [F, H, W, 3].
        x: point, 0 (left) to 1.
        y: point, 0 (top) to 1.
        size: of what is ringed, as a part of the frames' height.
    """
    height, width = frames.shape[1:3]
    down = (torch.arange(height) + 0.5 - y * height).unsqueeze(1)  # [H, 1]
    right = torch.arange(width) + 0.5 - x * width  # [W]
    distance = torch.hypot(down, right)  # [H, W] pixels from the point
    radius, half = max(0.75 * size * height, 4.0), max(0.006 * height, 1.0)
    ringed = frames.clone()
    ringed[:, (distance - radius).abs() < 2 * half] = torch.tensor(_RING_EDGE)
    ringed[:, (distance - radius).abs() < half] = torch.tensor(_RING)
    return ringed


def moments_with(frame: int, n_frames: int, times: int) -> list[int]:
    """Return `times` frame numbers spread over a clip, the nearest of them moved to `frame`."""
    moments = torch.linspace(0, n_frames - 1, times).round().long().tolist()
    nearest = min(range(times), key=lambda place: abs(moments[place] - frame))
    moments[nearest] = frame
    return moments


def attention_sheet(
    rows: Sequence[tuple[str, Tensor, Tensor]], moments: Sequence[int], scales: Sequence[tuple[str, HeatScale]]
) -> Tensor:
    """Lay out exo and ego maps beside each other, one row a kind, one column a moment, the color scales below.

    Args:
        rows: (label, exo frames [F, H, W, 3], ego frames) from top to bottom.
        moments: frame numbers of the columns.
        scales: (what it is the scale of, scale).

    Returns:
        [1, H, W, 3] in [0, 1].
    """
    chosen = list(moments)
    joined = [(label, side_by_side([exo[chosen], ego[chosen]])) for label, exo, ego in rows]
    sheet = contact_sheet(joined, times=len(chosen), frame_numbers=chosen)
    return torch.cat([sheet, _scale_bars(scales, sheet.shape[2])], dim=1)


def _scale_bars(scales: Sequence[tuple[str, HeatScale]], width: int) -> Tensor:
    """Draw color scales below each other, [1, H, width, 3]."""
    from PIL import Image, ImageDraw, ImageFont

    bar_width, bar_height = _BAR_SIZE
    ramp = _colors()[torch.linspace(0, 255, bar_width).long()].mul(255).round().to(torch.uint8)  # [bar_width, 3]
    bar = Image.fromarray(ramp.expand(bar_height, bar_width, 3).numpy())
    strip = Image.new("RGB", (width, len(scales) * LABEL_HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(FONT_SIZE)
    for place, (label, scale) in enumerate(scales):
        top = place * LABEL_HEIGHT
        strip.paste(bar, (GAP, top + 4))
        draw.text((bar_width + 2 * GAP, top + 2), f"{label}: {scale.describe()}", fill=INK, font=font)
    return as_tensor(strip)


def _colors() -> Tensor:
    """Return the color map, [256, 3] in [0, 1]."""
    import matplotlib

    return torch.tensor(matplotlib.colormaps[_COLORS](range(256)), dtype=torch.float32)[:, :3]
