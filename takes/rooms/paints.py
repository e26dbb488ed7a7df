"""The paint on solid shapes: colors as functions of a point in the shape's own frame, metres.

Colors are about [0, 1]. Each paint is plain data, so that the compiled ray caster can read it too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

Color = tuple[float, float, float]

NOISE_SIZE = 96  # lattice points a side of the grain, which repeats beyond
# Bumps of the grain: lattice points a metre, and weight.
GRAIN_SCALES = ((250, 1.0), (40, 0.7))


class Paint(ABC):
    """Colors over the surface of a shape."""

    def __call__(self, points: Tensor) -> Tensor:
        """Return the colors [N, 3] of points [N, 3]."""
        return self._colors(points)

    @abstractmethod
    def _colors(self, points: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Plain(Paint):
    """One color with a fine grain."""

    color: Color
    grain: float = 0.04

    def _colors(self, points: Tensor) -> Tensor:
        return points.new_tensor(self.color) * _grain(points, self.grain)


@dataclass(frozen=True)
class Checker(Paint):
    """Two colors in cubes of `size` metres."""

    first: Color
    second: Color
    size: float
    grain: float = 0.05

    def _colors(self, points: Tensor) -> Tensor:
        odd = (points / self.size + 1e-3).floor().sum(dim=-1, keepdim=True) % 2
        return torch.lerp(points.new_tensor(self.first), points.new_tensor(self.second), odd) * _grain(
            points, self.grain
        )


@dataclass(frozen=True)
class Stripes(Paint):
    """Two colors in layers of `size` metres along one axis."""

    first: Color
    second: Color
    size: float
    axis: int
    grain: float = 0.05

    def _colors(self, points: Tensor) -> Tensor:
        odd = (points[:, self.axis : self.axis + 1] / self.size + 1e-3).floor() % 2
        return torch.lerp(points.new_tensor(self.first), points.new_tensor(self.second), odd) * _grain(
            points, self.grain
        )


@dataclass(frozen=True)
class Wood(Paint):
    """Planks of `plank` metres across `axis`, each with a tone of its own and dark joints."""

    color: Color
    plank: float
    axis: int

    def _colors(self, points: Tensor) -> Tensor:
        position = points[:, self.axis : self.axis + 1] / self.plank
        number = position.floor()
        tone = 0.86 + 0.22 * ((number * 0.618034) % 1)
        joint = 1 - 0.45 * ((position - number) < 0.03).to(points)
        stretched = points * 0.12
        stretched[:, self.axis] = points[:, self.axis]
        return points.new_tensor(self.color) * tone * joint * _grain(stretched, 0.16)


@dataclass(frozen=True)
class Tiles(Paint):
    """Square tiles of `size` metres with thin joints, over two axes."""

    color: Color
    joint: Color
    size: float
    across: tuple[int, int]

    def _colors(self, points: Tensor) -> Tensor:
        position = points[:, list(self.across)] / self.size + 0.5
        number = position.floor()
        edge = (position - number - 0.5).abs().amax(dim=-1, keepdim=True) > 0.475
        tone = 0.94 + 0.12 * ((number * number.new_tensor([0.618034, 0.414214])).sum(-1, keepdim=True) % 1)
        painted = points.new_tensor(self.color) * tone
        return torch.where(edge, points.new_tensor(self.joint), painted) * _grain(points, 0.05)


@dataclass(frozen=True)
class Landscape(Paint):
    """A framed picture of `half_width` x `half_height` metres: sky, two rows of hills and a sun."""

    half_width: float = 0.34
    half_height: float = 0.26
    low_sky: Color = (0.93, 0.80, 0.62)
    high_sky: Color = (0.52, 0.69, 0.80)
    far_hills: Color = (0.52, 0.60, 0.58)
    near_hills: Color = (0.36, 0.48, 0.40)
    sun: Color = (0.97, 0.90, 0.70)
    frame: Color = (0.34, 0.26, 0.20)

    def _colors(self, points: Tensor) -> Tensor:
        x, height = points[:, 0], -points[:, 1]
        color = torch.lerp(
            points.new_tensor(self.low_sky), points.new_tensor(self.high_sky), ((height + 0.26) / 0.5)[:, None]
        )
        for base, wave, tone in ((0.02, 9.0, self.far_hills), (-0.08, 14.0, self.near_hills)):
            hill = height < base + 0.05 * torch.sin(wave * x + base * 30)
            color = torch.where(hill[:, None], points.new_tensor(tone), color)
        sun = (x - 0.14) ** 2 + (height - 0.12) ** 2 < 0.045**2
        color = torch.where(sun[:, None], points.new_tensor(self.sun), color)
        frame = (x.abs() > self.half_width - 0.025) | (height.abs() > self.half_height - 0.025)
        return torch.where(frame[:, None], points.new_tensor(self.frame), color)


@dataclass(frozen=True)
class Window(Paint):
    """A bright window across the second and third axis, with bars, sky and treetops."""

    low_sky: Color = (1.0, 0.98, 0.93)
    high_sky: Color = (0.74, 0.88, 1.0)
    trees: Color = (0.56, 0.70, 0.48)
    bars: Color = (0.92, 0.91, 0.87)

    def _colors(self, points: Tensor) -> Tensor:
        height, z = -points[:, 1], points[:, 2]
        sky = torch.lerp(
            points.new_tensor(self.low_sky), points.new_tensor(self.high_sky), ((height + 0.43) / 0.86)[:, None]
        )
        trees = height < -0.16 + 0.05 * torch.sin(11 * z) + 0.02 * torch.sin(37 * z)
        color = torch.where(trees[:, None], points.new_tensor(self.trees), sky) * 1.25
        bar = (z.abs() < 0.016) | ((height - 0.08).abs() < 0.016)
        return torch.where(bar[:, None], points.new_tensor(self.bars), color)


@dataclass(frozen=True)
class Walls(Paint):
    """The inside of a room of `half_size` metres: a floor, skirting boards, two walls of their own, plaster elsewhere.

    Attributes:
        half_size: as the box has it.
        floor, left, far: paints of the floor, of the wall at smallest x and of the wall at largest z.
        plaster: the ceiling, the other walls, and the far wall above `far_height`.
        skirting: the lowest 9 cm of the walls.
        far_height: upper edge of `far`, metres above the room's centre.
    """

    half_size: tuple[float, float, float]
    floor: Paint
    left: Paint
    far: Paint
    plaster: Paint
    skirting: Paint
    far_height: float = 0.35

    def _colors(self, points: Tensor) -> Tensor:
        x, y, z = points.unbind(-1)
        half = self.half_size
        on_floor = y > half[1] - 1e-3
        low = ~on_floor & (y > half[1] - 0.09)
        on_left = ~on_floor & ~low & (x < -half[0] + 1e-3)
        on_far = ~on_floor & ~low & ~on_left & (z > half[2] - 1e-3) & (y > -self.far_height)
        parts = ((on_floor, self.floor), (low, self.skirting), (on_left, self.left), (on_far, self.far))
        color = torch.empty_like(points)
        rest = torch.ones_like(on_floor)
        for chosen, part in (*parts, (rest, self.plaster)):
            places = (chosen & rest).nonzero()[:, 0]
            color[places] = part(points[places])
            rest = rest & ~chosen
        return color


@cache
def noise_table() -> Tensor:
    """Smooth noise on a periodic lattice [96, 96, 96] in [-1, 1], three cells a bump."""
    coarse = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(7))
    wrapped = torch.nn.functional.pad(coarse, (1,) * 6, mode="circular")
    smooth = torch.nn.functional.interpolate(wrapped, scale_factor=3, mode="trilinear", align_corners=False)
    return smooth[0, 0, 3:-3, 3:-3, 3:-3].mul(2).sub(1).contiguous()


def _grain(points: Tensor, strength: float) -> Tensor:
    """Return a brightness factor [N, 1] around 1: bumps of 12 mm and of 75 mm."""
    table = noise_table()
    factor = torch.ones_like(points[:, :1])
    for cells_per_metre, weight in GRAIN_SCALES:
        x, y, z = (points * cells_per_metre).floor().long().remainder(NOISE_SIZE).unbind(-1)
        factor += (strength * weight) * table[x, y, z][:, None].to(points)
    return factor
