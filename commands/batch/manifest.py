"""Read a manifest: JSON, JSONL or CSV with one clip a row, EgoX's meta.json, or a folder of takes.

A row is a mapping of column to value. The column `name` is the clip's name; the others are inputs of the workflow.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...takes.egox.layout import DATASET_KEY, META_FILE, names_in_meta
from .errors import BatchError
from .names import folded, name_problem

NAME = "name"
_COLUMNS_OF_ONE_OBJECT = "clips"


@dataclass(frozen=True)
class Row:
    """One clip as the manifest has it.

    Attributes:
        name: the clip's name, unique and harmless as a folder's.
        where: the place in the manifest, for messages.
        values: column and value; empty cells are left out.
        is_text: whether every value is text (CSV), to be turned into the input's own type.
    """

    name: str
    where: str
    values: dict[str, Any]
    is_text: bool = False


@dataclass(frozen=True)
class Manifest:
    """All clips.

    Attributes:
        rows: in the manifest's order.
        folder: what relative paths start from.
        source: the file or folder, for messages.
        root: the folder whose files alone may be sent; `None`: any.
    """

    rows: list[Row]
    folder: Path
    source: str
    root: Path | None = None


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest of any form.

    Args:
        path: the file, or the folder of takes.
        root: the folder whose files alone its rows may send; `None`: any that the user can read.

    Raises:
        BatchError: if it cannot be read, has no clip, or names that are unsafe or used twice.
    """
    if path.is_dir():
        rows, folder = _takes_below(path), path
    elif not path.is_file():
        raise BatchError(f"There is no manifest {path}. Give a JSON, JSONL or CSV file, or a folder of takes.")
    else:
        rows, folder = _rows_of_file(path), path.parent
    if not rows:
        raise BatchError(f"{path} contains no clips.")
    _check_names(rows, str(path))
    if root is not None and not root.is_dir():
        raise BatchError(f"--root {root} is not a folder.")
    return Manifest(rows, folder, str(path), root and root.resolve())


def _rows_of_file(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a mark before their CSV
    except (OSError, UnicodeDecodeError) as error:
        raise BatchError(f"{path} cannot be read: {error}. Save it as UTF-8.") from error
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(text, path)
    if suffix in (".jsonl", ".ndjson"):
        return _named((f"line {n}", _json(line, f"{path}, line {n}")) for n, line in _lines(text))
    if suffix != ".json":
        raise BatchError(f"{path}: expected a .json, .jsonl or .csv file, or a folder of takes.")
    content = _json(text, str(path))
    if isinstance(content, dict) and (DATASET_KEY in content or "ego_extrinsics" in content):
        return _takes_of_meta(path)
    if isinstance(content, dict):
        content = content.get(_COLUMNS_OF_ONE_OBJECT)
    if not isinstance(content, list):
        raise BatchError(f'{path}: expected a list of clips, or {{"clips": [...]}}, or EgoX\'s {META_FILE}.')
    return _named((f"clip {n}", entry) for n, entry in enumerate(content, 1))


def _csv(text: str, path: Path) -> list[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a long cell is its row's matter
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if len(set(header)) != len(header) or "" in header:
            raise BatchError(f"{path}: every column needs a name of its own; the first line is {header}.")
        entries = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise BatchError(f"{path}, line {reader.line_num}: {len(cells)} cells, {len(header)} columns.")
            entries.append((f"line {reader.line_num}", dict(zip(header, cells))))
    except csv.Error as error:
        raise BatchError(f"{path}, line {reader.line_num}: {error}.") from error
    return _named(entries, is_text=True)


def _named(entries: Iterable[tuple[str, Any]], *, is_text: bool = False) -> list[Row]:
    """Make rows of mappings; one without a name is called after its number."""
    rows = []
    for number, (where, entry) in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise BatchError(f"{where}: expected an object of column and value, got {str(entry)[:40]!r}.")
        values = {column: value for column, value in entry.items() if value is not None and value != ""}
        name = values.pop(NAME, f"clip_{number:05}")
        if not isinstance(name, str):
            name = str(name)
        rows.append(Row(name, where, values, is_text))
    return rows


def _takes_of_meta(path: Path) -> list[Row]:
    """Return a row for every take of EgoX's meta.json, which lies in its dataset's folder."""
    folder, names = path.parent.resolve(), names_in_meta(path)
    if not names:
        raise BatchError(f"{path} contains no takes: expected entries with an exo_path under {DATASET_KEY!r}.")
    if path.name != META_FILE:
        raise BatchError(f"{path}: a dataset's file must be called {META_FILE} and lie in the dataset's folder.")
    if names == (None,):
        return [Row(folder.name, str(path), {"take": str(folder)})]
    return [Row(str(name), f"take {name}", {"take": f"{folder}#{name}"}) for name in names]


def _takes_below(folder: Path) -> list[Row]:
    """Return a row for every take in the folders of a folder, or for the folder itself."""
    if (folder / META_FILE).is_file():
        return _takes_of_meta(folder / META_FILE)
    rows = [row for path in sorted(folder.glob(f"*/{META_FILE}")) for row in _takes_of_meta(path)]
    if not rows:
        raise BatchError(f"{folder} contains no takes: no folder in it has a {META_FILE}.")
    return rows


def _check_names(rows: list[Row], source: str) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        if problem := name_problem(row.name):
            raise BatchError(f"{source}, {row.where}: the clip's name {row.name!r} is refused: {problem}.")
        if (other := seen.setdefault(folded(row.name), row)) is not row:
            raise BatchError(
                f"{source}: {other.where} and {row.where} are called {other.name!r} and {row.name!r}, which is one "
                "name on some systems. Every clip needs its own."
            )


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BatchError(f"{where} is not valid JSON: {error}.") from error


def _lines(text: str) -> list[tuple[int, str]]:
    # Not splitlines: a JSON text may hold U+2028, which that would take for the end of a line.
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
