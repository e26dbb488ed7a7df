"""What Exo2EgoSyn conditions Wan with: the first ego latent, its mask and a grey tail (specification, section 8).

It is Wan's ordinary image conditioning, as its own start image would give: the mask is 1 on the first latent frame,
and the frames after it are those of a grey clip, which Wan was trained with. Positive and negative get the same: the
null branch of CFG differs by the exo tokens alone, and `exo2egosyn_patch` takes care of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_management
import node_helpers
import torch
from torch import Tensor

from .wan_vae import LATENT_CHANNELS, VAE_STRIDE, check_frames, check_sides, encode_video, latent_frames

# Marks CONDITIONING without a text: MultiExoCon does not read one, everything else must not go on without.
NO_TEXT_KEY = "exo2ego_no_text"

_GREY = 0.5  # of an IMAGE; 0 in the VAE's own scale
_TEXT_SHAPE = (1, 512, 4096)  # of umT5


@dataclass(frozen=True, eq=False)
class SynConditioning:
    """What the sampler needs.

    Attributes:
        positive, negative: conditioning with the first latent, mask and tail.
        ego_latent: empty latent [batch, 16, T, h, w].
    """

    positive: list[Any]
    negative: list[Any]
    ego_latent: dict[str, Tensor]


def condition_exo2egosyn(
    first_latent: Tensor,
    n_frames: int,
    vae: Any,
    positive: list[Any] | None = None,
    negative: list[Any] | None = None,
    batch_size: int = 1,
) -> SynConditioning:
    """Put the first ego latent into the conditioning.

    Args:
        first_latent: [1 or batch, 16, 1, h, w] in the VAE's scale.
        n_frames: frames of the video, 4n+1.
        vae: Wan 2.1's VAE.
        positive: an empty prompt, as the method is trained without text. None is enough with MultiExoCon, whose
            cross-attention does not see the text.
        negative: likewise.
        batch_size: videos sampled at once, from different noise.

    Raises:
        ValueError: if the latent is another than one frame of Wan's, or the length does not fit.
    """
    check_frames(n_frames)
    _check_first_latent(first_latent, batch_size)
    height, width = first_latent.shape[-2:]
    tail = grey_tail(vae, n_frames, VAE_STRIDE * width, VAE_STRIDE * height)
    first = first_latent.to(tail)
    condition = torch.cat([first, tail.expand(len(first), -1, -1, -1, -1)], dim=2)
    # 0 where a frame is given: core turns the mask over.
    mask = torch.ones(1, 1, *condition.shape[2:])
    mask[:, :, 0] = 0
    values = {"concat_latent_image": condition, "concat_mask": mask}
    device = comfy.model_management.intermediate_device()
    return SynConditioning(
        positive=node_helpers.conditioning_set_values(_text_or_none(positive), values),
        negative=node_helpers.conditioning_set_values(_text_or_none(negative), values),
        ego_latent={"samples": torch.zeros(batch_size, *condition.shape[1:], device=device)},
    )


def grey_tail(vae: Any, n_frames: int, width: int, height: int) -> Tensor:
    """Return the latent frames after the first [1, 16, T - 1, h, w] of a grey clip, in the VAE's scale.

    Encoded, not taken from published constants: the VAE that made the first latent is there.
    """
    if n_frames == 1:
        return torch.zeros(1, LATENT_CHANNELS, 0, height // VAE_STRIDE, width // VAE_STRIDE)
    latent = encode_video(vae, torch.full((n_frames, height, width, 3), _GREY), "Exo2EgoSyn")
    if latent.shape[2] != latent_frames(n_frames):
        raise ValueError(
            f"Wan 2.1's VAE makes {latent_frames(n_frames)} latent frames of {n_frames} frames, and this one made "
            f"{latent.shape[2]}. Load wan_2.1_vae.safetensors."
        )
    return latent[:, :, 1:]


def has_no_text(conditioning: list[dict[str, Any]]) -> bool:
    """Whether a guider's conditioning came without a text."""
    return any(entry.get(NO_TEXT_KEY, False) for entry in conditioning)


def has_first_frame(entry: dict[str, Any]) -> bool:
    """Whether an entry of a guider's conditioning holds a first frame, ours or of another node."""
    return entry.get("concat_latent_image") is not None


def _check_first_latent(latent: Tensor, batch_size: int) -> None:
    if latent.ndim != 5 or latent.shape[1] != LATENT_CHANNELS or latent.shape[2] != 1:
        raise ValueError(
            f"The first ego frame is expected as a Wan latent [1, {LATENT_CHANNELS}, 1, h, w], got "
            f"{list(latent.shape)}. Take it from EgoExo-Align Predict, which also encodes a real first frame."
        )
    if len(latent) not in (1, batch_size):
        raise ValueError(
            f"The first ego latent holds a batch of {len(latent)}, and {batch_size} videos are sampled: give one, or "
            "one for each."
        )
    check_sides("ego", VAE_STRIDE * latent.shape[4], VAE_STRIDE * latent.shape[3])


def _text_or_none(conditioning: list[Any] | None) -> list[Any]:
    if conditioning is not None:
        return conditioning
    return [[torch.zeros(_TEXT_SHAPE), {NO_TEXT_KEY: True}]]
