"""A point cloud as few bytes, for the camera editor's live view.

Little endian:

    header, 64 bytes   magic "E2EC", uint32 version = 1, uint32 n_static, uint32 n_frames, uint32 n_dynamic,
                       float32[3] origin, float32 scale, rest zero
    offsets            uint32[n_frames + 1]: frame f has the dynamic points offsets[f] to offsets[f + 1] - 1
    positions          uint16[3 N], N = n_static + n_dynamic, static points first: metres = origin + scale * value
    colours            uint8[3 N], 0 to 255
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .point_cloud import PointCloud

MAGIC = b"E2EC"
VERSION = 1
MAX_POINTS = 200_000
# Farther from the middle of the scene than this, in metres, points move in along the straight line: a backdrop. Else
# one point of sky would take the digits of all others; so steps are at most 3 mm.
MAX_RADIUS = 100.0

_HEADER = struct.Struct("<4s4I4f")
_HEADER_BYTES = 64
_STEPS = 2**16 - 1


def pack_cloud(cloud: PointCloud, max_points: int = MAX_POINTS, seed: int = 0) -> bytes:
    """Return the bytes of a cloud, thinned evenly at random to `max_points`.

    Background points show in every frame, so where points must go the background keeps at least half of them.

    Raises:
        ValueError: if the cloud has no point, or one that is not finite.
    """
    frames = torch.tensor([len(points) for points in cloud.frame_points])
    n_static, n_dynamic = len(cloud.background_points), int(frames.sum())
    kept_static = min(n_static, max(max_points // 2, max_points - n_dynamic))
    chance = torch.Generator().manual_seed(seed)
    static = _chosen(n_static, kept_static, chance)
    dynamic = _chosen(n_dynamic, min(n_dynamic, max_points - kept_static), chance)
    ends = torch.cat([torch.zeros(1, dtype=frames.dtype), frames.cumsum(dim=0)])
    offsets = torch.searchsorted(dynamic, ends)  # where each frame's points begin among those that are kept

    def kept(background: Tensor, own: Sequence[Tensor]) -> Tensor:
        # Frame by frame: the points of a long clip are gigabytes.
        of_frames = [
            values.cpu()[dynamic[offsets[frame] : offsets[frame + 1]] - ends[frame]] for frame, values in enumerate(own)
        ]
        return torch.cat([background.cpu()[static], *of_frames])

    points = kept(cloud.background_points, cloud.frame_points).double()  # [N, 3]
    colors = kept(cloud.background_colors, cloud.frame_colors)
    if not len(points) or not torch.isfinite(points).all():
        raise ValueError("A cloud without points, or with one that is not finite, cannot be shown. Check the depth.")

    points = _pulled_in(points)
    origin = points.amin(dim=0).to(torch.float32)
    # In float32 as a reader has them; a hair more than the extent, which the rounding of the origin may add to.
    extent = float((points - origin).max())
    scale = np.float32(max(extent * (1 + 1e-6), 1e-3) / _STEPS)
    values = ((points - origin) / float(scale)).round().clamp(0, _STEPS)
    header = _HEADER.pack(MAGIC, VERSION, len(static), cloud.n_frames, len(dynamic), *origin.tolist(), scale)
    return b"".join(
        [
            header.ljust(_HEADER_BYTES, b"\0"),
            offsets.numpy().astype("<u4").tobytes(),
            values.numpy().astype("<u2").tobytes(),
            colors.clamp(0, 1).mul(255).round().numpy().astype("u1").tobytes(),
        ]
    )


def unpack_cloud(data: bytes) -> PointCloud:
    """Return the cloud that `pack_cloud` packed: its points rounded, and thinned.

    The editor reads the format in JavaScript; this is the same in Python, which the tests hold it against.

    Raises:
        ValueError: if the bytes are something else, of another version, or cut off.
    """
    if len(data) < _HEADER_BYTES or data[:4] != MAGIC:
        raise ValueError(f"Expected a packed cloud that begins with {MAGIC!r}, got {data[:4]!r}.")
    _, version, n_static, n_frames, n_dynamic, *origin, scale = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"This pack reads packed clouds of version {VERSION}, got {version}.")
    count = n_static + n_dynamic
    starts = np.cumsum([_HEADER_BYTES, 4 * (n_frames + 1), 6 * count, 3 * count])
    if len(data) != starts[-1]:
        raise ValueError(f"The packed cloud has {len(data):,} bytes, and its header states {starts[-1]:,}.")
    offsets = np.frombuffer(data, "<u4", n_frames + 1, starts[0]).astype("int64")
    values = np.frombuffer(data, "<u2", 3 * count, starts[1]).astype("float64").reshape(-1, 3)
    colors = np.frombuffer(data, "u1", 3 * count, starts[2]).astype("float32").reshape(-1, 3) / np.float32(255)
    if offsets[0] != 0 or offsets[-1] != n_dynamic or (np.diff(offsets) < 0).any():
        raise ValueError("The packed cloud's frames do not follow each other.")
    points = torch.from_numpy((np.array(origin) + scale * values).astype("float32"))
    sizes = [n_static, *np.diff(offsets).tolist()]
    background, *own = points.split(sizes)
    background_colors, *own_colors = torch.from_numpy(colors).split(sizes)
    return PointCloud(background, background_colors, tuple(own), tuple(own_colors))


def _chosen(count: int, kept: int, chance: torch.Generator) -> Tensor:
    """Choose `kept` of `count` numbers evenly, one at random of each stretch; sorted."""
    if not kept:
        return torch.zeros(0, dtype=torch.long)
    ends = torch.arange(kept + 1) * count // kept
    return ends[:-1] + (torch.rand(kept, dtype=torch.float64, generator=chance) * ends.diff()).long()


def _pulled_in(points: Tensor) -> Tensor:
    """Move points [N, 3] within `MAX_RADIUS` of the median point, along the line to it."""
    middle = points.median(dim=0).values
    offset = points - middle
    length = torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
    return middle + offset * (MAX_RADIUS / length.clamp_min(MAX_RADIUS))
