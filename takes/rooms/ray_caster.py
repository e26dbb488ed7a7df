"""An exact ray caster for small scenes, in vectorised torch, for any camera of the pack.

Rays are kept in square tiles of neighbours. A shape is tried only on tiles whose cone of rays touches its bounding
ball: most shapes cover a few tiles, which is what makes a whole clip affordable without a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...geometry.cameras.camera import Camera
from .shapes import Shape

TILE = 16  # pixels a side
SHADOW_OFFSET = 0.02  # metres by which a surface may lie behind the lit one and still count as lit
# Pixels of the shadow map that are asked about a point, from the point.
SHADOW_SHIFTS = ((-0.75, -0.75), (0.75, -0.75), (-0.75, 0.75), (0.75, 0.75))
CONTACT_REACH = 2.5  # radii of a rod within which it darkens surfaces
CONTACT_STRENGTH = 0.8


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays of one origin, in T tiles of P rays.

    Attributes:
        origin: [3] in the world, metres.
        directions: unit vectors [3, T, P].
        axes: middle direction of each tile [T, 3].
        spread: largest angle between a tile's axis and its rays [T], radians.
        size: (height, width) of the image, whose tiles run in rows and are padded at the right and bottom.
    """

    origin: Tensor
    directions: Tensor
    axes: Tensor
    spread: Tensor
    size: tuple[int, int]

    @classmethod
    def of_camera(cls, camera: Camera, dtype: torch.dtype) -> Rays:
        """Return the rays through a camera's pixel centers, in the camera's own frame."""
        rays = camera.local_rays.to(dtype).movedim(-1, 0)  # [3, H, W]
        height, width = rays.shape[1:]
        padded = torch.nn.functional.pad(rays[None], (0, -width % TILE, 0, -height % TILE), mode="replicate")[0]
        tiles = padded.unfold(1, TILE, TILE).unfold(2, TILE, TILE)  # [3, rows, columns, TILE, TILE]
        directions = tiles.reshape(3, -1, TILE * TILE).contiguous()
        axes = torch.nn.functional.normalize(directions.mean(dim=2).T, dim=-1)
        spread = torch.einsum("ctp,tc->tp", directions, axes).amin(dim=1).clamp(-1, 1).acos()
        return cls(torch.zeros(3, dtype=dtype), directions, axes, spread, (height, width))

    @classmethod
    def single(cls, directions: Tensor) -> Rays:
        """Return rays through single points of an image, each a tile of its own; they make no image.

        Args:
            directions: unit vectors [N, 3] in the camera's own frame.
        """
        origin = torch.zeros(3, dtype=directions.dtype)
        count = len(directions)
        return cls(origin, directions.T[..., None], directions, origin.new_zeros(count), (count, 1))

    def posed(self, camera_to_world: Tensor) -> Rays:
        """Bring rays of a camera's frame into the world by its pose [4, 4]."""
        pose = camera_to_world.to(self.directions)
        turn = pose[:3, :3]
        directions = torch.tensordot(turn, self.directions, dims=1)
        return replace(self, origin=pose[:3, 3], directions=directions, axes=self.axes @ turn.T)

    def tiles_towards(self, center: Tensor, radius: float) -> Tensor:
        """Return the numbers of the tiles [K] that may see into a ball."""
        to_center = center.to(self.axes) - self.origin
        distance = float(torch.linalg.vector_norm(to_center))
        if distance <= radius:
            return torch.arange(len(self.axes))
        angle = (self.axes @ (to_center / distance)).clamp(-1, 1).acos()
        return (angle <= self.spread + math.asin(radius / distance) + 1e-4).nonzero()[:, 0]

    def image(self, values: Tensor) -> Tensor:
        """Lay values [T, P, ...] of the rays out as an image [H, W, ...]."""
        height, width = self.size
        rows, columns = -(-height // TILE), -(-width // TILE)
        grid = values.reshape(rows, columns, TILE, TILE, *values.shape[2:])
        return grid.transpose(1, 2).reshape(rows * TILE, columns * TILE, *values.shape[2:])[:height, :width]


@dataclass(frozen=True, eq=False)
class Hits:
    """What each ray meets first: distance [T, P] in metres (inf: nothing) and number of the shape [T, P] (-1)."""

    distance: Tensor
    shape: Tensor


@dataclass(frozen=True, eq=False)
class Shading:
    """Lit color and outward normal of what each ray meets, both [T, P, 3]."""

    color: Tensor
    normal: Tensor


def trace(rays: Rays, shapes: dict[int, Shape], before: Hits | None = None) -> Hits:
    """Find the first surface on every ray.

    Args:
        rays: world rays.
        shapes: the shapes under their numbers.
        before: what the rays met among other shapes; it is kept where it is nearer.
    """
    if before is None:
        distance = torch.full_like(rays.directions[0], torch.inf)
        number_of = torch.full(distance.shape, -1, dtype=torch.int16)
    else:
        distance, number_of = before.distance.clone(), before.shape.clone()
    for number, shape in shapes.items():
        cancel_point()
        tiles = rays.tiles_towards(*shape.bounding_ball())
        if len(tiles):
            met = shape.meet(rays.origin, rays.directions[:, tiles])
            nearer = met < distance[tiles]
            distance[tiles] = torch.where(nearer, met, distance[tiles])
            number_of[tiles] = torch.where(nearer, number, number_of[tiles])
    return Hits(distance, number_of)


@dataclass(frozen=True, eq=False)
class Light:
    """One lamp with shadows, a fill light from one side, and light from all around.

    Attributes:
        position: of the lamp in the world, metres.
        shadow_camera: a camera at the lamp.
        shadow_map: distance from the lamp to the first surface [H, W] in each of that camera's pixels.
        lamp: the lamp's strength at 2 metres.
        fill: strength of the fill light, and `fill_direction` [3] towards it.
        above, below: colors of the light from all around, on surfaces that face up and down.
    """

    position: Tensor
    shadow_camera: Camera
    shadow_map: Tensor
    lamp: tuple[float, float, float] = (0.62, 0.58, 0.50)
    fill: tuple[float, float, float] = (0.16, 0.19, 0.24)
    fill_direction: tuple[float, float, float] = (0.78, -0.40, -0.48)
    above: tuple[float, float, float] = (0.50, 0.52, 0.56)
    below: tuple[float, float, float] = (0.36, 0.33, 0.31)

    @classmethod
    def over(cls, camera: Camera, shapes: dict[int, Shape]) -> Light:
        """Hang the lamp where `camera` (one pose) stands; `shapes` cast its shadows within that camera's image."""
        rays = Rays.of_camera(camera, torch.float32).posed(camera.camera_to_world[0])
        return cls(rays.origin, camera, rays.image(trace(rays, shapes).distance))

    def on(self, points: Tensor, normals: Tensor) -> Tensor:
        """Return the light [N, 3] that falls on surface points [N, 3] with normals [N, 3]."""
        up = 0.5 - 0.5 * normals[:, 1:2]
        light = torch.lerp(normals.new_tensor(self.below), normals.new_tensor(self.above), up)
        towards_fill = (normals @ normals.new_tensor(self.fill_direction)).clamp_min(0)[:, None]
        light += normals.new_tensor(self.fill) * towards_fill
        to_lamp = (self.position - points).T  # components first: sums over them are fast
        distance = (to_lamp * to_lamp).sum(dim=0).sqrt()
        facing = (normals.T * to_lamp).sum(dim=0) / distance
        lit = (facing > 0).nonzero()[:, 0]
        strength = facing[lit] * (2 / distance[lit].clamp_min(0.8)) * self._unshadowed(points[lit], distance[lit])
        return light.index_add_(0, lit, strength[:, None] * normals.new_tensor(self.lamp))

    def _unshadowed(self, points: Tensor, distance: Tensor) -> Tensor:
        """Return the share [N] of four neighbouring shadow-map pixels that do not hide the lamp."""
        pixels, _, in_front = self.shadow_camera.project(points)
        column, row = pixels.T.contiguous()
        height, width = self.shadow_map.shape
        inside = in_front & (column > 1) & (column < width - 1) & (row > 1) & (row < height - 1)
        column, row = column.clamp(1, width - 2), row.clamp(1, height - 2)
        share = torch.zeros_like(distance)
        for shift_x, shift_y in SHADOW_SHIFTS:
            nearest = self.shadow_map[(row + shift_y).long(), (column + shift_x).long()]
            share += 0.25 * (distance <= nearest + SHADOW_OFFSET)
        return torch.where(inside, share, 1.0)


def shade(rays: Rays, hits: Hits, shapes: dict[int, Shape], light: Light, before: Shading | None = None) -> Shading:
    """Color what the rays meet of `shapes`; other rays keep `before`, or stay black."""
    if before is None:
        color, normal = (rays.directions.new_zeros(*hits.shape.shape, 3) for _ in range(2))
    else:
        color, normal = before.color.clone(), before.normal.clone()
    flat_color, flat_normal = color.view(-1, 3), normal.view(-1, 3)
    flat_directions, flat_distance = rays.directions.flatten(1), hits.distance.flatten()
    per_tile = hits.shape.shape[1]
    for number, shape in shapes.items():
        cancel_point()
        tiles = rays.tiles_towards(*shape.bounding_ball())
        tile, ray = (hits.shape[tiles] == number).nonzero(as_tuple=True)
        if len(tile):
            chosen = tiles[tile] * per_tile + ray
            points = rays.origin + (flat_directions[:, chosen] * flat_distance[chosen]).T.contiguous()
            normals, colors = shape.surface(points)
            flat_normal[chosen] = normals
            flat_color[chosen] = colors * light.on(points, normals)
    return Shading(color, normal)


@dataclass(frozen=True)
class Occluder:
    """A rod that takes light from all around off the surfaces near it."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float


def darken_near(
    rays: Rays, hits: Hits, shading: Shading, occluders: Iterable[Occluder], reach: float = CONTACT_REACH
) -> Tensor:
    """Return the colors [T, P, 3] of `shading`, darkened where rods come near: soft contact shadows.

    A ball of radius r at distance d hides about (r / d)^2 of a surface's sky, by the cosine towards it; a rod counts
    as a ball at its nearest point, and beyond `reach` radii not at all.
    """
    color = shading.color.clone()
    for rod in occluders:
        start, end = color.new_tensor(rod.start), color.new_tensor(rod.end)
        along = end - start
        influence = float(torch.linalg.vector_norm(along)) / 2 + reach * rod.radius
        tiles = rays.tiles_towards((start + end) / 2, influence)
        away = (rays.origin - start)[:, None, None] + rays.directions[:, tiles] * hits.distance[tiles].clamp_max(1e3)
        share = (torch.tensordot(along, away, dims=1) / (along @ along).clamp_min(1e-9)).clamp(0, 1)
        x, y, z = along[:, None, None] * share - away
        square = (x * x + y * y + z * z).clamp_min(1e-9)
        normal = shading.normal[tiles]
        facing = (normal[..., 0] * x + normal[..., 1] * y + normal[..., 2] * z) / square.sqrt()
        hidden = facing.clamp_min(0) * (rod.radius**2 / square - 1 / reach**2).clamp(0, 1)
        color[tiles] *= 1 - CONTACT_STRENGTH * hidden[..., None]
    return color
