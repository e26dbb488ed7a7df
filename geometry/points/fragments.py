"""What the rasterisers take and give: splats in, the nearest points of every pixel out.

The rasterisers (`rasterizer_torch`, `rasterizer_numba`, `rasterizer_pytorch3d`) and the readable twin that the tests
hold them against (`tests/support/rasterizer_reference`) have the same semantics, those of PyTorch3D's
`rasterize_points` and `PointsRenderer`:

- a point is a hard disc of `radius` pixels; it touches the pixels whose centre lies strictly nearer than that;
- a pixel keeps the `points_per_pixel` touching points of smallest z, the earlier point first where z is equal;
- the opacity of a point at a pixel is `1 - (distance / radius)^2`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Splats:
    """Projected points of a batch of images, the points of one image next to each other.

    Attributes:
        pixels: [N, 2] as (column, row), pixel centres at +0.5.
        z: depth along the optical axis [N], metres, positive.
        image: which image of the batch each point belongs to [N] int64, ascending.
    """

    pixels: Tensor
    z: Tensor
    image: Tensor

    def __len__(self) -> int:
        return self.z.shape[0]


@dataclass(frozen=True)
class Raster:
    """Size of the images of a batch, and how points become discs.

    Attributes:
        n_images, height, width: size of the batch and of its images, pixels. Where `top` is set, `height` is that of a
            strip of each image.
        radius: of a disc, pixels.
        points_per_pixel: how many points a pixel keeps, K.
        top: the first row of the strip that is rasterised. Splats keep the coordinates of the whole image, so that a
            picture made in strips is the same to the last bit.
    """

    n_images: int
    height: int
    width: int
    radius: float
    points_per_pixel: int
    top: int = 0


@dataclass(frozen=True, eq=False)
class Fragments:
    """The nearest points of the P pixels that any point touches.

    Attributes:
        pixel: flat index `(image * height + row - top) * width + column` [P] int64, ascending.
        point: index of the splat, nearest first [P, K] int64; -1 where the pixel has fewer points.
        alpha: opacity of that point at the pixel [P, K]; 0 where there is none.
    """

    pixel: Tensor
    point: Tensor
    alpha: Tensor
