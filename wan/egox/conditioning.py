"""What EgoX conditions Wan with: exo latent, ego-prior latent, image features and a text of 512 tokens.

The ego prior becomes ordinary conditioning of an ego-sized latent; the exo latent goes to `apply.apply_egox`,
which joins it by width at every step (paper section 3.2, Eq. 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import comfy.latent_formats
import comfy.model_management
import node_helpers
import torch
from einops import rearrange
from torch import Tensor

from ...common.wan_grid import CLIP_WIDTH, SPATIAL_STRIDE, fits_wan, fitting_frames, nearest_side
from ..shared.vae import encode_video
from .match import LATENT_KEY, Match, matched
from .prompt import TEXT_TOKENS

# In conditioning for a model that ignores image features, so that nobody is told to bring them.
NO_IMAGE_FEATURES = "exo2ego_no_image_features"


class ClipPicture(str, Enum):
    """What CLIP sees."""

    AS_MATCHED = "as matched"
    """As the run's `Match` says."""
    REAL = "real"
    """The middle square of the first frame of the decoded [exo | noise] latent, as the release's inference."""
    BLACK = "black"
    """A black picture. The released trainer brought its pictures to [0, 1] twice, so that CLIP saw values within one
    grey level of black, 0.015 in its own normalised scale."""

    def is_black(self, match: Match) -> bool:
        """Whether CLIP sees black, the choice resolved."""
        return matched(match).black_picture if self is ClipPicture.AS_MATCHED else self is ClipPicture.BLACK


@dataclass(frozen=True, eq=False)
class EgoXConditioning:
    """What the sampler and the model patch need.

    Attributes:
        positive: conditioning with the ego prior and, where given, image features.
        negative: likewise.
        exo_latent: clean exo latent as the VAE gives it [1, 16, T, H / 8, W_exo / 8], with the run's `Match`.
        ego_latent: empty latent of the ego view [1, 16, T, H / 8, W_ego / 8].
        in_force: the settings in force, as one line.
        notes: what the artist should know before a long run.
    """

    positive: list[Any]
    negative: list[Any]
    exo_latent: dict[str, Any]
    ego_latent: dict[str, Tensor]
    in_force: str
    notes: tuple[str, ...] = ()


def condition_egox(
    positive: list[Any],
    negative: list[Any],
    vae: Any,
    exo: Tensor,
    ego_prior: Tensor,
    clip_vision: Any | None = None,
    *,
    match: Match = Match.INFERENCE,
    clip_picture: ClipPicture = ClipPicture.AS_MATCHED,
    without_prior: bool = False,
) -> EgoXConditioning:
    """Encode both views and put the ego prior into the conditioning.

    Args:
        positive: conditioning of the two-view prompt.
        negative: conditioning of the negative prompt.
        vae: Wan 2.1's VAE.
        exo: exo video [F, H, W_exo, 3] in [0, 1], F = 4n + 1.
        ego_prior: rendered ego prior [F, H, W_ego, 3].
        clip_vision: Wan 2.1's image encoder; without it the model gets no image features.
        match: whose settings the run follows.
        clip_picture: what `clip_vision` sees.
        without_prior: condition on a black video in place of the ego prior (the paper's ablation, section 4.4). It is
            what the renderer gives where it sees no point.

    Raises:
        ValueError: if frame counts or sizes do not fit the model or each other.
    """
    check_views(exo, ego_prior)
    exo_latent = encode_video(vae, exo, "EgoX")
    prior_latent = encode_video(vae, torch.zeros_like(ego_prior) if without_prior else ego_prior, "EgoX")
    # Ones mean "to be painted": core turns the mask over, so the ego part is conditioned by nothing but the prior.
    values: dict[str, Any] = {
        "concat_latent_image": prior_latent,
        "concat_mask": torch.ones_like(prior_latent[:, :1]),
    }
    is_black = clip_picture.is_black(match)
    if clip_vision is not None:
        picture = _black_picture(exo) if is_black else _first_frame(vae, exo_latent, prior_latent.shape[-1])
        values["clip_vision_output"] = _image_features(clip_vision, picture)
    empty = torch.zeros_like(prior_latent, device=comfy.model_management.intermediate_device())
    return EgoXConditioning(
        positive=node_helpers.conditioning_set_values(_cut_text(positive), values),
        negative=node_helpers.conditioning_set_values(_cut_text(negative), values),
        exo_latent={"samples": exo_latent, LATENT_KEY: match.value},
        ego_latent={"samples": empty},
        in_force=_in_force(match, clip_vision is not None, is_black, without_prior),
        notes=_notes(positive, negative, clip_vision),
    )


