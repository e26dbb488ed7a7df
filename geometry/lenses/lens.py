"""What every lens can do, and how lenses are stored.

Camera frame: OpenCV axes (x right, y down, z forward). Pixels: (column, row) with pixel centres at +0.5, so the
first pixel covers [0, 1). A lens is a frozen value; its methods work on tensors of any float type and device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

Kind = TypeVar("Kind", bound="Lens")

_kinds: dict[str, type[Lens]] = {}

# Pixels; beyond, angles and fields of view are lost in rounding.
_LARGEST = 100_000_000


class Lens(ABC):
    """How a point of the camera frame becomes a pixel, and back.

    A model of its own is a frozen dataclass with the fields `cx` and `cy`, focal lengths and coefficients, all in
    pixels or without unit. It states the class attributes, and is known by its name from then on: to JSON, NPZ and
    glTF files, trajectories and the Camera node.

    Attributes:
        name: in files, e.g. `fisheye624`.
        title: in texts, e.g. `Fisheye624`.
        number_names: the lens' numbers in the order of `row`, as users know them.
        focal_fields: names of the fields that are focal lengths.
        lists: fields that hold several numbers, with their count.
        npz_key: name of its array in an NPZ file; the name unless stated.
        is_pinhole: whether straight lines stay straight, so that fx, fy, cx and cy say everything.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    number_names: ClassVar[tuple[str, ...]]
    focal_fields: ClassVar[tuple[str, ...]] = ("fx", "fy")
    lists: ClassVar[Mapping[str, int]] = {}
    npz_key: ClassVar[str]
    is_pinhole: ClassVar[bool] = False

    cx: float
    cy: float

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "npz_key" not in vars(cls):
            cls.npz_key = cls.name
        _kinds[cls.name] = cls

    def __post_init__(self) -> None:
        for name, count in self.lists.items():
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != count:
                raise ValueError(f"{self.title} takes {count} {name} coefficients, got {len(values)}.")
            object.__setattr__(self, name, values)
        numbers = self.row()
        if not all(abs(number) <= _LARGEST for number in numbers):  # NaN is not
            raise ValueError(f"{self.title} takes finite numbers, of at most {_LARGEST:,}; got {tuple(numbers)}.")
        focal = tuple(getattr(self, name) for name in self.focal_fields)
        if min(focal) <= 0:
            raise ValueError(f"{self.title} takes positive focal lengths in pixels, got {focal}.")

    @abstractmethod
    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project camera-frame points.

        Args:
            points: [..., 3], any unit.

        Returns:
            Pixels [..., 2] as (column, row), and whether each point lies in front of the camera and within the
            lens' field [...].
        """

    @abstractmethod
    def unproject(self, pixels: Tensor) -> Tensor:
        """Return the unit rays [..., 3] of pixels [..., 2] in the camera frame."""

    @abstractmethod
    def turned_clockwise(self: Kind, width: int, height: int) -> Kind:
        """Return the lens of the `width` x `height` image turned clockwise by 90 degrees."""

    def scaled(self: Kind, sx: float, sy: float) -> Kind:
        """Return the lens of the image resized by `sx` horizontally and `sy` vertically.

        Raises:
            ValueError: if the lens cannot have two scales.
        """
        return replace(self, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy)

    def cropped(self: Kind, left: float, top: float) -> Kind:
        """Return the lens of the image whose first column and row are `left` and `top` of this one."""
        return replace(self, cx=self.cx - left, cy=self.cy - top)

    def row(self) -> list[float]:
        """Return all numbers in the order of `number_names`; `from_row` restores the lens."""
        numbers: list[float] = []
        for field in fields(self):
            value = getattr(self, field.name)
            numbers += value if field.name in self.lists else [value]
        return numbers

    @classmethod
    def from_row(cls: type[Kind], numbers: Sequence[float]) -> Kind:
        """Make a lens of its numbers; coefficients missing at the end count as 0.

        Raises:
            ValueError: if there are too few or too many numbers, or they make no lens.
        """
        most = len(cls.number_names)
        least = most - sum(cls.lists.values())
        if not least <= len(numbers) <= most:
            wanted = str(most) if least == most else f"{least} to {most}"
            raise ValueError(f"{cls.title} takes {wanted} numbers ({', '.join(cls.number_names)}), got {len(numbers)}.")
        left = [float(number) for number in numbers] + [0.0] * (most - len(numbers))
        values: dict[str, Any] = {}
        for field in fields(cls):
            count = cls.lists.get(field.name)
            values[field.name] = left[0] if count is None else tuple(left[:count])
            left = left[count or 1 :]
        return cls(**values)


def lens_kinds() -> dict[str, type[Lens]]:
    """Return all lens models by name."""
    return dict(_kinds)


def lens_to_json(lens: Lens) -> dict[str, Any]:
    """Return a lens as a JSON object `{"type": name, ...numbers}`; `lens_from_json` restores it exactly."""
    return {"type": lens.name, **asdict(lens)}


def lens_from_json(content: Mapping[str, Any]) -> Lens:
    """Make the lens of a JSON object.

    Raises:
        ValueError: if the type is unknown, or a number is not finite or no focal length.
        KeyError: if there is no "type".
        TypeError: if a number is missing, of another kind or not known.
    """
    values = dict(content)
    kind = values.pop("type")
    if not isinstance(kind, str) or kind not in _kinds:
        raise ValueError(f"Expected a lens of type {' or '.join(_kinds)}, got {kind!r}.")
    return _kinds[kind](**values)


def on_image_plane(points: Tensor) -> tuple[Tensor, Tensor]:
    """Split camera-frame points [..., 3] into x/z, y/z [..., 2] and whether they lie in front [...]."""
    z = points[..., 2]
    in_front = z > 0
    safe_z = torch.where(in_front, z, torch.ones_like(z))
    return points[..., :2] / safe_z[..., None], in_front
