"""Random rooms as encoded clips: what the pocket transformer is trained on.

Text and CLIP features are zeros of a small width: the pocket model ignores them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from ...attention.layout import TokenLayout
from ...common.wan_grid import LATENT_CHANNELS, PATCH, TEMPORAL_STRIDE, VAE_STRIDE
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import LensPreset, preset_lens
from ...geometry.depth.depth import Depth, DepthMeaning
from ...geometry.directions.clip import ClipGeometry
from ...geometry.directions.directions import GGAGeometry
from ...geometry.lenses.pinhole import Pinhole
from ...wan.egox.prompt import TEXT_TOKENS
from ..bfloat16 import is_fast_in_bfloat16
from ..data.cache import write_shard
from ..data.clips import TrainingClip
from ..data.rooms import rooms_made
from .vae import decode, encode

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

_IMAGE_TOKENS = 257  # a class token and 16 x 16 patches of CLIP ViT-H
IGNORED_WIDTH = 8  # of text and CLIP features, which are zeros

# How much a cell with arms or hands counts in the loss: they are few, and what people look for first.
_ARMS_WEIGHT = 8.0

_ROOMS_AT_ONCE = 5

_VIEWS = {"exo": "exo", "ego": "truth", "prior": "prior"}


class LatentScale(NamedTuple):
    """Mean and standard deviation of a VAE's latents, [16] each."""

    mean: Tensor
    std: Tensor

    def made(self) -> dict[str, str]:
        """Return what tells clips of this VAE from those of another."""
        return {"vae": ",".join(f"{value:.9g}" for value in self.std.tolist())}

    def unit(self, latent: Tensor) -> Tensor:
        """Return a latent [B, 16, T, h, w] with mean 0 and deviation 1."""
        shape = (1, -1, 1, 1, 1)
        return (latent - self.mean.view(shape).to(latent)) / self.std.view(shape).to(latent)


UNIT = LatentScale(torch.zeros(LATENT_CHANNELS), torch.ones(LATENT_CHANNELS))  # of `with_unit_latents`


@torch.no_grad()
def measure_scale(vae: AutoencoderKLWan, shard: Path) -> LatentScale:
    """Measure the latents of true ego views and exo views, of whole clips, equally weighted."""
    with np.load(shard) as arrays:
        views = [_video(clip) for name in ("exo", "truth") for clip in arrays[name]]
    latents = torch.cat([encode_video(vae, view).flatten(2) for view in views], dim=2)[0]  # [16, all]
    return LatentScale(latents.mean(dim=1).cpu(), latents.std(dim=1).cpu())


def clips_made(scale: LatentScale, shard: Path, geometry: GGAGeometry) -> dict[str, str]:
    """Return what tells a shard's clips from those of another VAE, rendering or recipe."""
    return {"geometry": geometry.value, "arms": f"{_ARMS_WEIGHT:g} times", **scale.made(), **rooms_made(shard)}


@torch.no_grad()
def encode_shard(
    vae: AutoencoderKLWan,
    scale: LatentScale,
    shard: Path,
    cache: Path,
    geometry: GGAGeometry,
    *,
    keep: Callable[[int], bool] = lambda number: True,
    cancel_check: Callable[[], None] = lambda: None,
) -> list[str]:
    """Encode the rooms of a shard into a cache; returns the names of the clips.

    Args:
        vae: of `pocket_vae`.
        scale: of its latents.
        shard: written by `write_rooms`.
        cache: a folder of clips.
        geometry: of GGA's directions.
        keep: whether a room is encoded, by its place in the shard.
        cancel_check: called before every room; may raise to stop.

    Raises:
        ValueError: if the shard was written before shards told where arms are seen.
    """
    with np.load(shard) as file:
        arrays = {name: file[name] for name in file.files}
    if "arms" not in arrays:
        raise ValueError(f"{shard} was rendered by an older version, without `arms`: delete it and render it again.")
    made = clips_made(scale, shard, geometry)
    names = []
    due = [number for number in range(len(arrays["exo"])) if keep(number)]
    for first in range(0, len(due), _ROOMS_AT_ONCE):
        cancel_check()
        numbers = due[first : first + _ROOMS_AT_ONCE]
        encoded = encode_clips(vae, scale, {part: values[numbers] for part, values in arrays.items()}, geometry)
        for number, clip in zip(numbers, encoded, strict=True):
            names.append(f"{shard.stem}-{number:02d}")
            write_shard(cache, {names[-1]: (clip, made)})
    return names


