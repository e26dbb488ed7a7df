"""Where numbers are not finite, without a copy of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.cancel import cancel_point


def first_not_finite(values: Tensor) -> int | None:
    """Return the first entry of values [N, ...] that holds NaN or infinity; None where all are finite.

    A sum holds NaN or infinity where one of its terms does. It takes 0.1 s for 49 frames of 1920 x 1080 pixels, where
    `torch.isfinite` takes 2 s and a quarter more memory; only sums that are not finite are looked at closely, as large
    terms can also overflow.
    """
    if not (values.is_floating_point() or values.is_complex()):
        return None
    for index, entry in enumerate(values):
        cancel_point()
        if not bool(torch.isfinite(entry.sum(dtype=_summed_in(values.dtype)))) and not bool(entry.isfinite().all()):
            return index
    return None


def _summed_in(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.itemsize < 4 else dtype
