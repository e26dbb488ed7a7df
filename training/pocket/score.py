"""How good the pocket model is: rooms that it never saw, beside baselines that invent nothing, and with parts left out.

Every method sees the same rooms and the same noise, so that differences are those of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...evaluation.fills import mean_color_fill, telea_fill
from ...evaluation.intervals import Interval, interval
from ...evaluation.regions import covered
from ...evaluation.scores import Scores, score_clips
from ...geometry.directions.directions import GGAGeometry
from ..data.clips import ClipBatch
from ..network.egox import EgoX, noised
from ..network.sampling import SampleSettings, euler
from .encode_rooms import LatentScale, decode_unit, encode_clip
from .vae import encode

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKLWan

FULL, NO_PRIOR, NOISY_EXO, NO_GGA = "full", "no prior", "noisy exo", "no GGA"
MEAN_COLOR, TELEA, CODEC = "prior + mean color", "prior + Telea", "the VAE alone"
# What the table shows, as far as there is of it.
COLUMNS = {"psnr": "PSNR", "psnr_seen": "seen", "psnr_unseen": "unseen", "ssim": "SSIM"}


@dataclass(frozen=True, eq=False)
class PocketParts:
    """The pocket model, with what it is measured by.

    Attributes:
        vae, scale: of its latents.
        guided: with GGA.
        plain: the same weights without.
        geometry: of GGA's directions.
        settings: of the sampler.
    """

    vae: AutoencoderKLWan
    scale: LatentScale
    guided: EgoX
    plain: EgoX
    geometry: GGAGeometry
    settings: SampleSettings


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of all methods on the same rooms.

    Attributes:
        methods: by name.
        videos: of the first rooms: what `exo`, `prior`, `truth` and `full` show, [F, H, W, 3] each.
    """

    methods: Mapping[str, Scores]
    videos: tuple[Mapping[str, Tensor], ...]

    def lines(self) -> list[str]:
        """Return a table in Markdown: each metric's mean over rooms with its interval, and what full has more."""
        columns = {key: title for key, title in COLUMNS.items() if key in self.methods[FULL].frames}
        names = ("method", *columns.values(), "full is better by, dB")
        lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        full = self.methods[FULL].clips["psnr"]
        for name, scores in self.methods.items():
            cells = [_told(interval(scores.clips[metric]), 3 if metric == "ssim" else 2) for metric in columns]
            ahead = "" if name == FULL else _told(interval(full - scores.clips["psnr"]), 2)
            lines.append(f"| {name} | {' | '.join(cells)} | {ahead} |")
        return lines


def score_rooms(
    parts: PocketParts,
    shards: Sequence[Path],
    count: int | None = None,
    *,
    n_videos: int = 5,
) -> Scored:
    """Score the pocket model on rooms that it was not trained on.

    Args:
        parts: the model.
        shards: of rooms, as `write_rooms` writes them.
        count: how many rooms; None for all.
        n_videos: rooms whose videos are returned.
    """
    truths, holes, videos = [], [], []
    made: dict[str, list[Tensor]] = {}
    for number, room in enumerate(islice(_rooms(shards), count)):
        truth, prior = (torch.from_numpy(room[name]).float() / 255 for name in ("truth", "prior"))
        unseen = ~covered(prior)
        clip = ClipBatch.of([encode_clip(parts.vae, parts.scale, room, parts.geometry)])
        shown = _predictions(parts, clip, number, prior)
        shown[MEAN_COLOR] = mean_color_fill(prior, unseen)
        if find_spec("cv2") is not None:  # of the extra `evaluate`
            shown[TELEA] = telea_fill(prior, unseen)
        shown[CODEC] = _shown(parts, clip.ego)
        for name, video in shown.items():
            made.setdefault(name, []).append(video)
        truths.append(truth)
        holes.append(unseen)
        if number < n_videos:
            exo = torch.from_numpy(room["exo"]).float() / 255
            videos.append({"exo": exo, "prior": prior, FULL: shown[FULL], "truth": truth})
    scored = {name: score_clips(clips, truths, protocol="EgoX", unseen=holes) for name, clips in made.items()}
    return Scored(scored, tuple(videos))


def _rooms(shards: Sequence[Path]) -> Iterator[dict[str, np.ndarray]]:
    for shard in shards:
        with np.load(shard) as file:
            arrays = {name: file[name] for name in file.files}
        for number in range(len(arrays["exo"])):
            yield {name: values[number] for name, values in arrays.items()}


@torch.no_grad()
def _predictions(parts: PocketParts, clip: ClipBatch, seed: int, prior: Tensor) -> dict[str, Tensor]:
    """Return the ego video of the model, whole and with parts left out, from the same noise."""
    settings = replace(parts.settings, seed=seed)
    black = encode(parts.vae, torch.full_like(prior.movedim(-1, 0)[None], -1.0))
    without = replace(clip, prior=parts.scale.unit(black).to(clip.prior))
    noise = torch.randn(clip.exo.shape, generator=torch.Generator().manual_seed(seed + 1))

    def of(network: EgoX, shown: Callable[[Tensor], ClipBatch]) -> Tensor:
        def velocity(x: Tensor, levels: Tensor) -> Tensor:
            return network(shown(levels), x, levels)

        return _shown(parts, euler(network, velocity, velocity, clip.ego, settings))

    return {
        FULL: of(parts.guided, lambda levels: clip),
        NO_GGA: of(parts.plain, lambda levels: clip),
        NO_PRIOR: of(parts.guided, lambda levels: without),
        NOISY_EXO: of(parts.guided, lambda levels: replace(clip, exo=noised(clip.exo, noise, levels))),
    }


def _shown(parts: PocketParts, latent: Tensor) -> Tensor:
    """Return the video [F, H, W, 3] in [0, 1] of a unit latent [1, 16, T, h, w]."""
    return decode_unit(parts.vae, parts.scale, latent)


def _told(found: Interval, digits: int) -> str:
    if not found.has_ends:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
