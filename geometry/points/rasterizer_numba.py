"""The rasteriser of CPUs where Numba is installed: each point goes to the pixels under its disc, front to back.

A pixel that has its K points takes no more, so nothing needs to be sorted but the points. The same fragments as
`rasterizer_torch` to the last bit.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache

import numpy as np
import torch

from ...common.cancel import cancel_point
from ...common.safe_text import safe_logger
from .fragments import Fragments, Raster, Splats
from .rasterizer_torch import reach_of

_log = safe_logger(__name__)

# Of a strip: what its pixels hold, 160 bytes each at 20 points, is written all over.
FAST_PIXELS = 2**17


@lru_cache(maxsize=1)
def has_numba() -> bool:
    """Return whether Numba is here and works; says once what follows if not.

    The first call on a machine compiles, which takes some seconds.
    """
    if importlib.util.find_spec("numba") is None:
        _log.info("Ego prior: Numba is not installed (pip install numba); with it a CPU renders twice as fast.")
        return False
    try:  # compiles
        _rasterized(Splats(torch.ones(1, 2), torch.ones(1), torch.zeros(1, dtype=torch.int64)), Raster(1, 2, 2, 1.0, 1))
    except Exception as error:  # Numba refuses a NumPy that is too new for it, and its parts may not fit together
        _log.warning("Ego prior: Numba does not work here (%s); the CPU renders with torch, half as fast.", error)
        return False
    return True


def rasterize(splats: Splats, raster: Raster) -> Fragments:
    """Find the nearest points of every pixel, exactly as `fragments` defines it. The splats are on the CPU."""
    cancel_point()
    return _rasterized(splats, raster)


def _rasterized(splats: Splats, raster: Raster) -> Fragments:
    from . import compiled_discs

    by_depth = torch.argsort(splats.z, stable=True).numpy()
    x, y = (position.contiguous().numpy() for position in splats.pixels.unbind(dim=1))
    kind = x.dtype.type
    columns = np.arange(raster.width, dtype=x.dtype) + kind(0.5)
    rows = np.arange(raster.top, raster.top + raster.height, dtype=x.dtype) + kind(0.5)
    found = compiled_discs.nearest(
        x,
        y,
        splats.image.contiguous().numpy(),
        by_depth,
        (columns, rows),
        reach_of(raster.radius),
        kind(raster.radius**2),
        raster.points_per_pixel,
        raster.n_images,
    )
    return Fragments(*map(torch.from_numpy, compiled_discs.touched(*found, kind(raster.radius**2), kind(1))))
