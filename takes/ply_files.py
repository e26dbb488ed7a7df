"""PLY files: point clouds, meshes' corners and Gaussian splats, as colored points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..common.cancel import cancel_point
from ..common.file_inputs import FileKind
from ..common.memory import FLOAT, require_memory
from ..common.messages import few
from ..common.paths import is_file
from ..geometry.points.splat import color_of_splats, visible_points
from .files import check_file, resolve_inside
from .library import NamedInputs
from .listing import names_inside

if TYPE_CHECKING:
    import numpy as np

_LARGEST_HEADER = 2**16
_MOST_POINTS = 20_000_000
_AGAIN = "Export it again as PLY with x, y, z and colors, binary or ASCII."
_TYPES = {
    **{name: code for code, names in {
        "i1": ("char", "int8"), "u1": ("uchar", "uint8"), "i2": ("short", "int16"), "u2": ("ushort", "uint16"),
        "i4": ("int", "int32"), "u4": ("uint", "uint32"), "f4": ("float", "float32"), "f8": ("double", "float64"),
    }.items() for name in names}
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_WHITE = {"u1": 255.0, "u2": 65535.0}
_COLORS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_SPLAT = ("f_dc_0", "f_dc_1", "f_dc_2")
_GRAY = 0.5  # of points that have no color


@dataclass(frozen=True)
class _Header:
    """What the start of a file says.

    Attributes:
        order: "<", ">" or "" for text.
        count: of the points.
        properties: names and NumPy's codes of a point's numbers, in their order.
        size: bytes of the header.
    """

    order: str
    count: int
    properties: tuple[tuple[str, str], ...]
    size: int


def read_ply(path: Path) -> tuple[Tensor, Tensor]:
    """Read the points of a PLY file.

    Returns:
        Points and colors [N, 3] float32, colors in [0, 1]: gray where the file has none.

    Raises:
        ValueError: if the file is no PLY, truncated, or has no points that can be seen.
    """
    check_file(path)
    header = _read_header(path)
    names = [name for name, _ in header.properties]
    if missing := [axis for axis in "xyz" if axis not in names]:
        raise ValueError(f"{path.name} has no {few(missing)} among its {few(names, 8)}. {_AGAIN}")
    require_memory(
        FLOAT * header.count * (len(names) + 12), f"{header.count:,} points of {path.name}", "Export fewer points."
    )
    cancel_point()
    table = _read_table(path, header)
    points = _columns(table, ("x", "y", "z"))
    opacity = None
    if all(name in names for name in _SPLAT):
        colors = color_of_splats(_columns(table, _SPLAT))
        opacity = torch.sigmoid(_columns(table, ("opacity",))[:, 0]) if "opacity" in names else None
    else:
        found = next((three for three in _COLORS if all(name in names for name in three)), None)
        if found is None:
            colors = torch.full_like(points, _GRAY)
        else:
            white = _WHITE.get(dict(header.properties)[found[0]], 1.0)
            colors = (_columns(table, found) / white).clamp(0, 1)
    try:
        return visible_points(points, colors, opacity)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error} {_AGAIN}") from error


def _read_header(path: Path) -> _Header:
    try:
        with open(path, "rb") as file:
            start = file.read(_LARGEST_HEADER)
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror}). Check the file's rights.") from error
    place = start.find(b"end_header")
    end = start.find(b"\n", place)
    if not start.startswith(b"ply") or place < 0 or end < 0:
        raise ValueError(f"{path.name} is not a PLY file, or truncated. {_AGAIN}")
    order, element, count, properties = None, "", 0, []
    for line in start[:place].decode("latin-1").splitlines()[1:]:
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            order = _ORDERS.get(words[1])
        elif words[:1] == ["element"] and len(words) == 3:
            if element == "" and words[1] != "vertex":
                raise ValueError(f"{path.name} does not begin with its points, but with {words[1][:40]}. {_AGAIN}")
            element = words[1]
            if element == "vertex":
                count = int(words[2]) if words[2].isdigit() and len(words[2]) < 12 else 0
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _TYPES:
                raise ValueError(f"{path.name} has points with lists, or numbers of a kind that is not known. {_AGAIN}")
            properties.append((words[2], _TYPES[words[1]]))
    if order is None or not 0 < count <= _MOST_POINTS or len(dict(properties)) != len(properties):
        raise ValueError(
            f"{path.name} has {count:,} points; expected 1 to {_MOST_POINTS:,}, and a format that is known. {_AGAIN}"
        )
    return _Header(order, count, tuple(properties), end + 1)


def _read_table(path: Path, header: _Header) -> np.ndarray:
    import numpy as np

    kind = np.dtype([(name, f"{header.order}{code}") for name, code in header.properties])
    try:
        with open(path, "rb") as file:
            file.seek(header.size)
            if header.order:
                table = np.fromfile(file, kind, header.count)
            else:
                table = np.loadtxt(file, kind, max_rows=header.count, ndmin=1, usecols=range(len(kind)))
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path.name} is truncated or corrupt. Copy it again, or export it as binary PLY.") from error
    if len(table) < header.count:
        raise ValueError(
            f"{path.name} ends after {len(table):,} of its {header.count:,} points. Copy it again, or export it anew."
        )
    return table


def _columns(table: np.ndarray, names: tuple[str, ...]) -> Tensor:
    import numpy as np

    return torch.from_numpy(np.stack([table[name].astype(np.float32) for name in names], axis=-1))


def _list_scans(root: Path) -> list[str]:
    return [name for name in names_inside(root)[0] if name.lower().endswith(".ply")]


def _find_scan(root: Path, name: str) -> Path:
    path = resolve_inside(root, name)
    if not is_file(path):
        raise ValueError(f"{name!r} is a folder; choose a PLY file in it.")
    return path


def _none() -> tuple[Tensor, Tensor] | None:
    return None


# The built-in entry is none at all.
SCANS: NamedInputs[Path, tuple[Tensor, Tensor] | None] = NamedInputs(
    FileKind.FILE, _list_scans, _find_scan, lambda path: [path], read_ply, _none, built_in="none"
)
