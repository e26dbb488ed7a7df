"""How large a person is in the depth's metres, by trunk and limbs."""

from __future__ import annotations

import torch

from ..head.keypoints import Joint, Limb
from .body import Body, Place

ADULT_HEIGHT = 1.72  # metres, mean of women and men
# Lengths between the joints that estimators mark, metres, of an adult of that height: both sides of each part.
_PARTS: tuple[tuple[float, tuple[tuple[Place, Place], ...]], ...] = (
    (0.30, ((Joint.LEFT_SHOULDER, Limb.LEFT_ELBOW), (Joint.RIGHT_SHOULDER, Limb.RIGHT_ELBOW))),
    (0.26, ((Limb.LEFT_ELBOW, Limb.LEFT_WRIST), (Limb.RIGHT_ELBOW, Limb.RIGHT_WRIST))),
    (0.43, ((Joint.LEFT_HIP, Limb.LEFT_KNEE), (Joint.RIGHT_HIP, Limb.RIGHT_KNEE))),
    (0.41, ((Limb.LEFT_KNEE, Limb.LEFT_ANKLE), (Limb.RIGHT_KNEE, Limb.RIGHT_ANKLE))),
)
_TRUNK = 0.51
# Share of the clip's frames in which a length must be known.
_FEWEST = 0.2


def body_size(body: Body) -> float | None:
    """Return the person's size against an adult's mean, as the depth's metres have it; `None` without a trunk.

    The median over the parts of the body; of two sides the longer counts, as the other is hidden or seen by its end.
    """
    trunk = _length(body.middle(Joint.LEFT_HIP, Joint.RIGHT_HIP) - body.neck)
    if trunk is None:
        return None
    shares = [trunk / _TRUNK]
    for adult, sides in _PARTS:
        lengths = [_length(body.middle(end) - body.middle(start)) for start, end in sides]
        known = [length for length in lengths if length is not None]
        if known:
            shares.append(max(known) / adult)
    return float(torch.tensor(shares).median())


def _length(ways: torch.Tensor) -> float | None:
    """Return the median length of ways [F, 3], `None` where too few are known."""
    lengths = torch.linalg.vector_norm(ways, dim=-1)
    known = lengths[lengths.isfinite()]
    return float(known.median()) if len(known) and len(known) >= _FEWEST * len(ways) else None