def encode_clip(
    vae: AutoencoderKLWan, scale: LatentScale, room: Mapping[str, np.ndarray], geometry: GGAGeometry
) -> TrainingClip:
    """Encode a room, whose arrays lack their first dimension; see `encode_clips`."""
    return encode_clips(vae, scale, {name: values[None] for name, values in room.items()}, geometry)[0]


@torch.no_grad()
def encode_clips(
    vae: AutoencoderKLWan, scale: LatentScale, rooms: Mapping[str, np.ndarray], geometry: GGAGeometry
) -> list[TrainingClip]:
    """Encode rooms.

    Args:
        vae: of `pocket_vae`.
        scale: of its latents.
        rooms: their arrays, as a shard has them.
        geometry: of GGA's directions.
    """
    latents = {}
    for name, view in _VIEWS.items():
        videos = torch.cat([_video(frames) for frames in rooms[view]])
        latents[name] = scale.unit(encode_video(vae, videos)).half().cpu()
    clips = []
    for number in range(len(rooms["exo"])):
        own = {name: latent[number].clone() for name, latent in latents.items()}
        clips.append(_clip(own, {name: values[number] for name, values in rooms.items()}, geometry))
    return clips


def _clip(latents: Mapping[str, Tensor], room: Mapping[str, np.ndarray], geometry: GGAGeometry) -> TrainingClip:
    exo, ego = latents["exo"], latents["ego"]
    layout = TokenLayout(exo.shape[1], exo.shape[2] // PATCH, exo.shape[3] // PATCH, ego.shape[3] // PATCH)
    directions = _geometry(room, geometry).directions(layout)
    return TrainingClip(
        **latents,
        text=torch.zeros(TEXT_TOKENS, IGNORED_WIDTH, dtype=torch.float16),
        features=torch.zeros(_IMAGE_TOKENS, IGNORED_WIDTH, dtype=torch.float16),
        ego_queries=directions.ego_queries.float().contiguous(),
        exo_keys=directions.exo_keys.float().contiguous(),
        weights=_weights(torch.from_numpy(room["arms"])),
    )


def _weights(arms: Tensor) -> Tensor:
    """Return the weights of cells [T, h, w] for pixels that show arms [1 + 4 n, H, W]: in a cell one is enough."""
    whole = torch.cat([arms[:1].expand(TEMPORAL_STRIDE - 1, -1, -1), arms])  # the first latent frame is of one frame
    cells = max_pool3d(whole[None].float(), (TEMPORAL_STRIDE, VAE_STRIDE, VAE_STRIDE))[0]
    return (1 + (_ARMS_WEIGHT - 1) * cells).half()


def encode_video(vae: AutoencoderKLWan, video: Tensor) -> Tensor:
    """Return the latent of a video [1, 3, F, H, W] in [-1, 1], on the VAE's device."""
    device = next(vae.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=is_fast_in_bfloat16(device)):
        return encode(vae, video.to(device)).float()


@torch.no_grad()
def decode_unit(vae: AutoencoderKLWan, scale: LatentScale, latent: Tensor) -> Tensor:
    """Return the video [F, H, W, 3] in [0, 1] of a latent [1, 16, T, h, w] of mean 0 and deviation 1."""
    latent, shape = latent.float(), (1, -1, 1, 1, 1)
    inner = latent * scale.std.view(shape).to(latent) + scale.mean.view(shape).to(latent)
    return ((decode(vae, inner)[0] + 1) / 2).clamp(0, 1).movedim(0, -1)


def _geometry(room: Mapping[str, np.ndarray], kind: GGAGeometry) -> ClipGeometry:
    _, height, width = room["depth"].shape
    size = room["truth"].shape[1]
    exo_camera = Camera(Pinhole(*map(float, room["exo_lens"])), width, height, torch.eye(4))  # its frame is the world
    lens = preset_lens(LensPreset.EGOX_RELEASE, size, size)
    ego_camera = Camera(lens, size, size, torch.from_numpy(room["ego_pose"]))
    depth = Depth(torch.from_numpy(room["depth"].astype(np.float32)), DepthMeaning.METRIC)
    return ClipGeometry(exo_camera, depth, ego_camera, kind)


def _video(frames: np.ndarray) -> Tensor:
    """Return frames [F, H, W, 3] uint8 as [1, 3, F, H, W] in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
