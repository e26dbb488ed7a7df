"""What an artist declares of depth: what its numbers mean, and in which unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import isfinite

from torch import Tensor

from .checks import eight_bit_levels
from .depth import Depth, DepthMeaning


class DepthUnit(str, Enum):
    """The unit of metric depth."""

    METRES = "metres"
    CENTIMETRES = "centimetres"
    MILLIMETRES = "millimetres"
    OWN = "own factor"


_METRES = {DepthUnit.METRES: 1.0, DepthUnit.CENTIMETRES: 0.01, DepthUnit.MILLIMETRES: 0.001}


@dataclass(frozen=True)
class Declared:
    """What the numbers of a depth input hold.

    Attributes:
        meaning: what they mean.
        near: metres that white stands for, as in `Depth.from_array`.
        far: metres that black stands for, likewise.
        unit: of metric depth.
        factor: metres that the number 1 stands for, where the unit is the own factor.

    Raises:
        ValueError: if a unit is given for depth that has none, or the factor is not positive.
    """

    meaning: DepthMeaning
    near: float | None = None
    far: float | None = None
    unit: DepthUnit = DepthUnit.METRES
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.unit is not DepthUnit.METRES and self.meaning is not DepthMeaning.METRIC:
            raise ValueError(
                f"The unit {self.unit.value} belongs to {DepthMeaning.METRIC.value}: {self.meaning.value} has none. "
                f"Choose {DepthMeaning.METRIC.value}, or set unit to {DepthUnit.METRES.value}."
            )
        if self.unit is DepthUnit.OWN and not (self.factor > 0 and isfinite(self.factor)):
            raise ValueError(
                f"The own factor is the metres that the number 1 stands for; got {self.factor:g}. Give one above 0."
            )

    def scale(self, white: float = 0.0) -> float:
        """Return what raw numbers are multiplied by to become metres, or 0 to 1.

        Args:
            white: the number that white has, where they are whole numbers; 0 where they are not.
        """
        if self.meaning is DepthMeaning.METRIC:
            return _METRES.get(self.unit, self.factor)
        return 1 / white if white and self.meaning is DepthMeaning.NORMALISED_INVERSE else 1.0

    def of_values(self, values: Tensor) -> Depth:
        """Make depth of numbers [F, H, W] that `scale` was applied to already.

        Raises:
            ValueError: as `Depth.from_array`.
        """
        return Depth.from_array(values, self.meaning, self.near, self.far)

    def of_images(self, images: Tensor) -> Depth:
        """Make depth of another pack's images [F, H, W, C]; metres in steps of 8 bit are noted in its findings.

        Raises:
            ValueError: as `Depth.from_images`.
        """
        levels = eight_bit_levels(images)
        scale = self.scale()
        depth = Depth.from_images(images * scale if scale != 1 else images, self.meaning, self.near, self.far)
        if not levels or self.meaning is not DepthMeaning.METRIC:
            return depth
        return replace(
            depth,
            findings=(
                f"The depth images hold {levels} levels, so they went through 8 bit: ComfyUI's Load Image cuts 16-bit "
                "PNG down to that. Choose the depth's own file under 'file'.",
                *depth.findings,
            ),
        )
