"""What Exo2EgoSyn conditions Wan with: the first ego latent, its mask and a grey tail.

It is Wan's ordinary image conditioning, as its own start image would give: the mask is 1 on the first latent frame,
and the frames after it are those of a clip that is grey there, which Wan was trained with. Wan's causal VAE lets the
first frame of that clip show in the latent frames after it, and the paper does not tell which frame it is where the
first latent is predicted (`cond_tail`):

    "pixel"   the clip begins with the first frame: one encoding of [frame, grey, grey, ...], as Wan's own nodes make it
              (the paper's section 3.1)
    "gray"    the clip is grey throughout, and the first latent takes the place of its first latent frame

What the trained parts say counts (docs/exo2egosyn-format.md). Where they say nothing, a real frame gets "pixel", so
that without any part the graph is Wan 2.2 alone, and a predicted latent, which has no picture, "gray". A predicted
latent stays as it is in both: with "pixel" it is decoded for the tail alone.

Positive and negative get the same: the null branch of CFG differs by the exo tokens alone, and `apply` takes
care of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_management
import node_helpers
import torch
from einops import rearrange
from torch import Tensor

from ...common.wan_grid import LATENT_CHANNELS, TEXT_WIDTH, VAE_STRIDE, latent_frames
from ..shared.vae import check_frames, check_sides, encode_video
from .first_frame import FirstFrame, Origin

# Marks CONDITIONING without a text: MultiExoCon does not read one, everything else must not go on without.
NO_TEXT_KEY = "exo2ego_no_text"
# Tells how the frames after the first were made.
COND_TAIL_KEY = "exo2ego_cond_tail"
GRAY, PIXEL = "gray", "pixel"

_GREY = 0.5  # of an IMAGE; 0 in the VAE's own scale
_TEXT_SHAPE = (1, 512, TEXT_WIDTH)  # of umT5


@dataclass(frozen=True, eq=False)
class SynConditioning:
    """What the sampler needs.

    Attributes:
        positive, negative: conditioning with the first latent, mask and tail.
        ego_latent: empty latent [batch, 16, T, h, w].
        text: how the frames after the first were made, in a sentence or two.
    """

    positive: list[Any]
    negative: list[Any]
    ego_latent: dict[str, Tensor]
    text: str


def condition_exo2egosyn(
    first: FirstFrame,
    n_frames: int,
    vae: Any,
    positive: list[Any] | None = None,
    negative: list[Any] | None = None,
    batch_size: int = 1,
) -> SynConditioning:
    """Put the first ego latent into the conditioning.

    Args:
        first: its latent, and with a real frame its picture.
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
    _check_first_latent(first.latent, batch_size)
    cond_tail = first.cond_tail or (GRAY if first.picture is None else PIXEL)
    condition = _beside_grey(first.latent, n_frames, vae) if cond_tail == GRAY else _in_one(first, n_frames, vae)
    # 0 where a frame is given: core turns the mask over.
    mask = torch.ones(1, 1, *condition.shape[2:])
    mask[:, :, 0] = 0
    values = {"concat_latent_image": condition, "concat_mask": mask, COND_TAIL_KEY: cond_tail}
    device = comfy.model_management.intermediate_device()
    return SynConditioning(
        positive=node_helpers.conditioning_set_values(_text_or_none(positive), values),
        negative=node_helpers.conditioning_set_values(_text_or_none(negative), values),
        ego_latent={"samples": torch.zeros(batch_size, *condition.shape[1:], device=device)},
        text=_described(first, cond_tail),
    )


def _beside_grey(latent: Tensor, n_frames: int, vae: Any) -> Tensor:
    """Return the first latent [B, 16, 1, h, w] and, after it, the latent frames of a grey clip: [B, 16, T, h, w].

    Encoded, not taken from published constants: the VAE that made the first latent is there.
    """
    if n_frames == 1:
        return latent.float().cpu()
    height, width = (VAE_STRIDE * side for side in latent.shape[-2:])
    tail = _encode(vae, torch.full((n_frames, height, width, 3), _GREY))[:, :, 1:]
    return torch.cat([latent.to(tail), tail.expand(len(latent), -1, -1, -1, -1)], dim=2)


def _in_one(first: FirstFrame, n_frames: int, vae: Any) -> Tensor:
    """Return the latent [B, 16, T, h, w] of a clip that begins with the first frame and is grey after it."""
    if first.picture is not None:
        return _encode(vae, _then_grey(first.picture, n_frames))
    videos = [vae.decode(latent[None]) for latent in first.latent]
    pictures = [rearrange(video, "... h w rgb -> (...) h w rgb") for video in videos]
    clips = [_encode(vae, _then_grey(picture, n_frames)) for picture in pictures]
    condition = torch.cat(clips)
    condition[:, :, :1] = first.latent  # as predicted, not as the VAE gives it back
    return condition


def _then_grey(picture: Tensor, n_frames: int) -> Tensor:
    """Return a clip [F, H, W, 3] of a picture [1, H, W, 3 or more] and grey frames."""
    frames = torch.full_like(picture[..., :3], _GREY).repeat(n_frames, 1, 1, 1)
    frames[:1] = picture[..., :3]
    return frames


def _described(first: FirstFrame, cond_tail: str) -> str:
    told = "as the components were trained" if first.cond_tail is not None else "as the components state no other way"
    if cond_tail == PIXEL:
        stays = " Its own latent stays as it is." if first.picture is None else ""
        return f"After {first.origin.value}: gray frames, encoded together with it, {told}.{stays}"
    text = f"After {first.origin.value}: the latent frames of a gray clip, {told}."
    if first.origin is Origin.UNKNOWN and first.cond_tail is None:
        text += (
            " If it is a real frame, give its image to EgoExo-Align Predict: it is then encoded together with the "
            "gray frames, as Wan's own start image is."
        )
    return text


def _encode(vae: Any, frames: Tensor) -> Tensor:
    n_frames = len(frames)
    latent = encode_video(vae, frames, "Exo2EgoSyn")
    if latent.shape[2] != latent_frames(n_frames):
        raise ValueError(
            f"Wan 2.1's VAE makes {latent_frames(n_frames)} latent frames of {n_frames} frames, and this one made "
            f"{latent.shape[2]}. Load wan_2.1_vae.safetensors."
        )
    return latent


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
