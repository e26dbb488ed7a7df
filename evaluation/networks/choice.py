"""Which measures by networks there are, and those of them that can run here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..scores import Measure
from .clip_image import ClipSimilarity
from .fvd import I3D
from .perceptual import lpips_alex, shift_tolerant
from .weights import Weights, WeightsMissingError

# By the name that the command takes. FVD's gives features of a clip, the others are measures.
NETWORKS: dict[str, Callable[[Weights], Any]] = {
    "lpips": lpips_alex,
    "st-lpips": shift_tolerant,
    "clip-i": ClipSimilarity,
    "fvd": I3D,
}


@dataclass(frozen=True)
class Networks:
    """What was loaded.

    Attributes:
        measures: of a clip and its truth.
        i3d: FVD's features, where it was asked for and is there.
        missing: by name, why a network is not there.
    """

    measures: tuple[Measure, ...] = ()
    i3d: I3D | None = None
    missing: dict[str, str] = field(default_factory=dict)


def load_networks(names: Sequence[str], folder: Path | None, device: torch.device, *, required: bool) -> Networks:
    """Load networks by name.

    Args:
        names: keys of `NETWORKS`.
        folder: as in `Weights`.
        device: that they run on.
        required: whether one that is not there is an error; else it is listed as missing.

    Raises:
        WeightsMissingError: if one is required and not there.
    """
    weights = Weights(folder, device)
    measures, i3d, missing = [], None, {}
    for name in names:
        try:
            loaded = NETWORKS[name](weights)
        except WeightsMissingError as error:
            if required:
                raise
            missing[name] = str(error)
            continue
        if isinstance(loaded, I3D):
            i3d = loaded
        else:
            measures.append(loaded)
    return Networks(tuple(measures), i3d, missing)
