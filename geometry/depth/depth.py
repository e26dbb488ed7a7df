"""Depth maps of a clip, and what their numbers mean.

Depth is z along the optical axis, not the distance along the ray. Other packs hand out depth in several forms under
one socket type, so an input declares what it holds; `Depth.contradictions` says where the data speaks against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...common.messages import arrived
from .checks import Form, colour_finding, contradictions, map_parts

if TYPE_CHECKING:
    import numpy as np


class DepthMeaning(str, Enum):
    """What the numbers of a depth input hold."""

    METRIC = "metric depth"
    """Depth z in metres."""
    INVERSE = "inverse depth"
    """Affine-invariant inverse depth (disparity): scale and offset against 1/metres are unknown, near is large."""
    NORMALISED_INVERSE = "normalised inverse depth"
    """Inverse depth stretched to [0, 1], near = 1; known near and far distances turn it into metres."""


@dataclass(frozen=True, eq=False)
class Depth:
    """The depth maps of a clip, in metres or as affine-invariant inverse depth.

    Attributes:
        values: [F, H, W] float32 on the CPU. METRIC: metres, 0 where invalid. INVERSE: NaN where invalid. Given
            otherwise (another device or float type; NaN, infinity or negative metres) they are brought to that form.
        meaning: METRIC or INVERSE.
        findings: what `from_images` or `from_array` noticed in the raw input.

    Raises:
        ValueError: if the shape is not [F, H, W], or no pixel of the clip holds a positive finite value.
    """

    values: Tensor
    meaning: DepthMeaning
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        meaning = _known_meaning(self.meaning)
        if meaning is DepthMeaning.NORMALISED_INVERSE:
            raise ValueError("Depth holds metric or inverse depth; read a normalised input with Depth.from_array.")
        values = torch.as_tensor(self.values).detach()
        if values.ndim != 3 or 0 in values.shape:
            raise ValueError(f"Expected depth maps [F, H, W], got the shape {list(values.shape)}.")
        values = values.to("cpu", torch.float32)
        if not any(bool((torch.isfinite(values[part]) & (values[part] > 0)).any()) for part in map_parts(values)):
            raise ValueError(_nothing_valid(values))
        object.__setattr__(self, "meaning", meaning)
        object.__setattr__(self, "values", _with_holes_marked(values, meaning))

    @classmethod
    def from_images(
        cls, images: Tensor, meaning: DepthMeaning, near: float | None = None, far: float | None = None
    ) -> Depth:
        """Read depth that another pack hands out as an IMAGE.

        Args:
            images: [F, H, W, C], grey in its first three channels (alpha is ignored); differing channels are
                averaged and noted in `findings`.
            meaning: what the numbers hold.
            near: see `from_array`.
            far: see `from_array`.
        """
        if images.ndim != 4 or images.shape[-1] == 0:
            raise ValueError(f"Expected images [F, H, W, C], got the shape {list(images.shape)}.")
        images = images.to("cpu")
        channels = images[..., :3] if images.shape[-1] >= 3 else images[..., :1]
        finding = colour_finding(channels)
        depth = cls.from_array(channels.mean(dim=-1) if finding else channels[..., 0], meaning, near, far)
        return replace(depth, findings=(*finding, *depth.findings))

    @classmethod
    def from_array(
        cls,
        array: Tensor | np.ndarray,
        meaning: DepthMeaning,
        near: float | None = None,
        far: float | None = None,
    ) -> Depth:
        """Read depth maps from a tensor or an array of numbers.

        Args:
            array: [F, H, W], [F, H, W, 1] or [H, W], any real type.
            meaning: what the numbers hold.
            near: distance in metres of the value 1 of NORMALISED_INVERSE. With near and far it becomes METRIC by
                `1 / (d * (1/near - 1/far) + 1/far)`, without them INVERSE.
            far: distance in metres of the value 0; may be infinity.

        Raises:
            ValueError: if the shape or type does not fit, near and far are no distances or belong to another
                meaning, or no pixel holds a positive finite value.
        """
        meaning = _known_meaning(meaning)
        _check_near_far(meaning, near, far)
        raw = _as_maps(array)
        findings = tuple(contradictions(raw, _FORMS[meaning]))
        if meaning is not DepthMeaning.NORMALISED_INVERSE:
            return cls(raw, meaning, findings)
        if near is None or far is None:
            return cls(raw, DepthMeaning.INVERSE, findings)
        if not (torch.isfinite(raw) & (raw > 0)).any():
            raise ValueError(_nothing_valid(raw))
        inverse = raw * (1 / near - 1 / far) + 1 / far  # [F, H, W], 1/metres
        return cls(inverse.reciprocal(), DepthMeaning.METRIC, findings)

    # Shape ------------------------------------------------------------------------------------------------------

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.values.shape[0]

    @property
    def height(self) -> int:
        """Height of a map in pixels."""
        return self.values.shape[1]

    @property
    def width(self) -> int:
        """Width of a map in pixels."""
        return self.values.shape[2]

    def resized(self, width: int, height: int) -> Depth:
        """Return the maps at `width` x `height` pixels.

        Each pixel takes the value of the old pixel under its centre: an average would invent surfaces between the
        two sides of a depth edge and smear invalid pixels into valid ones.
        """
        if width < 1 or height < 1:
            raise ValueError(f"Expected a positive size in pixels, got {width} x {height}.")
        if (width, height) == (self.width, self.height):
            return self
        require_memory(
            2 * FLOAT * self.n_frames * width * height,
            f"Depth of {self.n_frames} frames at {width} x {height}",
            "Make the images smaller, or give fewer frames.",
        )
        resized = torch.empty(self.n_frames, height, width)
        for frame, values in enumerate(self.values):
            cancel_point()
            resized[frame] = torch.nn.functional.interpolate(values[None, None], (height, width), mode="nearest-exact")
        return replace(self, values=resized)

    def cropped(self, left: int, top: int, width: int, height: int) -> Depth:
        """Return the window of `width` x `height` pixels whose corner is at column `left`, row `top`.

        Raises:
            ValueError: if the window leaves the maps.
        """
        if min(left, top) < 0 or min(width, height) < 1 or left + width > self.width or top + height > self.height:
            raise ValueError(
                f"The window {width} x {height} at ({left}, {top}) leaves the depth of {self.width} x {self.height}."
            )
        return replace(self, values=self.values[:, top : top + height, left : left + width])

    # Values -----------------------------------------------------------------------------------------------------

    @property
    def valid(self) -> Tensor:
        """Pixels that hold a depth [F, H, W] bool."""
        return self.values > 0 if self.meaning is DepthMeaning.METRIC else torch.isfinite(self.values)

    def metric(self) -> Tensor:
        """Return metres [F, H, W], 0 where invalid.

        Raises:
            ValueError: if this is inverse depth, whose scale and offset are unknown.
        """
        if self.meaning is not DepthMeaning.METRIC:
            raise ValueError(
                "Expected metric depth, got inverse depth, whose scale and offset are unknown. Align it to a metric "
                "depth first (Exo2Ego Align Depth), or give the near and far distances of a normalised input."
            )
        return self.values

    def inverse(self) -> Tensor:
        """Return inverse depth [F, H, W], NaN where invalid: 1/metres for METRIC, as it came for INVERSE."""
        if self.meaning is DepthMeaning.INVERSE:
            return self.values
        return torch.where(self.valid, self.values.reciprocal(), math.nan)

    # Report -----------------------------------------------------------------------------------------------------

    def contradictions(self) -> list[str]:
        """Return warnings where the raw input spoke against its declared meaning; empty where nothing did."""
        return list(self.findings)

    def describe(self) -> str:
        """Return meaning, size, range and the share of valid pixels as one line."""
        low, high, count = math.inf, -math.inf, 0
        for part in map_parts(self.values):
            one = self.values[part]
            known = one[one > 0 if self.meaning is DepthMeaning.METRIC else torch.isfinite(one)]
            if len(known):
                low, high = min(low, float(known.min())), max(high, float(known.max()))
                count += len(known)
        unit = " m" if self.meaning is DepthMeaning.METRIC else " (no unit)"
        share = 100 * count / self.values.numel()
        return (
            f"{self.meaning.value}: {self.n_frames} frames of {self.width} x {self.height}, "
            f"{low:.4g} to {high:.4g}{unit}, {share:.1f} % of the pixels valid"
        )


_FORMS = {
    DepthMeaning.METRIC: Form.METRES,
    DepthMeaning.INVERSE: Form.INVERSE,
    DepthMeaning.NORMALISED_INVERSE: Form.NORMALISED_INVERSE,
}


def _known_meaning(meaning: object) -> DepthMeaning:
    known = [kind.value for kind in DepthMeaning]
    if meaning not in known:
        raise ValueError(f"The meaning of depth is one of {', '.join(map(repr, known))}; got {arrived(meaning)}.")
    return DepthMeaning(meaning)


def _as_maps(array: Tensor | np.ndarray) -> Tensor:
    """Bring [H, W], [F, H, W] or [F, H, W, 1] to float32 [F, H, W] on the CPU."""
    try:
        maps = torch.as_tensor(array)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected an array of numbers, got {type(array).__name__}: {error}.") from error
    if maps.is_complex() or maps.dtype is torch.bool:
        raise ValueError(f"Expected depth as real numbers, got {maps.dtype}.")
    shape = list(maps.shape)
    if maps.ndim == 4 and maps.shape[-1] == 1:
        maps = maps[..., 0]
    if maps.ndim == 2:
        maps = maps[None]
    if maps.ndim != 3 or 0 in maps.shape:
        raise ValueError(f"Expected depth [F, H, W], [F, H, W, 1] or [H, W], got the shape {shape}.")
    return maps.detach().to("cpu", torch.float32)


def _check_near_far(meaning: DepthMeaning, near: float | None, far: float | None) -> None:
    if near is None and far is None:
        return
    if meaning is not DepthMeaning.NORMALISED_INVERSE:
        normalised = DepthMeaning.NORMALISED_INVERSE.value
        raise ValueError(
            f"near and far belong to {normalised}, not to {meaning.value}. Set both to 0, or choose {normalised}."
        )
    if near is None or far is None:
        raise ValueError("Give both near and far in metres, or neither.")
    if not 0 < near < far:
        raise ValueError(
            f"Expected 0 < near < far in metres, got near = {near} and far = {far}. Swap them, or set both to 0."
        )


def _with_holes_marked(values: Tensor, meaning: DepthMeaning) -> Tensor:
    """Mark invalid pixels as `Depth` documents it, copying only where there are any."""
    metric = meaning is DepthMeaning.METRIC
    marked = values
    for part in map_parts(values):
        one = values[part]
        bad = ~(torch.isfinite(one) & (one >= 0)) if metric else ~torch.isfinite(one)
        # Not-a-number marks holes of inverse depth already.
        if bool(bad.any()) and (metric or not bool(one[bad].isnan().all())):
            marked = values.clone() if marked is values else marked
            marked[part].masked_fill_(bad, 0.0 if metric else math.nan)
    return marked


def _nothing_valid(values: Tensor) -> str:
    finite = torch.isfinite(values)
    if not finite.any():
        what = "every pixel is NaN or infinity"
    else:
        low, high = (float(edge) for edge in torch.aminmax(values[finite]))
        what = f"values run from {low:.4g} to {high:.4g}"
    return (
        f"No depth of the {values.shape[0]} frames is a positive number: {what}. "
        "Check that the depth model ran, that the right output or file is connected, and its declared meaning."
    )
