"""As which of its two selves EgoX's release runs: as its inference code does, or as its training code did.

The two differ in four things that belong together; `matched` names them. The choice is made once, where the clip is
encoded, and travels with the exo latent to the model patch and from there to GGA.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...attention.bias import RELEASE_STRENGTH
from ...common.messages import arrived
from ...geometry.directions.directions import GGAGeometry

# The released training code runs GGA with a lambda of 1.
TRAINING_STRENGTH = 1.0

# Key of the choice in a LATENT dict, beside "samples".
LATENT_KEY = "exo2ego_match"


class Match(str, Enum):
    """Whose settings a run follows."""

    INFERENCE = "released inference"
    """The published inference code, which made the published results."""
    TRAINING = "released training"
    """The published training code, which made the LoRA: what its weights have seen."""


@dataclass(frozen=True)
class MatchedSettings:
    """What belongs together.

    Attributes:
        geometry: how GGA's directions are made.
        strength: GGA's lambda.
        black_picture: CLIP sees black in place of the exo view. The trainer brought its pictures to [0, 1] twice, which
            leaves values within one grey level of black.
        last_frame_mask: the mask says "given" for the exo part of the clip's last frame too, not of the first alone.
    """

    geometry: GGAGeometry
    strength: float
    black_picture: bool
    last_frame_mask: bool


_SETTINGS = {
    Match.INFERENCE: MatchedSettings(GGAGeometry.AS_RELEASED, RELEASE_STRENGTH, False, False),
    Match.TRAINING: MatchedSettings(GGAGeometry.AS_TRAINED, TRAINING_STRENGTH, True, True),
}


def matched(match: Match) -> MatchedSettings:
    """Return what a choice sets."""
    return _SETTINGS[Match(match)]


def match_of_latent(latent: dict[str, Any]) -> Match | None:
    """Return the choice that travels with an exo latent; None where it tells none (from a VAE Encode, or a file).

    Raises:
        ValueError: if it tells one that this version does not know.
    """
    told = latent.get(LATENT_KEY)
    try:
        return None if told is None else Match(told)
    except ValueError:
        known = " or ".join(f"'{match.value}'" for match in Match)
        raise ValueError(
            f"The exo latent states that it was made as {arrived(told)}; expected {known}. Make it with EgoX "
            "Conditioning of this version."
        ) from None
