"""Files of this machine that a clip needs on a server: found, hashed, and named so that equal content is sent once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ...common.file_inputs import FileInput, FileKind
from ...takes.ego_exo4d.layout import open_take, takes_on_disk
from ...takes.egox.layout import EXO_FILE, META_FILE, VIDEOS_FOLDER, files_of_take, names_in_meta
from ...takes.files import split_named
from ...takes.listing import Memo, depth_files_of, file_or_files_in, pictures_of
from ..comfyui.client import Upload
from .errors import ClipError

# Below ComfyUI's input folder, and as the prefix of what is saved in its output folder.
SERVER_FOLDER = "exo2ego_batch"

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


@dataclass(frozen=True)
class Here:
    """Where a manifest's paths lead on this machine.

    Attributes:
        folder: where relative ones start.
        root: the folder that they must not leave, links followed; `None`: they may lead anywhere.
    """

    folder: Path
    root: Path | None = None

    def check(self, path: Path, value: str) -> None:
        """Raise ClipError if a path lies outside the root."""
        if self.root is not None and not path.resolve().is_relative_to(self.root):
            raise ClipError(f"{value!r} lies outside --root {self.root}: only files of that folder are sent.")


def source_of(value: Any, names: FileInput | None, here: Here) -> Source | None:
    """Find what a value sends to the server; `None` where it is a plain value.

    Args:
        value: as the manifest has it: `upload:PATH` always sends, `input:NAME` never does, and any other text does
            where the input names a file.
        names: which files the input names; `None` where it names none.
        here: where paths lead.

    Raises:
        ClipError: if the file is missing, or outside the root.
    """
    if not isinstance(value, str) or value.startswith(ON_SERVER):
        return None
    if value.startswith(UPLOAD):
        value = value.removeprefix(UPLOAD)
    elif names is None or value == names.built_in:
        return None
    source = _FINDERS[names.kind if names else FileKind.FILE](value, here)
    for path, _ in source.files:
        here.check(path, value)  # a take's own links
    return source


def _file(value: str, here: Here) -> Source:
    file, part = _named(value, here)
    if not file.is_file():
        raise ClipError(f"{value!r} is a folder; expected a file.")
    name = _tame(file.name)
    return Source(((file, name),), _joined(name, part))


def _take(value: str, here: Here) -> Source:
    path, take = _named(value, here)
    names = _names_in_meta(path / META_FILE) if (path / META_FILE).is_file() else ()
    if take not in names:
        known = ", ".join(f"{path.name}#{name}" for name in names if name) or f"a folder with a take's {META_FILE}"
        raise ClipError(f"{value!r} is not a take: expected {known}.")
    files = files_of_take(path, take)
    exo = (path / VIDEOS_FOLDER / take if take else path) / EXO_FILE
    if exo not in files:
        raise ClipError(f"The take {value!r} lacks {exo.relative_to(path)}.")
    return _below(path, {file.relative_to(path).as_posix(): file for file in files}, take)


def _ego_exo4d(value: str, here: Here) -> Source:
    path, name = _named(value, here)
    path = path.resolve()
    # Links may lead anywhere: these files are the user's own, and the server gets copies.
    limit = Path(path.anchor)
    if name is None:
        names = [_joined(path.name, known) for known in takes_on_disk(limit, path)[:12]]
        raise ClipError(f"{value!r} does not name a take: expected {', '.join(names) or 'FOLDER#TAKE'}.")
    try:
        take = open_take(limit, path, name)
        if not take.exo_videos() or not take.ego_videos():
            raise ClipError(f"The take {value!r} lacks its exo videos or its ego video: see {take.folder}.")
        return _below(path, take.files(), name)
    except (ValueError, OSError) as error:
        raise ClipError(str(error)) from error


def _keypoints(value: str, here: Here) -> Source:
    path = _existing(here, value)
    if path is None:
        raise _missing(value, here)
    try:
        files = file_or_files_in(path, ".json", value)
    except (ValueError, OSError) as error:
        raise ClipError(str(error)) from error
    return _file(value, here) if path.is_file() else _below(path, {file.name: file for file in files})


def _clip(value: str, here: Here, files_of: Callable[..., list[Path] | None] = pictures_of) -> Source:
    def find(text: str) -> Path:
        path = _existing(here, text)
        if path is None:
            raise ValueError(str(_missing(value, here)))
        return path

    try:
        pictures = files_of(here.folder, value, find)
    except (ValueError, OSError) as error:
        raise ClipError(str(error)) from error
    if pictures is None:
        return _file(value, here)
    # A pattern becomes a folder with the files that match it.
    return _below(pictures[0].parent, {file.name: file for file in pictures})


_FINDERS = {
    FileKind.FILE: _file,
    FileKind.TAKE: _take,
    FileKind.EGO_EXO4D: _ego_exo4d,
    FileKind.KEYPOINTS: _keypoints,
    FileKind.CLIP: _clip,
    FileKind.DEPTH: partial(_clip, files_of=depth_files_of),
}


def _below(folder: Path, files: Mapping[str, Path], part: str | None = None) -> Source:
    """Return the source of a folder's files, by their names below it, and of the part that is meant."""
    base = _tame(folder.name)
    return Source(tuple((file, f"{base}/{name}") for name, file in files.items()), _joined(base, part))


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


def _existing(here: Here, value: str) -> Path | None:
    try:
        path = here.folder / Path(value).expanduser()
        here.check(path, value)  # first: whether there is a file out there is nobody's business
        return path.absolute() if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no home, a circle of links
        return None


def _named(value: str, here: Here) -> tuple[Path, str | None]:
    """Find `PATH`, or `PATH#NAME`, on this machine."""

    def find(text: str) -> Path:
        path = _existing(here, text) if text else None
        if path is None:
            raise ValueError(text)
        return path

    try:
        return split_named(value, find)
    except ValueError:
        raise _missing(value, here) from None


def _joined(path: str, part: str | None) -> str:
    return path if part is None else f"{path}#{part}"


def _missing(value: str, here: Here) -> ClipError:
    return ClipError(
        f"There is no {value!r} (looked in {here.folder.absolute()}). Check the path; for a file that lies in the "
        f"servers' input folder already, write {ON_SERVER}{value}"
    )


def _tame(name: str) -> str:
    """Replace what a header, an address or another system's disk may stumble over; letters of every script stay."""
    return re.sub(r"\.\.+", "_", re.sub(r"[^\w .()#+-]", "_", name)).strip(" .") or "file"


# Clips share takes and cameras; a file that has not changed is read once a run.
_known_hash = Memo(sha256_of)
