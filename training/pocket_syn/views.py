"""Random kitchens from two sides as encoded clips: what Exo2EgoSyn's stages are trained on at the pocket's size.

A kitchen is rendered and encoded at once, for both take seconds. Most of them give one frame alone: more kitchens teach
more than more frames of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import torch
from torch import Tensor

from ...takes.example.views import SOURCE_FRAMES
from ...takes.random_rooms.kitchen import random_kitchen
from ...takes.random_rooms.views import random_views
from ...takes.views import Clip, MultiViewTake
from ..data.cache import ClipCache, write_shard
from ..data.clips import ViewsClip
from ..data.encoding import encode_views
from ..pocket.encode_rooms import LatentScale, decode_unit, encode_video
from ..recipe import Recipe

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

_GRAY = 0.5
_LIKE = 0.1  # relative difference of two latents: processors differ by less than 0.01, kitchens by 0.5 and more
_GOLDEN = 0.618034


@dataclass(frozen=True, eq=False)
class PocketEncoder:
    """The pocket VAE in the place of Wan's encoders.

    Attributes:
        vae: of `pocket_vae`.
        scale: of its latents.
    """

    vae: AutoencoderKLWan
    scale: LatentScale

    @torch.no_grad()
    def latent(self, video: Tensor) -> Tensor:
        """Return a video's latent [16, T, h, w] in the model's scale, for frames [F, H, W, 3] in [0, 1]."""
        pixels = (2 * video - 1).movedim(-1, 0)[None]
        return self.scale.unit(encode_video(self.vae, pixels))[0].cpu()

    @torch.no_grad()
    def video(self, latent: Tensor) -> Tensor:
        """Return the video [F, H, W, 3] in [0, 1] of a latent [16, T, h, w] in the model's scale."""
        return decode_unit(self.vae, self.scale, latent[None])


def room_name(number: int) -> str:
    """Return what a kitchen's clip is called."""
    return f"room_{number:06d}"


def clip_of_room(number: int, n_frames: int, size: int, stride: int = 4) -> Clip:
    """Return the clip of a room: another part of the movement for each number.

    Args:
        number: of the room.
        n_frames: of the clip.
        size: side of its images, pixels.
        stride: frames of the movement from one to the next.
    """
    free = SOURCE_FRAMES - ((n_frames - 1) * stride + 1)
    return Clip(int(free * (number * _GOLDEN % 1)), n_frames, stride, size)


def kitchen_views(number: int, clip: Clip, n_views: int) -> MultiViewTake:
    """Render a clip of a kitchen from its first cameras."""
    return random_views(number, clip, n_views=n_views, scene_of=random_kitchen)


def encode_room(take: MultiViewTake, encoder: PocketEncoder, recipe: Recipe) -> ViewsClip:
    """Encode a room in half precision; poses stay whole.

    Args:
        take: the room, of any number of frames.
        encoder: the pocket VAE.
        recipe: of a stage of Exo2EgoSyn.
    """
    gray = encoder.latent(torch.full_like(take.ego, _GRAY))
    parts = encode_views(take, encoder, recipe, gray, None).tensors()
    return ViewsClip(**{name: part if name == "poses" else part.half() for name, part in parts.items()})


def write_views(
    folder: Path,
    numbers: Iterable[int],
    n_frames: int,
    encoder: PocketEncoder,
    recipe: Recipe,
    *,
    cancel_check: Callable[[], None] = lambda: None,
) -> int:
    """Render and encode the kitchens that are not in a cache yet, or there by another VAE; returns how many.

    Args:
        folder: of the cache.
        numbers: of the rooms.
        n_frames: of their clips.
        encoder: the pocket VAE.
        recipe: of a stage of Exo2EgoSyn: sizes and number of views.
        cancel_check: called before every room; may raise to stop.

    Raises:
        ValueError: if the first clip that is there is of another kitchen than its number gives now.
    """
    cache = ClipCache(folder, may_be_empty=True)
    checked = False
    made = {"views": str(recipe.exo2egosyn.views), "frames": str(n_frames), **encoder.scale.made()}
    count = 0
    for number in numbers:
        name = room_name(number)
        is_there = name in cache and cache.stale(name, made) is None
        if is_there and checked:
            continue
        cancel_check()
        clip = clip_of_room(number, n_frames, recipe.data.ego_size[0], recipe.exo2egosyn.frame_stride)
        encoded = encode_room(kitchen_views(number, clip, recipe.exo2egosyn.views), encoder, recipe)
        if is_there:
            checked = _check_kitchen(cache, name, encoded)
            continue
        # What tells its first frame, which has a cache of its own, from that of another rendering.
        kitchen = {"kitchen": f"{crc32(encoded.ego.numpy().tobytes()):08x}"}
        write_shard(folder, {name: (encoded, made | kitchen)})
        count += 1
    return count


def _check_kitchen(cache: ClipCache, name: str, now: ViewsClip) -> bool:
    """Check that a clip shows the kitchen that its number gives now."""
    then, now_ego = cache.read(name).ego.float(), now.ego.float()
    if then.shape != now_ego.shape or (then - now_ego).norm() > _LIKE * now_ego.norm():
        raise ValueError(
            f"The clip {name} in {cache.folder} shows another kitchen than its number gives now: it was rendered by "
            f"another version. Delete {cache.folder} and make the clips again."
        )
    return True


def write_first_frames(views: Path, firsts: Path) -> None:
    """Write what EgoExo-Align needs of every clip into a cache of its own: the first frame, which is quicker to read.

    Args:
        views: cache of whole clips.
        firsts: cache of their first frames; what is there already and was made alike stays.
    """
    whole, cache = ClipCache(views), ClipCache(firsts, may_be_empty=True)
    for name, entry in whole.entries.items():
        if name not in cache or cache.stale(name, entry.made) is not None:
            write_shard(firsts, {name: (first_frame(whole.read(name)), entry.made)})


def first_frame(clip: ViewsClip) -> ViewsClip:
    """Return a clip's first frame as a clip. The VAE is causal: its first latent frame is that of the image alone."""
    parts = clip.tensors()
    latents = {name: parts[name][..., :1, :, :] for name in ("exo", "ego", "gray", "first_then_gray")}
    frames = {name: parts[name][:1] for name in ("plucker", "poses")}
    return ViewsClip(**{name: part.contiguous() for name, part in (parts | latents | frames).items()})
