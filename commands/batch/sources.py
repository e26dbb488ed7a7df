"""Files of this machine that a clip needs on a server: found, hashed, and named so that equal content is sent once."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...takes.egox.layout import EXO_FILE, META_FILE, VIDEOS_FOLDER, files_of_take, names_in_meta
from ...takes.listing import Memo
from ..comfyui.client import Upload
from .errors import ClipError

# Below ComfyUI's input folder, and as the prefix of what is saved in its output folder.
SERVER_FOLDER = "exo2ego_batch"

# Node types and inputs that name a file of the input folder.
FILE_INPUTS = {
    ("LoadVideo", "file"),
    ("LoadImage", "image"),
    ("LoadImageMask", "image"),
    ("LoadAudio", "audio"),
    ("Exo2EgoCameraFile", "file"),
    ("Exo2EgoDepth", "file"),
}
TAKE_INPUTS = {("Exo2EgoLoadTake", "take")}
# What these inputs take beside files.
BUILT_IN = {"example room", "none"}

UPLOAD, ON_SERVER = "upload:", "input:"
_CHUNK = 1 << 20

# A dataset's file is asked once a row.
_names_in_meta = Memo(names_in_meta)


@dataclass(frozen=True)
class Source:
    """A file, or a take's files, to be sent.

    Attributes:
        files: each path here and its place below the upload's own folder.
        value: what the input says, below the upload's own folder.
    """

    files: tuple[tuple[Path, str], ...]
    value: str


def source_of(value: Any, kind: tuple[str, str], folder: Path) -> Source | None:
    """Find what a value sends to the server; `None` where it is a plain value.

    Args:
        value: as the manifest has it: `upload:PATH` always sends, `input:NAME` never does, and any other text does
            where the input names a file.
        kind: the node's type and the input.
        folder: where relative paths start.

    Raises:
        ClipError: if the file is missing.
    """
    if not isinstance(value, str) or value.startswith(ON_SERVER):
        return None
    if value.startswith(UPLOAD):
        value = value.removeprefix(UPLOAD)
    elif kind not in FILE_INPUTS | TAKE_INPUTS or value in BUILT_IN:
        return None
    return _take(value, folder) if kind in TAKE_INPUTS else _file(value, folder)


def _file(value: str, folder: Path) -> Source:
    path = _existing(folder, value)
    file, mark, take = (path, "", "") if path is not None else _split(value, folder)
    if file is None:
        raise _missing(value, folder)
    if not file.is_file():
        raise ClipError(f"{value!r} is a folder; expected a file.")
    name = _tame(file.name)
    return Source(((file, name),), name + mark + take)


def _take(value: str, folder: Path) -> Source:
    path = _existing(folder, value)
    take: str | None = None
    if path is None:
        path, _, take = _split(value, folder)
    if path is None:
        raise _missing(value, folder)
    names = _names_in_meta(path / META_FILE) if (path / META_FILE).is_file() else ()
    if take not in names:
        known = ", ".join(f"{path.name}#{name}" for name in names if name) or f"a folder with a take's {META_FILE}"
        raise ClipError(f"{value!r} is no take: expected {known}.")
    files = files_of_take(path, take)
    exo = (path / VIDEOS_FOLDER / take if take else path) / EXO_FILE
    if exo not in files:
        raise ClipError(f"The take {value!r} lacks {exo.relative_to(path)}.")
    base = _tame(path.name)
    placed = tuple((file, f"{base}/{file.relative_to(path).as_posix()}") for file in files)
    return Source(placed, base if take is None else f"{base}#{take}")


def uploads_of(source: Source) -> tuple[str, list[Upload]]:
    """Hash a source's files; return the input's value on a server, and the uploads. Reads the files whole.

    Raises:
        ClipError: if a file cannot be read.
    """
    try:
        digest = hashlib.sha256()
        for path, place in source.files:
            digest.update(f"{place}\0{_known_hash(path)}\0".encode())
        top = f"{SERVER_FOLDER}/{digest.hexdigest()[:16]}"
        uploads = [
            Upload(path, str(PurePosixPath(top, place).parent), PurePosixPath(place).name, path.stat().st_size)
            for path, place in source.files
        ]
    except OSError as error:
        raise ClipError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return f"{top}/{source.value}", uploads


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _existing(folder: Path, value: str) -> Path | None:
    if "\0" in value:
        return None
    path = folder / Path(value).expanduser()
    try:
        return path.absolute() if path.exists() else None
    except OSError:  # a name too long
        return None


def _split(value: str, folder: Path) -> tuple[Path | None, str, str]:
    """Split `PATH#NAME`; a `#` may belong to the path too: the longest path that exists counts."""
    for place in range(len(value) - 1, 0, -1):
        if value[place] == "#" and (path := _existing(folder, value[:place])) is not None:
            return path, "#", value[place + 1 :]
    return None, "", ""


def _missing(value: str, folder: Path) -> ClipError:
    return ClipError(
        f"There is no {value!r} (looked in {folder.absolute()}). Check the path; for a file that lies in the servers' "
        f"input folder already, write {ON_SERVER}{value}"
    )


def _tame(name: str) -> str:
    """Replace what a header, an address or another system's disk may stumble over; letters of every script stay."""
    return re.sub(r"\.\.+", "_", re.sub(r"[^\w .()#+-]", "_", name)).strip(" .") or "file"


# Clips share takes and cameras; a file that has not changed is read once a run.
_known_hash = Memo(sha256_of)
