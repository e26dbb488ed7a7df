"""Tiles of the fused kernel: a table by architecture, and what the command `gpu` has measured on this machine's card.

The table's tiles are those that need few instructions a pair of those that were compiled, fit the shared memory and
move hardly anything in their main loop that did not fit the registers. No card has timed them. Where `gpu` has, its
choice is kept in a file of the user's cache, by card and version of Triton, and taken from then on.
"""

from __future__ import annotations

import json
import os
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import torch

from ...common.safe_text import safe_logger
from ...common.whole_file import whole_file

_FILE = "triton_tiles.json"

_log = safe_logger(__name__)


@dataclass(frozen=True)
class Tile:
    """How the kernel cuts its work: queries and keys a block, warps, and blocks of keys in flight."""

    queries: int
    keys: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return "x".join(map(str, astuple(self)))


# By channels of a head. H100 and B200 multiply from shared memory, of which they have more; of 64 channels, four warps
# would move a part of what they hold in every step there.
_TABLE = {64: Tile(128, 64, 4, 3), 128: Tile(128, 64, 8, 2)}
_DATA_CENTER = Tile(128, 64, 8, 3)
_DATA_CENTERS = (90, 100)
# Of the int8 kernel, on all architectures: fewest instructions, and nothing is moved in its loop.
_INT8 = Tile(128, 64, 8, 2)
_INTERPRETED = Tile(64, 32, 4, 1)


def tile_of_capability(capability: int, head_dim: int) -> Tile:
    """Return the table's tile for a compute capability such as 89; those that it does not know have 99 KB at least."""
    return _DATA_CENTER if capability in _DATA_CENTERS else _TABLE[head_dim]


def tile_for(device: torch.device, head_dim: int) -> Tile:
    """Return the tile for a device: the measured one, else the table's."""
    if device.type != "cuda":
        return _INTERPRETED
    measured = measured_tiles(cache_file()).get(_key(device, head_dim))
    return measured or tile_of_capability(capability_of(device), head_dim)


def int8_tile_for(device: torch.device) -> Tile:
    """Return the tile of the int8 kernel for a device."""
    return _INT8 if device.type == "cuda" else _INTERPRETED


def remember(device: torch.device, head_dim: int, tile: Tile) -> Path:
    """Keep a measured tile for later runs; returns the file.

    Raises:
        OSError: if it cannot be written.
    """
    path = cache_file()
    known = {name: astuple(found) for name, found in measured_tiles(path).items()}
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(known | {_key(device, head_dim): astuple(tile)}, indent=1), encoding="utf-8")
    measured_tiles.cache_clear()
    return path


@cache
def measured_tiles(path: Path) -> dict[str, Tile]:
    """Return what a file holds; one that cannot be used is as if there were none, and said once."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: _checked(numbers) for name, numbers in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("%s is left out (%s): run the command gpu anew, or remove the file.", path, error)
        return {}


def cache_file() -> Path:
    """Return where measured tiles are kept."""
    if chosen := os.environ.get("EXO2EGO_CACHE"):
        return Path(chosen).expanduser() / _FILE
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "comfyui-exo2ego" / _FILE


def capability_of(device: torch.device) -> int:
    """Return a GPU's compute capability such as 89."""
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def _checked(numbers: object) -> Tile:
    tile = Tile(*numbers)  # type: ignore[misc]
    sizes = astuple(tile)
    is_power = all(isinstance(size, int) and size > 0 and size & (size - 1) == 0 for size in sizes[:3])
    if not is_power or not isinstance(tile.stages, int) or tile.stages < 1:
        raise ValueError(f"{numbers} is no tile")
    return tile


def _key(device: torch.device, head_dim: int) -> str:
    import triton

    return f"{torch.cuda.get_device_name(device)}, Triton {triton.__version__}, {head_dim} channels"
