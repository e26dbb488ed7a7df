"""Which of EgoX's two kinds of takes a clip belongs to: they were rendered, and trained, by different rules.

The priors of film clips ("in the wild") show what moves, in its own frame; those of Ego-Exo4D the background alone.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

# A pose written with a few digits is still the identity.
_TOLERANCE = 1e-6


class TakeKind(str, Enum):
    """Kind of a take."""

    FILM_CLIP = "film clip"
    EGO_EXO4D = "Ego-Exo4D"

    @property
    def draws_moving_points(self) -> bool:
        """Whether the release's priors of this kind show what moves."""
        return self is TakeKind.FILM_CLIP


def take_kind(exo_extrinsics: Tensor) -> TakeKind:
    """Tell the kind from a take's exo extrinsics.

    A film clip has no world but its own camera, so EgoX's files give it the identity; Ego-Exo4D's cameras stand in the
    world of a calibrated room.

    Args:
        exo_extrinsics: world-to-camera [..., 3, 4] or [..., 4, 4].
    """
    identity = torch.eye(4, dtype=exo_extrinsics.dtype)[: exo_extrinsics.shape[-2]]
    is_identity = bool(((exo_extrinsics - identity).abs() <= _TOLERANCE).all())
    return TakeKind.FILM_CLIP if is_identity else TakeKind.EGO_EXO4D
