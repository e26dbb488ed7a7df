"""How good the pocket model is: rooms that it never saw, beside baselines that invent nothing, and with parts left out.

Every method sees the same rooms and the same noise, so that differences are those of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from ...evaluation.scores import Measure, Scores, score_clips
from ...geometry.directions.directions import GGAGeometry
from ..data.clips import ClipBatch
from ..network.egox import EgoX
from ..network.sampling import SampleSettings, euler
from .encode_rooms import LatentScale, decode_unit, encode_clip
from .shown import Shown, black_prior, show

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKLWan

FULL, NO_GGA = "full", "no GGA"
MEAN_COLOR, TELEA, CODEC = "prior + mean color", "prior + Telea", "the VAE alone"
# What the table shows, as far as there is of it.
COLUMNS = {
    **{"psnr": "PSNR", "psnr_seen": "seen", "psnr_unseen": "unseen", "ssim": "SSIM"},
    **{"lpips": "LPIPS", "st_lpips": "ST-LPIPS"},
}


@dataclass(frozen=True, eq=False)
class PocketParts:
    """The pocket model, with what it is measured by.

    Attributes:
        vae, scale: of its latents.
        rows: networks, and what they are shown of a clip, by what the table calls them; the first one is that which
            the others are compared with.
        geometry: of GGA's directions.
        settings: of the sampler.
        device: where the networks sample; the VAE is there already.
    """

    vae: AutoencoderKLWan
    scale: LatentScale
    rows: Mapping[str, tuple[EgoX, Shown]]
    geometry: GGAGeometry
    settings: SampleSettings
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of all methods on the same rooms.

    Attributes:
        methods: by name.
        videos: of the first rooms: what `exo`, `prior`, `truth` and the first method show, [F, H, W, 3] each.
    """

    methods: Mapping[str, Scores]
    videos: tuple[Mapping[str, Tensor], ...]

    def lines(self) -> list[str]:
        """Return a table in Markdown: each metric's mean over rooms with its interval, and what full has more."""
        first = next(iter(self.methods))
        columns = {key: title for key, title in COLUMNS.items() if key in self.methods[first].frames}
        names = ("method", *columns.values(), f"{first} is better by, dB")
        lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        full = self.methods[first].clips["psnr"]
        for name, scores in self.methods.items():
            cells = [_told(interval(scores.clips[metric]), 2 if metric.startswith("psnr") else 3) for metric in columns]
            ahead = "" if name == first else _told(interval(full - scores.clips["psnr"]), 2)
            lines.append(f"| {name} | {' | '.join(cells)} | {ahead} |")
        return lines


def score_rooms(
    parts: PocketParts,
    shards: Sequence[Path],
    count: int | None = None,
    *,
    n_videos: int = 5,
    measures: Sequence[Measure] = (),
) -> Scored:
    """Score the pocket model on rooms that it was not trained on.

    Args:
        parts: the model.
        shards: of rooms, as `write_rooms` writes them.
        count: how many rooms; None for all.
        n_videos: rooms whose videos are returned.
        measures: further ones, of the protocol's images.
    """
    truths, holes, videos = [], [], []
    made: dict[str, list[Tensor]] = {}
    for number, room in enumerate(islice(_rooms(shards), count)):
        truth, prior = (torch.from_numpy(room[name]).float() / 255 for name in ("truth", "prior"))
        unseen = ~covered(prior)
        clip = ClipBatch.of([encode_clip(parts.vae, parts.scale, room, parts.geometry)], parts.device)
        shown = _predictions(parts, clip, number)
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
            first = next(iter(parts.rows))
            videos.append({"exo": exo, "prior": prior, first: shown[first], "truth": truth})
    scored = {
        name: score_clips(clips, truths, protocol="EgoX", unseen=holes, measures=measures)
        for name, clips in made.items()
    }
    return Scored(scored, tuple(videos))


def _rooms(shards: Sequence[Path]) -> Iterator[dict[str, np.ndarray]]:
    for shard in shards:
        with np.load(shard) as file:
            arrays = {name: file[name] for name in file.files}
        for number in range(len(arrays["exo"])):
            yield {name: values[number] for name, values in arrays.items()}


@torch.no_grad()
def _predictions(parts: PocketParts, clip: ClipBatch, seed: int) -> dict[str, Tensor]:
    """Return the ego video of every row, from the same noise."""
    settings = replace(parts.settings, seed=seed)
    black = black_prior(parts.vae, parts.scale, clip.prior)
    noise = torch.randn(clip.exo.shape, generator=torch.Generator().manual_seed(seed + 1)).to(clip.exo)

    def of(network: EgoX, shown: Shown) -> Tensor:
        network.to(parts.device)

        def velocity(x: Tensor, levels: Tensor) -> Tensor:
            return network(show(clip, shown, levels, black, noise), x, levels)

        return _shown(parts, euler(network, velocity, velocity, clip.ego, settings))

    return {name: of(network, shown) for name, (network, shown) in parts.rows.items()}


def _shown(parts: PocketParts, latent: Tensor) -> Tensor:
    """Return the video [F, H, W, 3] in [0, 1] of a unit latent [1, 16, T, h, w]."""
    return decode_unit(parts.vae, parts.scale, latent).cpu()


def _told(found: Interval, digits: int) -> str:
    if not found.has_ends:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
