"""Ego rays as EgoX's published code makes them, in inference and in training.

Both work in the unrotated frame of the Aria sensor, on a grid of 8 px cells with integer coordinates, and with
intrinsics of a 512 px image on the grid of a 448 px one. Nothing of the ego camera but its rotation counts. On other
sizes the released grid is stretched: the shorter side keeps its field of view and the longer one sees more.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cameras.camera import QUARTER_TURN_CLOCKWISE, Camera
from ..cameras.presets import RELEASE_SIZE, SCRIPT_CENTER_AT_512, SCRIPT_COEFFICIENTS, SCRIPT_FOCAL_AT_512
from .sampled import block_means

CELL = 8  # pixels: one cell of the VAE's latent, half a token
RELEASE_CELLS = RELEASE_SIZE // CELL
# OpenCV's undistortion is a fixed-point iteration that does not converge in one corner: the number of steps matters.
UNDISTORTION_STEPS = 5


def released_rays(ego_camera: Camera, tokens: tuple[int, int]) -> Tensor:
    """Return the rays of the inference code [T, rows, columns, 3], not of unit length.

    With (u, v) a cell of the unrotated grid and U OpenCV's undistortion of 12 coefficients,

        ray = R^T (U(K^-1 (u, v, 1)), 1) / |...|,   R the world-to-camera rotation of the unrotated sensor

    then the grid of rays is turned clockwise by 90 degrees, and 2x2 cells averaged. The coefficients are those of a
    fisheye lens (k1..k6, p1, p2, s1..s4) which OpenCV reads in its own order (k1, k2, p1, p2, k3..k6, s1..s4).

    Args:
        ego_camera: the upright camera, T poses.
        tokens: (rows, columns) of the upright token grid.
    """
    from kornia.geometry.calibration import undistort_points

    rows, columns = tokens
    cells = _release_cells(2 * columns, 2 * rows)  # unrotated: the upright grid's columns are its rows
    undistorted = undistort_points(
        cells.reshape(-1, 2),
        _release_intrinsics(),
        cells.new_tensor(SCRIPT_COEFFICIENTS),
        torch.eye(3, dtype=cells.dtype),
        num_iters=UNDISTORTION_STEPS,
    ).view_as(cells)
    local = torch.rot90(_unit_rays(undistorted), -1, (0, 1))  # [2 rows, 2 columns, 3]
    # The transpose where an inverse is meant: released rotations are rounded, so the two differ by up to 8e-3.
    return torch.einsum("tji,hwj->thwi", _sensor_rotations(ego_camera), block_means(local))


def trained_rays(ego_camera: Camera, tokens: tuple[int, int]) -> Tensor:
    """Return the rays of the training code [T, rows, columns, 3], not of unit length.

        ray = M R K^-1 (u, v, 1) / |...|,   M (x, y, z) = (-y, x, z)

    R takes the world to the unrotated sensor but is applied to sensor rays, and the quarter turn M to vectors of the
    world. Training also used depth that was not cropped to the video, with intrinsics of its own; here the depth is
    what it is.

    Args:
        ego_camera: the upright camera, T poses.
        tokens: (rows, columns) of the token grid.
    """
    rows, columns = tokens
    cells = _release_cells(2 * rows, 2 * columns)
    intrinsics = _release_intrinsics()
    local = _unit_rays((cells - intrinsics[:2, 2]) / intrinsics.diagonal()[:2])
    turned = QUARTER_TURN_CLOCKWISE[:3, :3] @ _sensor_rotations(ego_camera)
    return torch.einsum("tij,hwj->thwi", turned, block_means(local))


def _release_cells(rows: int, columns: int) -> Tensor:
    """Return the cells of a grid [rows, columns, 2] as (column, row) in the coordinates of the released grid."""
    scale = RELEASE_CELLS / min(rows, columns)
    axes = [
        (torch.arange(count, dtype=torch.float64) + 0.5 - count / 2) * scale + RELEASE_CELLS / 2 - 0.5
        for count in (rows, columns)
    ]
    row, column = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([column, row], dim=-1)


def _release_intrinsics() -> Tensor:
    """Return the intrinsics [3, 3] that the release applies to its grid of cells."""
    focal, center = SCRIPT_FOCAL_AT_512 / CELL, SCRIPT_CENTER_AT_512 / CELL
    return torch.tensor([[focal, 0, center], [0, focal, center], [0, 0, 1]], dtype=torch.float64)


def _unit_rays(plane: Tensor) -> Tensor:
    """Return unit rays [..., 3] through points of the plane z = 1 [..., 2]."""
    return normalize(torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1), dim=-1)


def _sensor_rotations(ego_camera: Camera) -> Tensor:
    """Return the world-to-camera rotations [T, 3, 3] of the unrotated sensor: the quarter turn taken back."""
    return QUARTER_TURN_CLOCKWISE[:3, :3].T @ ego_camera.rotations
