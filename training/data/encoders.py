"""Encode takes for the cache, with Wan 2.1's own encoders from a pipeline's folder in diffusers' layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...attention.layout import TokenLayout
from ...common.wan_grid import LATENT_CHANNELS, PATCH, SPATIAL_STRIDE, latent_frames
from ...geometry.directions.clip import ClipGeometry
from ...takes.take import Take
from ...wan.egox.prompt import TEXT_TOKENS
from ..recipe import Recipe
from .clips import TrainingClip

PARTS = ("vae", "text_encoder", "tokenizer", "image_encoder", "image_processor")


@dataclass(frozen=True, eq=False)
class Encoders:
    """Wan 2.1's encoders.

    Attributes:
        vae: diffusers' AutoencoderKLWan.
        text_encoder: umt5-xxl.
        tokenizer: its tokenizer.
        image_encoder: CLIP ViT-H.
        image_processor: what brings images to its size.
        device: where they run.
    """

    vae: Any
    text_encoder: Any
    tokenizer: Any
    image_encoder: Any
    image_processor: Any
    device: torch.device

    @torch.no_grad()
    def latent(self, video: Tensor) -> Tensor:
        """Return a video's latent [16, T, h, w] in the model's scale, for frames [F, H, W, 3] in [0, 1]."""
        pixels = rearrange(2 * video[..., :3] - 1, "f h w rgb -> 1 rgb f h w")
        found = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mode().float()
        mean, deviation = self._statistics(found)
        return ((found - mean) / deviation)[0].cpu()

    @torch.no_grad()
    def video(self, latent: Tensor) -> Tensor:
        """Return the video [F, H, W, 3] in [0, 1] of a latent [16, T, h, w] in the model's scale."""
        scaled = latent[None].to(self.device).float()
        mean, deviation = self._statistics(scaled)
        pixels = self.vae.decode((scaled * deviation + mean).to(self.vae.dtype)).sample.float()
        return rearrange(pixels.clamp(-1, 1) / 2 + 0.5, "1 rgb f h w -> f h w rgb").cpu()

    @torch.no_grad()
    def text(self, prompt: str) -> Tensor:
        """Return a prompt's vectors [512, text width]; a longer one is cut before it is encoded, as EgoX's is."""
        tokens = self.tokenizer(
            " ".join(prompt.split()),
            max_length=TEXT_TOKENS,
            padding="max_length",
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        mask = tokens.attention_mask.to(self.device)
        vectors = self.text_encoder(tokens.input_ids.to(self.device), mask).last_hidden_state
        return (vectors * mask.unsqueeze(-1))[0].cpu()

    @torch.no_grad()
    def features(self, picture: Tensor) -> Tensor:
        """Return CLIP's features [257, image width] of an image's middle square, for [H, W, 3] in [0, 1]."""
        image = (255 * picture.clamp(0, 1)).round().to(torch.uint8).numpy()
        pixels = self.image_processor(images=image, return_tensors="pt").pixel_values
        states = self.image_encoder(
            pixels.to(self.device, self.image_encoder.dtype), output_hidden_states=True
        ).hidden_states
        return states[-2][0].float().cpu()

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of the VAE's latents, [1, 16, 1, 1, 1]."""
        config = self.vae.config
        values = (config.latents_mean, config.latents_std)
        return tuple(torch.tensor(value).view(1, LATENT_CHANNELS, 1, 1, 1).to(like) for value in values)


def load_encoders(folder: Path, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Encoders:
    """Load the encoders of a pipeline's folder; the VAE in float32.

    Raises:
        ValueError: if the folder lacks one.
    """
    if missing := [part for part in PARTS if not (folder / part).is_dir()]:
        raise ValueError(
            f"[encoders] folder {folder} has no {', '.join(missing)}: name a pipeline in diffusers' layout, such as "
            "Wan2.1-I2V-14B-480P-Diffusers."
        )
    from diffusers import AutoencoderKLWan
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPVisionModel, UMT5EncoderModel

    return Encoders(
        AutoencoderKLWan.from_pretrained(folder / "vae", torch_dtype=torch.float32).to(device).eval(),
        UMT5EncoderModel.from_pretrained(folder / "text_encoder", torch_dtype=dtype).to(device).eval(),
        AutoTokenizer.from_pretrained(folder / "tokenizer"),
        CLIPVisionModel.from_pretrained(folder / "image_encoder", torch_dtype=torch.float32).to(device).eval(),
        CLIPImageProcessor.from_pretrained(folder / "image_processor"),
        device,
    )


def encode_take(take: Take, encoders: Encoders, recipe: Recipe) -> TrainingClip:
    """Encode a take as a recipe says.

    Raises:
        ValueError: if the take lacks the true ego view or the ego prior, or has other sizes.
    """
    data, egox = recipe.data, recipe.egox
    if take.ego_prior is None or take.ego_truth is None:
        lacks = "ego prior (ego_Prior.mp4)" if take.ego_prior is None else "true ego view (ego_GT.mp4)"
        raise ValueError(f"The take {take.name} has no {lacks}: EgoX is trained on both.")
    views = {"exo": (take.exo, data.exo_size), "ego": (take.ego_truth, data.ego_size)}
    views["ego prior"] = (take.ego_prior, data.ego_size)
    for name, (video, (width, height)) in views.items():
        if video.shape[:3] != (data.frames, height, width):
            raise ValueError(
                f"The {name} video of {take.name} has {len(video)} frames of {video.shape[2]} x {video.shape[1]}, and "
                f"[data] says {data.frames} of {width} x {height}: resize it, or change the recipe."
            )
    exo, ego, prior = (encoders.latent(views[name][0]) for name in ("exo", "ego", "ego prior"))
    rows = data.exo_size[1] // SPATIAL_STRIDE
    layout = TokenLayout(latent_frames(data.frames), rows, exo.shape[-1] // PATCH, ego.shape[-1] // PATCH)
    geometry = ClipGeometry(take.exo_camera, take.depth, take.ego_camera, egox.resolved_geometry)
    directions = geometry.directions(layout)
    picture = torch.zeros_like(take.exo[0]) if egox.black_picture else _first_frame(encoders, exo, ego.shape[-1])
    return TrainingClip(
        exo=exo,
        ego=ego,
        prior=prior,
        text=encoders.text(take.prompt),
        features=encoders.features(picture),
        ego_queries=directions.ego_queries.float().contiguous(),
        exo_keys=directions.exo_keys.float().contiguous(),
    )


def _first_frame(encoders: Encoders, exo: Tensor, ego_width: int) -> Tensor:
    """Return the first frame of the decoded [exo | noise] latent [H, W, 3], as inference shows it to CLIP."""
    first = exo[:, :1]
    noise = torch.randn(*first.shape[:-1], ego_width, generator=torch.Generator().manual_seed(0))
    return encoders.video(torch.cat([first, noise], dim=-1))[0]
