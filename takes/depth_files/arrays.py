"""Depth in NumPy's files: one array of all maps, or one file a map. Only the maps that are wanted are held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ...common.cancel import cancel_point
from ..clips.picture_source import missing_numbers
from ..numpy_files import array_entries, load_array
from .source import check_size

if TYPE_CHECKING:
    import numpy as np


class DepthArrays:
    """A file with an array [F, H, W], [F, H, W, 1] or [H, W], or one file a map; see `DepthSource`.

    Args:
        paths: the files in order; at least one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.remarks: list[str] = missing_numbers(paths)
        shape, dtype, _ = array_entries(paths[0])
        self._is_one = len(paths) == 1 and not _is_single_map(shape)
        maps = shape if self._is_one else (1, *_map_shape(shape, paths[0].name))
        if len(maps) not in (3, 4) or (len(maps) == 4 and maps[3] != 1) or 0 in maps:
            raise ValueError(
                f"{paths[0].name} holds the shape {list(shape)}; expected depth [frames, height, width] or [height, "
                "width]. Save it so."
            )
        if dtype.kind == "b":
            raise ValueError(f"{paths[0].name} holds true and false; expected depth as numbers. Save it so.")
        self.count = maps[0] if self._is_one else len(paths)
        self.size = (maps[2], maps[1])
        self.kind = f"NumPy, {dtype}"
        self.white = {"uint8": 255.0, "uint16": 65535.0}.get(str(dtype), 0.0)

    def maps(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `DepthSource`."""
        if self._is_one:
            yield from (_as_map(entry) for entry in array_entries(self._paths[0], frames)[2])
            return
        for index in frames:
            cancel_point()
            path = self._paths[index]
            array = load_array(path)
            height, width = _map_shape(array.shape, path.name)
            check_size(path.name, (width, height), self.size)
            yield _as_map(array.reshape(height, width))


def _is_single_map(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2


def _map_shape(shape: tuple[int, ...], name: str) -> tuple[int, int]:
    """Return height and width of an array that holds one map."""
    shape = shape[1:] if len(shape) > 2 and shape[0] == 1 else shape
    shape = shape[:-1] if len(shape) == 3 and shape[-1] == 1 else shape
    if len(shape) != 2:
        raise ValueError(
            f"{name} holds the shape {list(shape)}; expected one map [height, width] in each file of a sequence. Save "
            "it so, or name a single file with all maps."
        )
    return shape[0], shape[1]


def _as_map(array: np.ndarray) -> Tensor:
    import numpy as np
    import torch

    array = array[..., 0] if array.ndim == 3 else array
    return torch.from_numpy(np.array(array, np.float32))