def check_views(exo: Tensor, ego_prior: Tensor) -> None:
    """Check that both views fit Wan and each other.

    Raises:
        ValueError: naming what was expected, what came and what to do.
    """
    n_frames, height, width = exo.shape[:3]
    if len(ego_prior) != n_frames:
        raise ValueError(
            f"The exo video has {n_frames} frames, the ego prior {len(ego_prior)}: both must be one clip. Cut the "
            "longer one, or make the prior of this video."
        )
    if not fits_wan(n_frames):
        raise ValueError(
            f"Wan samples 4n+1 frames, got {n_frames}. Cut the clip to {fitting_frames(n_frames)} frames (Image From "
            "Batch) before depth and prior are made."
        )
    if ego_prior.shape[1] != height:
        raise ValueError(
            f"Exo video and ego prior stand side by side, so their heights must agree: got {height} and "
            f"{ego_prior.shape[1]} pixels. Set the ego camera's height to {height}."
        )
    for name, size in (("height", height), ("exo width", width), ("ego width", ego_prior.shape[2])):
        if size % SPATIAL_STRIDE:
            raise ValueError(
                f"Sizes must be multiples of {SPATIAL_STRIDE} pixels, got a {name} of {size}. "
                f"Resize or crop to {nearest_side(size)}."
            )


def _image_features(clip_vision: Any, picture: Tensor) -> Any:
    """Return what the image encoder makes of a picture [1, H, W, 3]."""
    features = clip_vision.encode_image(picture, crop=True)
    width = features.penultimate_hidden_states.shape[-1]
    if width != CLIP_WIDTH:
        raise ValueError(
            f"Wan 2.1 reads image features {CLIP_WIDTH} wide, and this image encoder makes {width}. Load "
            "clip_vision_h.safetensors with Load CLIP Vision."
        )
    return features


def _first_frame(vae: Any, exo_latent: Tensor, ego_width: int) -> Tensor:
    """Return the first frame of the decoded [exo | noise] latent [1, H, W, 3]; CLIP sees its middle square."""
    first = exo_latent[:, :, :1]
    generator = torch.Generator().manual_seed(0)  # the square shows a strip of the noise: any noise will do
    noise = torch.randn(*first.shape[:-1], ego_width, generator=generator).to(first)
    noise = comfy.latent_formats.Wan21().process_out(noise)
    image = vae.decode(torch.cat([first, noise], dim=-1))  # [1, 1, H, W, 3]
    return rearrange(image, "... h w rgb -> (...) h w rgb")


def _black_picture(exo: Tensor) -> Tensor:
    return torch.zeros_like(exo[:1, ..., :3])


def _in_force(match: Match, has_clip: bool, is_black: bool, without_prior: bool) -> str:
    sees = f"CLIP sees {'black' if is_black else 'the real picture'}" if has_clip else "no CLIP picture"
    prior = ", NO ego prior (ablation)" if without_prior else ""
    return f"{match.value}: {sees}{prior}. EgoX Apply and GGA follow."


def _notes(positive: list[Any], negative: list[Any], clip_vision: Any | None) -> tuple[str, ...]:
    notes = []
    if clip_vision is None and not all(options.get(NO_IMAGE_FEATURES) for _, options in positive):
        notes.append(
            "No CLIP vision model is connected, so the model gets no image features; EgoX was trained on them."
        )
    for name, conditioning in (("positive", positive), ("negative", negative)):
        longest = max(text.shape[1] for text, _ in conditioning)
        if longest > TEXT_TOKENS:
            notes.append(
                f"The {name} prompt has {longest} tokens; the first {TEXT_TOKENS} are kept. Encode Two-View Prompt in "
                "place of Clip Text Encode shortens it before it is encoded, as EgoX does."
            )
    return tuple(notes)


def _cut_text(conditioning: list[Any]) -> list[Any]:
    """Cut the text to the length that EgoX was trained and released with; the incoming list is not changed."""
    cut = []
    for text, options in conditioning:
        if text.shape[1] > TEXT_TOKENS:
            options = {key: value for key, value in options.items() if key != "attention_mask"}
        cut.append([text[:, :TEXT_TOKENS], options])
    return cut
