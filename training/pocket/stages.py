"""From nothing to the pocket model's files, in stages that can each be left and resumed.

rooms        random rooms, rendered                       rooms/
vae          the VAE, trained on their frames             vae.pt
clips        the rooms, encoded by the VAE                clips/
transformer  EgoX from nothing, by the project's trainer  transformer/, see `train_transformer`
export       both as files of stock loaders               files/
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...common.whole_file import whole_file
from ...networks.pocket_files import pocket_file
from ...networks.weights.safetensors_file import write_safetensors
from ..data.cache import ClipCache, Made
from ..data.rooms import shards_in, write_rooms
from ..network.egox_method import EgoXMethod
from .encode_rooms import UNIT, LatentScale, clips_made, encode_shard, measure_scale
from .export import stock_transformer, stored_types
from .plan import CLIPS, FILES, ROOMS, VAE, PocketPlan
from .train_transformer import trained_transformer
from .train_vae import VaeTraining
from .vae_file import read_pocket_vae, wan_state_dict

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

FIRST_STILL = 5_000  # number of the first shard of rooms of one frame
FIRST_LONG, LONG_FRAMES = 10_000, 49  # number of the first shard of long rooms, and EgoX's frames
_log = logging.getLogger(__name__)


def make_rooms(plan: PocketPlan, part: tuple[int, int] = (1, 1)) -> None:
    """Render the rooms that are not there yet, or the I-th of N parts of them."""
    index, parts = part
    write = partial(write_rooms, plan.folder / ROOMS, per_shard=plan.per_shard, n_workers=parts)
    write(plan.n_shards, plan.size, worker=index - 1)
    write(FIRST_STILL + plan.n_still, replace(plan.size, n_frames=1), worker=FIRST_STILL + index - 1)
    write(FIRST_LONG + plan.n_long, replace(plan.size, n_frames=LONG_FRAMES), worker=FIRST_LONG + index - 1)


def train_vae(plan: PocketPlan) -> None:
    """Train the VAE to its last step, or until the plan's time is over."""
    VaeTraining(plan.vae_recipe(), plan.folder / ROOMS, plan.folder / VAE, device=plan.device).run(plan.until)


def trained_vae(plan: PocketPlan) -> tuple[AutoencoderKLWan, LatentScale]:
    """Return the VAE as trained so far, and the scale of its latents; the pack's own where none was trained.

    Of a training that began at another VAE the scale is that one's: what was trained on its latents knows no other.
    """
    if not (plan.folder / VAE).is_file():
        _log.info("%s is not there: the pack's own VAE is taken.", plan.folder / VAE)
        return read_pocket_vae(pocket_file("vae"))
    training = VaeTraining(plan.vae_recipe(), plan.folder / ROOMS, plan.folder / VAE, device=plan.device)
    vae = training.averaged()
    if plan.start is not None:
        return vae, UNIT
    return vae, measure_scale(vae, shards_in(plan.folder / ROOMS)[0])


def make_clips(plan: PocketPlan, show: Callable[[str], None] = print, part: tuple[int, int] = (1, 1)) -> None:
    """Encode the rooms that are not in the cache yet, or there by another VAE or renderer, or the I-th of N parts."""
    vae, scale = trained_vae(plan)
    geometry = plan.recipe().egox.resolved_geometry
    cache = ClipCache(plan.folder / CLIPS, may_be_empty=True)
    for shard in shards_in(plan.folder / ROOMS)[part[0] - 1 :: part[1]]:
        made = clips_made(scale, shard, geometry)

        def is_due(number: int, stem: str = shard.stem, made: Made = made) -> bool:
            name = f"{stem}-{number:02d}"
            return name not in cache or cache.stale(name, made) is not None

        names = encode_shard(vae, scale, shard, plan.folder / CLIPS, geometry, keep=is_due)
        show(f"{shard.stem}: {len(names)} clips")


def export(plan: PocketPlan, dtype: torch.dtype = torch.float16) -> list[Path]:
    """Write both files as trained so far; returns them.

    Raises:
        ValueError: if one has not been trained.
    """
    network, step = trained_transformer(plan.recipe())
    vae, scale = trained_vae(plan)
    config = vae.config
    like = {"mean": torch.tensor(config.latents_mean), "std": torch.tensor(config.latents_std)}
    files = {
        "vae": wan_state_dict({name: value.cpu() for name, value in vae.state_dict().items()}, *scale, like),
        "diffusion_models": stock_transformer(network),
    }
    # Clips of any length go well together with it.
    header = replace(EgoXMethod(plan.recipe()).header(step), num_frames="").to_strings()
    paths = []
    for kind, tensors in files.items():
        path = pocket_file(kind, plan.folder / FILES)
        path.parent.mkdir(parents=True, exist_ok=True)
        strings = (header if kind == "diffusion_models" else {}) | {"format": "pt"}
        types = stored_types(tensors, dtype) if kind == "diffusion_models" else dict.fromkeys(tensors, dtype)
        with whole_file(path) as unfinished:
            write_safetensors(unfinished, tensors, strings, types)
        paths.append(path)
    return paths
