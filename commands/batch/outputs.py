"""The folder of a batch, which one program at a time has; outputs of a clip come into place all at once.

DIR/clips/NAME/...     a finished clip's files; a folder is there whole or not at all
DIR/.partial/PROMPT/   what is being fetched
DIR/replaced-N/        what `--start-over` moved aside; nothing is ever deleted but .partial

Links in place of these are not followed: somebody else may have put them there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...common.messages import few
from ..comfyui.answers import Maybe, fits
from ..comfyui.graph import Graph, title_of
from .errors import BatchError, ClipError
from .names import slug
from .sources import sha256_of

_FILE = {"filename": str, "subfolder": Maybe(str), "type": str}
CLIPS, PARTIAL, _LOCK = "clips", ".partial", ".lock"
_OF_A_RUN = ("journal.sqlite", "report.html")  # SQLite keeps further files beside a journal


class OutputFolder:
    """The folder of a batch. All writing of outputs goes through here, and none leaves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.clips, self._partial = self.folder / CLIPS, self.folder / PARTIAL
        for path in (self.clips, self._partial):
            refuse_link(path)
        self.clips.mkdir(parents=True, exist_ok=True)

    def place(self, name: str) -> Path:
        """Return the folder of a clip, whose name was checked when the manifest was read."""
        path = self.clips / name
        if path.parent != self.clips or path.resolve() != path:
            raise ClipError(f"The folder of {name!r} leads out of {self.clips}.")
        return path

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Refuse to work beside clips that the journal did not make.

        Args:
            known: names of the clips whose outputs the journal lists.

        Raises:
            BatchError: if there are others.
        """
        if unknown := sorted(path.name for path in self.clips.iterdir() if path.name not in known):
            raise BatchError(
                f"{self.clips} contains {few(unknown)}, which the journal beside it does not list: they are of another "
                f"run, or the journal was lost. Nothing was changed. Take another --out, move them away, or give "
                "--start-over, which moves all that is there aside and begins anew."
            )

    def begin(self, prompt_id: str) -> Path:
        """Return an empty folder to fetch a prompt's outputs into."""
        path = self._partial_of(prompt_id)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def publish(self, name: str, prompt_id: str) -> None:
        """Move what was fetched into place, in one step."""
        source, target = self._partial_of(prompt_id), self.place(name)
        _sync(source)
        if os.path.lexists(target):
            raise ClipError(f"{target} appeared while the clip ran, and is not replaced. Move it away, then retry.")
        os.replace(source, target)
        _sync(self.clips)

    def holds(self, folder: Path, outputs: list[dict[str, Any]]) -> bool:
        """Return whether a folder holds exactly these files, by their hashes."""
        if not folder.is_dir() or {path.name for path in folder.iterdir()} != {output["file"] for output in outputs}:
            return False
        return all(sha256_of(folder / output["file"]) == output["sha256"] for output in outputs)

    def finish(self, name: str, prompt_id: str, outputs: list[dict[str, Any]]) -> bool:
        """Finish what a killed client had begun to move; returns whether the outputs are now in place."""
        if self.holds(self.place(name), outputs):
            return True
        if os.path.lexists(self.place(name)) or not self.holds(self._partial_of(prompt_id), outputs):
            return False
        self.publish(name, prompt_id)
        return True

    def clean(self) -> None:
        """Throw away what was being fetched."""
        shutil.rmtree(self._partial, ignore_errors=True)

    def _partial_of(self, prompt_id: str) -> Path:
        return self._partial / slug(prompt_id)


def saved_files(
    outputs: Mapping[str, Mapping[str, Any]], bases: Mapping[str, str], graph: Graph
) -> list[tuple[str, dict[str, str]]]:
    """Return each saved file of a history's outputs with the name that it gets here.

    Args:
        outputs: what each node showed, by its number.
        bases: the name of each saving node's files, without number and suffix.
        graph: for messages.

    Raises:
        ClipError: if a saving node saved nothing.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for number in sorted(outputs, key=lambda number: list(graph).index(number) if number in graph else len(graph)):
        files = list(_files(outputs[number]))
        base = bases.get(number) or f"{slug(title_of(graph, number)) or 'output'}_{slug(number)}"
        for position, file in enumerate(files, 1):
            counted = base if len(files) == 1 else f"{base}_{position:05}"
            # The name is ours; of the server's only a plain suffix is taken over.
            suffix = re.search(r"\.[A-Za-z0-9]{1,8}$", file["filename"])
            found.append((_unused(counted, suffix[0].lower() if suffix else "", found), file))
    if missing := [title_of(graph, number) for number in bases if not any(_files(outputs.get(number, {})))]:
        raise ClipError(f"It ended, but {', '.join(map(repr, missing))} saved nothing. Look at the server's log.")
    return found


def _unused(name: str, suffix: str, found: Sequence[tuple[str, Any]]) -> str:
    """Return a file name that none of the found has; nodes that only the server knows may share one."""
    taken, more = {other.lower() for other, _ in found}, ""
    while f"{name}{more}{suffix}".lower() in taken:
        more = f"_{int(more[1:] or 1) + 1}"
    return f"{name}{more}{suffix}"


def _files(shown: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for entries in shown.values():
        for entry in entries if isinstance(entries, list) else ():
            if fits(entry, _FILE) and entry["type"] == "output" and entry["filename"]:
                yield entry


def _sync(folder: Path) -> None:
    """Bring a folder's entries to the disk, where the system can do that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def refuse_link(path: Path) -> None:
    """Raise BatchError if there is a link in place of a file or folder of the batch."""
    if path.is_symlink():
        raise BatchError(
            f"{path} is a link, which a batch neither makes nor follows. Remove it, or take another folder."
        )


def move_aside(folder: Path) -> Path | None:
    """Move journal, clips and report of an earlier run into a new folder beside them; returns it, `None` if none is."""
    left = [path for path in folder.iterdir() if path.name in (CLIPS, PARTIAL) or path.name.startswith(_OF_A_RUN)]
    if not left:
        return None
    number = 1
    while os.path.lexists(aside := folder / f"replaced-{number}"):
        number += 1
    aside.mkdir()
    for path in left:
        os.replace(path, aside / path.name)  # a link moves as a link
    _sync(folder)
    return aside


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder for the block; a killed program leaves no lock behind.

    Raises:
        BatchError: if another program has it, or its file system does not support locks.
    """
    refuse_link(folder / _LOCK)
    with open(folder / _LOCK, "a+b") as file:
        try:
            _lock(file.fileno())
        except (BlockingIOError, PermissionError) as error:
            raise BatchError(f"Another program runs a batch into {folder}. Wait for it, or stop it.") from error
        except OSError as error:
            raise BatchError(
                f"Cannot lock {folder}: this file system does not support file locks. Choose a folder on a local disk."
            ) from error
        yield


def _lock(handle: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
