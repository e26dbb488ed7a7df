"""The first ego frame on its way from EgoExo-Align Predict to the conditioning.

A LATENT says nothing of its origin, and the conditioning needs it: a real frame is encoded together with the grey
frames after it, as Wan's own start image is, and for that its picture must come along. So the LATENT carries a
`FirstFrame` beside its samples. Other nodes pass it on or drop it; samples that they change are other tensors, which
the picture no longer belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import Tensor

from ...common.messages import arrived
from ...common.typed_fields import wrong_field

FIRST_FRAME_KEY = "exo2ego_first_frame"


class Origin(str, Enum):
    """Where a first ego latent comes from."""

    REAL = "a real frame"
    PREDICTED = "a predicted latent"
    UNKNOWN = "a latent of unknown origin"


@dataclass(frozen=True, eq=False)
class FirstFrame:
    """A first ego frame.

    Attributes:
        latent: [1 or batch, 16, 1, h, w] in the VAE's scale.
        picture: [1, H, W, 3] in [0, 1] that the latent was encoded from; None where there is none.
        cond_tail: what followed the first frame in the training of the loaded parts, "gray" or "pixel", or None where
            they do not tell.
        origin: where it comes from.
    """

    latent: Tensor
    picture: Tensor | None = None
    cond_tail: str | None = None
    origin: Origin = Origin.UNKNOWN

    def as_latent(self) -> dict[str, Any]:
        """Return it as ComfyUI's LATENT."""
        return {"samples": self.latent, FIRST_FRAME_KEY: self}


def first_frame_of(latent: dict[str, Any]) -> FirstFrame:
    """Return what a LATENT holds: the frame that `as_latent` put there, or the bare samples of another node.

    Raises:
        ValueError: if something else lies where `as_latent` puts it.
    """
    samples, known = latent["samples"], latent.get(FIRST_FRAME_KEY)
    if known is None:
        return FirstFrame(samples)
    if not isinstance(known, FirstFrame) or wrong_field(known) is not None:
        raise ValueError(
            f"The first latent carries {arrived(known)} that is not what EgoExo-Align Predict leaves in it. Connect "
            "first_latent of EgoExo-Align Predict again."
        )
    return known if samples is known.latent else FirstFrame(samples, cond_tail=known.cond_tail)
