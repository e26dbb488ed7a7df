"""Wan 2.1's own encoders, from a pipeline's folder in diffusers' layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...common.safe_text import safe_logger
from ...common.wan_grid import LATENT_CHANNELS
from ...wan.egox.prompt import TEXT_TOKENS
from ..recipe import Recipe
from .clips import ViewsClip

_log = safe_logger(__name__)

VAE, TEXT, IMAGE = ("vae",), ("text_encoder", "tokenizer"), ("image_encoder", "image_processor")
PARTS = (*VAE, *TEXT, *IMAGE)  # folders of the pipeline


@dataclass(frozen=True, eq=False)
class Encoders:
    """Wan 2.1's encoders; parts that were not loaded are None.

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

    def text_without_padding(self, prompt: str) -> Tensor | None:
        """Return a prompt's vectors [1 to 512, text width], None where there is no text encoder."""
        if self.text_encoder is None:
            return None
        vectors = self.text(prompt)
        return vectors[: int(vectors.any(dim=-1).sum())]

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


def load_encoders(
    folder: Path, device: torch.device, dtype: torch.dtype = torch.bfloat16, parts: Sequence[str] = PARTS
) -> Encoders:
    """Load the encoders of a pipeline's folder; the VAE in float32.

    Args:
        folder: of the pipeline.
        device: where they run.
        dtype: of the text encoder.
        parts: those to load, of `PARTS`.

    Raises:
        ValueError: if the folder lacks one.
    """
    if missing := [part for part in parts if not (folder / part).is_dir()]:
        raise ValueError(
            f"[encoders] folder {folder} has no {', '.join(missing)}: name a pipeline in diffusers' layout, such as "
            "Wan2.1-I2V-14B-480P-Diffusers."
        )
    from diffusers import AutoencoderKLWan
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPVisionModel, UMT5EncoderModel

    def network(kind: Any, dtype: torch.dtype) -> Callable[[Path], Any]:
        return lambda path: kind.from_pretrained(path, torch_dtype=dtype).to(device).eval()

    load = {
        "vae": network(AutoencoderKLWan, torch.float32),
        "text_encoder": network(UMT5EncoderModel, dtype),
        "tokenizer": AutoTokenizer.from_pretrained,
        "image_encoder": network(CLIPVisionModel, torch.float32),
        "image_processor": CLIPImageProcessor.from_pretrained,
    }
    return Encoders(**{part: load[part](folder / part) if part in parts else None for part in PARTS}, device=device)


def encoders_of(recipe: Recipe, device: torch.device) -> Encoders:
    """Load what a recipe's clips are encoded with: for Exo2EgoSyn the VAE, and the text encoder where it is there.

    Raises:
        ValueError: if the recipe names no pipeline, or the pipeline lacks a part.
    """
    folder = recipe.encoders.folder
    if folder is None:
        raise ValueError("[encoders] folder names no pipeline: the folder of Wan2.1-I2V-14B-480P-Diffusers.")
    parts = PARTS
    if recipe.clip_kind == ViewsClip.kind:
        has_text = all((folder / part).is_dir() for part in TEXT)
        parts = (*VAE, *TEXT) if has_text else VAE
        if not has_text:
            _log.info("%s has no text encoder: the clips have no text, which the baseline VAWAN alone needs.", folder)
    return load_encoders(folder, device, parts=parts)
