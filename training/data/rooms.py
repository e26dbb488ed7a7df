"""Random rooms on disk, rendered once: what the pocket model is trained on.

A shard is an .npz file of `PER_SHARD` takes that appears whole or not at all; what is there already is not rendered
again. Several processes may share the work: each takes every n-th shard.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import torch

from ...common.whole_file import whole_file
from ...takes.random_rooms.take import RandomRoom, TakeSize

PER_SHARD = 25

_LIKE = 2.0  # mean difference of two pictures, of 255: processors differ by less than 0.1, kitchens by 10 and more


def write_rooms(
    folder: Path,
    n_shards: int,
    size: TakeSize | None = None,
    *,
    per_shard: int = PER_SHARD,
    worker: int = 0,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render rooms into shards 0 to `n_shards`.

    Args:
        folder: where the shards lie; is made.
        n_shards: how many there shall be.
        size: of the takes.
        per_shard: takes in each.
        worker: which of `n_workers` processes this is.
        n_workers: how many share the work.
        progress: called with (shards done, all) after each; may raise to stop.

    Raises:
        ValueError: if the first shard that is there shows other rooms than its numbers give now.
    """
    checked = False
    for number in range(worker, n_shards, n_workers):
        path = folder / f"{shard_name(number)}.npz"
        if path.exists():
            checked = checked or _check_rooms(path, number * per_shard, size)
        else:
            rooms = range(number * per_shard, (number + 1) * per_shard)
            parts = [_arrays(room, size) for room in rooms]
            with whole_file(path) as unfinished:
                np.savez_compressed(unfinished, **{name: np.stack([part[name] for part in parts]) for name in parts[0]})
        if progress is not None:
            progress(number + 1, n_shards)


def rooms_made(shard: Path) -> dict[str, str]:
    """Return what tells clips of a shard from those of another rendering: the checksum of its true ego views."""
    with ZipFile(shard) as file:
        return {"rooms": f"{file.getinfo('truth.npy').CRC:08x}"}


def _check_rooms(path: Path, room: int, size: TakeSize | None) -> bool:
    """Check that a shard, whose first room has this number, was rendered as it would be now."""
    with np.load(path) as shard:
        then = {name: shard[name][0] for name in ("exo", "truth")}
    now = _arrays(room, size)
    for name, frames in then.items():
        if frames.shape != now[name].shape:
            what = f"{name} is {' x '.join(map(str, frames.shape))}, now {' x '.join(map(str, now[name].shape))}"
        elif (difference := np.abs(frames.astype(np.int16) - now[name]).mean()) > _LIKE:
            what = f"{name} differs by {difference:.0f} of 255 in the mean"
        else:
            continue
        raise ValueError(
            f"{path} was rendered by another version of the rooms ({what}). Delete {path.parent} and render them again."
        )
    return True


def shard_name(number: int) -> str:
    """Return what the shard of a number is called; its clips begin with that."""
    return f"rooms_{number:05d}"


def shards_in(folder: Path) -> list[Path]:
    """Return the shards of a folder in order.

    Each holds exo [N, F, H, W, 3], prior and truth [N, F, He, We, 3], all uint8; arms [N, F, He, We], the pixels of the
    true view that show arms or hands; depth [N, F, H, W] in metres, float16; exo_lens [N, 4], focal lengths and center
    in pixels; ego_pose, world-to-camera [N, F, 4, 4].
    """
    return sorted(folder.glob("rooms_*.npz"))


def _arrays(number: int, size: TakeSize | None) -> dict[str, np.ndarray]:
    room = RandomRoom(number, size)
    take = room.take()
    lens = take.exo_camera.lens
    images = {"exo": take.exo, "prior": take.ego_prior, "truth": take.ego_truth}
    return {
        **{name: (image * 255).round().to(torch.uint8).numpy() for name, image in images.items()},
        "arms": room.visible_arms().numpy(),
        "depth": take.depth.metric().to(torch.float16).numpy(),
        "exo_lens": np.array((lens.fx, lens.fy, lens.cx, lens.cy), np.float32),
        "ego_pose": take.ego_camera.world_to_camera.to(torch.float32).numpy(),
    }
