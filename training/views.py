"""Samples as people see them: exo view, ego prior, sample and truth beside each other, as video and contact sheet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..common.whole_file import whole_file
from ..networks.weights.safetensors_file import write_safetensors
from ..nodes.drawings.contact_sheet import contact_sheet, side_by_side
from ..takes.video import write_video
from .data.decoder import load_decoder
from .data.encoders import Encoders
from .recipe import Recipe

# Kinds of latents, as their files name them, from left to right; and what they are called on the sheet.
_WORDS = {"exo": "exo", "prior": "ego prior", "ego": "sample", "truth": "truth"}
_FPS = 10.0  # to look at; the cache does not know the clips' own

_log = logging.getLogger(__name__)


class SampleFiles:
    """Writes samples: latents, and what the VAE makes of them where the recipe names one.

    Args:
        recipe: whose `[samples] vae`, or else `[encoders] folder`, is taken. Without both there are latents alone.
        device: where the VAE runs; between samples it stays in the host's memory.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self._folder = recipe.samples.vae or recipe.encoders.folder
        self.device = device
        self._decoder: Encoders | None = None
        if self._folder is None:
            _log.info("Samples are latents alone: for videos name a VAE's file as vae under [samples].")

    def write(self, folder: Path, name: str, latents: Mapping[str, Tensor]) -> tuple[list[Path], Tensor | None]:
        """Write a clip's sample; returns its files, and its contact sheet [1, H, W, 3] in [0, 1] where there is one.

        Args:
            folder: gets NAME.safetensors, and with a VAE NAME.mp4 and NAME.png.
            name: of the clip.
            latents: by kind, "exo", "prior", "ego" (the sample) and "truth", [1, 16, T, h, w] in the model's scale;
                those of other kinds go into the file of latents alone.

        Raises:
            OSError: if the disk is full.
        """
        stem = folder / name.replace("/", "_")
        paths = [stem.with_name(f"{stem.name}.safetensors")]
        with whole_file(paths[0]) as unfinished:
            write_safetensors(unfinished, {kind: latent.cpu() for kind, latent in latents.items()}, {})
        videos = self._videos({kind: latents[kind] for kind in _WORDS if kind in latents})
        if not videos:
            return paths, None
        sheet = contact_sheet(list(videos.items()))
        paths += [stem.with_name(f"{stem.name}.mp4"), stem.with_name(f"{stem.name}.png")]
        write_video(paths[1], side_by_side(list(videos.values())), _FPS)
        _write_image(paths[2], sheet)
        return paths, sheet

    def _videos(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each kind's video [F, H, W, 3] by the words for it; none without a VAE."""
        if self._folder is None:
            return {}
        if self._decoder is None:
            self._decoder = load_decoder(self._folder, self.device)
        self._decoder.vae.to(self.device)
        try:
            return {_WORDS[kind]: self._decoder.video(latent[0]) for kind, latent in latents.items()}
        finally:
            self._decoder.vae.to("cpu")


def _write_image(path: Path, image: Tensor) -> None:
    """Write an image [1, H, W, 3] in [0, 1] as PNG."""
    from PIL import Image

    with whole_file(path) as unfinished:
        Image.fromarray(image[0].mul(255).round().to(torch.uint8).numpy()).save(unfinished)
