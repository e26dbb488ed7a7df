"""The journal: what was done with each clip, in one SQLite file that survives being killed at any moment.

Every change is committed before the action that it stands for: a clip is `submitted` before it is sent, and its
outputs are listed with their hashes before they are moved into place. So whoever opens the journal after a crash knows
what may have happened, asks the server about it, and goes on.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BatchError
from .mapping import Job
from .outputs import refuse_link

FILE = "journal.sqlite"
VERSION = 1
QUEUED, SUBMITTED, RUNNING, DONE, FAILED = STATES = ("queued", "submitted", "running", "done", "failed")

WAYS_OUT = (
    "Nothing was changed. Restore the file from a backup, take another --out, or give `run --start-over`, which moves "
    "journal and clips aside and begins anew."
)

_TWO_64 = 2**64

_SCHEMA = """
CREATE TABLE clips (
    name TEXT PRIMARY KEY, position INTEGER, digest TEXT, state TEXT, attempts INTEGER DEFAULT 0,
    prompt_id TEXT, client_id TEXT, server TEXT, seed INTEGER,
    submitted REAL, started REAL, ended REAL, outputs TEXT, shown TEXT, error TEXT);
CREATE TABLE attempts (
    prompt_id TEXT PRIMARY KEY, name TEXT, server TEXT, submitted REAL, ended REAL, result TEXT);
CREATE TABLE servers (url TEXT PRIMARY KEY, client_id TEXT);
CREATE TABLE numbers (key TEXT PRIMARY KEY, numbers TEXT);
"""


@dataclass(frozen=True)
class Clip:
    """A clip's line in the journal; times are seconds since 1970.

    Attributes:
        outputs: file, sha256 and size of each output, once they were fetched.
        shown: what nodes showed beside files, by title, such as the coverage.
    """

    name: str
    position: int
    digest: str
    state: str
    attempts: int
    prompt_id: str | None
    client_id: str | None
    server: str | None
    seed: int | None
    submitted: float | None
    started: float | None
    ended: float | None
    outputs: list[dict[str, Any]] | None
    shown: dict[str, Any] | None
    error: str | None


class Journal:
    """An open journal."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        path = folder / FILE
        if not path.is_file() and not create:
            raise BatchError(f"There is no {FILE} in {folder}: no batch was run into that folder.")
        _refuse_links(folder)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")  # a power cut is a way of being killed too
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                with self._transaction():
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version={VERSION}")
            if version not in (0, VERSION):
                raise BatchError(
                    f"{path} is of version {version}; this program reads {VERSION}. Use the one that wrote it."
                )
            self._check(path)
        except sqlite3.OperationalError:
            raise  # locked, or a full disk: the file is what it was
        except sqlite3.DatabaseError as error:
            raise BatchError(f"{path} is not the journal of a batch, or is corrupted: {error}. {WAYS_OUT}") from error

    @classmethod
    def known_clips(cls, folder: Path) -> set[str]:
        """Return the clips whose outputs a folder's journal lists; none where it has no journal, which stays so."""
        _refuse_links(folder)
        if not (folder / FILE).is_file():
            return set()
        with closing(cls(folder)) as journal:
            return {clip.name for clip in journal.clips() if clip.outputs is not None}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _check(self, path: Path) -> None:
        """Read all of it once: a journal with flipped bytes must not be resumed from.

        Raises:
            BatchError: if something in it is not what this program writes.
            sqlite3.DatabaseError: if SQLite cannot read it.
        """
        faults = [row[0] for row in self._db.execute("PRAGMA quick_check(1)")]
        if faults != ["ok"]:
            raise sqlite3.DatabaseError(faults[0])
        try:
            wrong = next((problem for clip in self.clips() if (problem := _problem(clip))), None)
        except (ValueError, TypeError) as error:  # what is not JSON, a seed that is not a number
            wrong = str(error)
        if wrong:
            raise BatchError(f"{path} is corrupted, or of a newer version: {wrong}. {WAYS_OUT}")

    # Reading ----------------------------------------------------------------------------------------------------

    def clips(self, *states: str) -> list[Clip]:
        """Return the clips in the manifest's order, all or those in some states."""
        where = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        return [_clip(row) for row in self._db.execute(f"SELECT * FROM clips {where} ORDER BY position", states)]

    def counts(self) -> dict[str, int]:
        """Return how many clips are in each state."""
        found = dict(self._db.execute("SELECT state, COUNT(*) FROM clips GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def given_up(self, server: str) -> list[str]:
        """Return the prompts that a server was sent and that are not to run there any more."""
        query = "SELECT prompt_id FROM attempts WHERE server=? AND result='given up'"
        return [row[0] for row in self._db.execute(query, (server,))]

    def results(self, name: str, result: str) -> int:
        """Return how many of a clip's attempts ended in one way, since it was last queued by hand."""
        query = "SELECT COUNT(*) FROM attempts WHERE name=? AND result=?"
        return self._db.execute(query, (name, result)).fetchone()[0]

    # Changing ---------------------------------------------------------------------------------------------------

    def enter(self, jobs: Iterable[Job]) -> list[str]:
        """Put in new clips, queued; keep the others as they are.

        Returns:
            The names of finished or begun clips whose rows or workflow have changed since.
        """
        known = {clip.name: clip for clip in self.clips()}
        changed = []
        with self._transaction():
            for position, job in enumerate(jobs):
                clip = known.get(job.name)
                if clip is None:
                    self._db.execute(
                        "INSERT INTO clips (name, position, digest, state, seed) VALUES (?, ?, ?, ?, ?)",
                        (job.name, position, job.digest, QUEUED, _small(job.seed)),
                    )
                    continue
                if clip.digest != job.digest and clip.state in (SUBMITTED, RUNNING, DONE):
                    changed.append(job.name)
                self._set(job.name, position=position, digest=job.digest, seed=_small(job.seed))
            if changed:
                self._db.execute("ROLLBACK")
        return changed

    def client_id(self, server: str, new: str) -> str:
        """Return the number under which a server knows us: the same after a restart, so that its messages reach us."""
        self._db.execute("INSERT OR IGNORE INTO servers VALUES (?, ?)", (server, new))
        return self._db.execute("SELECT client_id FROM servers WHERE url=?", (server,)).fetchone()[0]

    def numbers(self, keys: Mapping[str, str], shown: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the numbers that nodes showed, and add those that equal nodes of other clips showed.

        Args:
            keys: `result_keys` of the clip's graph, by node.
            shown: numbers by node.

        Returns:
            Numbers by node.
        """
        known = dict(shown)
        with self._transaction():
            for number, key in keys.items():
                if number in shown:
                    values = (key, json.dumps(shown[number]))
                    self._db.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", values)
                elif row := self._db.execute("SELECT numbers FROM numbers WHERE key=?", (key,)).fetchone():
                    known[number] = json.loads(row[0])
        return known

    def submitted(self, name: str, server: str, prompt_id: str, client_id: str) -> None:
        """A clip is about to be sent."""
        now = time.time()
        with self._transaction():
            self._set(
                name, state=SUBMITTED, server=server, prompt_id=prompt_id, client_id=client_id, submitted=now,
                started=None, ended=None, outputs=None, shown=None, error=None,
            )  # fmt: skip
            self._db.execute("UPDATE clips SET attempts=attempts+1 WHERE name=?", (name,))
            self._db.execute(
                "INSERT INTO attempts (prompt_id, name, server, submitted) VALUES (?, ?, ?, ?)",
                (prompt_id, name, server, now),
            )

    def running(self, name: str) -> None:
        """A server has begun with a clip."""
        self._set(name, state=RUNNING, started=time.time())

    def fetched(self, name: str, outputs: list[dict[str, Any]], shown: dict[str, Any]) -> None:
        """A clip's outputs lie in the partial folder, whole; they are about to be moved into place."""
        self._set(name, outputs=json.dumps(outputs), shown=json.dumps(shown))

    def done(self, name: str) -> None:
        """A clip's outputs are in place."""
        self._end(name, DONE, "done", error=None)

    def failed(self, name: str, error: str) -> None:
        """A clip cannot be made."""
        self._end(name, FAILED, "failed", error=error, outputs=None)

    def queued(self, name: str, result: str) -> None:
        """A clip is to be sent anew.

        Args:
            name: the clip.
            result: what became of the last attempt: `lost`, `taken back`, or `given up` where its server may still
                have it.
        """
        self._end(name, QUEUED, result, outputs=None)

    def forgotten(self, prompt_id: str) -> None:
        """A prompt that was given up is gone from its server."""
        self._db.execute("UPDATE attempts SET result='forgotten' WHERE prompt_id=?", (prompt_id,))

    def retry(self, names: Iterable[str] | None = None) -> list[str]:
        """Queue failed clips anew, all or some; returns their names.

        Raises:
            BatchError: if a name is none of a failed clip.
        """
        failed = [clip.name for clip in self.clips(FAILED)]
        chosen = failed if names is None else list(names)
        if wrong := [name for name in chosen if name not in failed]:
            raise BatchError(f"No failed clip is called {', '.join(map(repr, wrong))}. Failed: {failed or 'none'}.")
        with self._transaction():
            for name in chosen:
                self._set(name, state=QUEUED, error=None)
                self._db.execute(
                    # What was given up is still to be stopped on its server.
                    "UPDATE attempts SET result=result || ', then retried' WHERE name=? AND result<>'given up'",
                    (name,),
                )
        return chosen

    def _end(self, name: str, state: str, result: str, **values: Any) -> None:
        now = time.time()
        with self._transaction():
            self._set(name, state=state, ended=now, **values)
            self._db.execute(
                "UPDATE attempts SET ended=?, result=? "
                "WHERE prompt_id=(SELECT prompt_id FROM clips WHERE name=?) AND result IS NULL",
                (now, result, name),
            )

    def _set(self, name: str, **values: Any) -> None:
        columns = ", ".join(f"{column}=?" for column in values)
        self._db.execute(f"UPDATE clips SET {columns} WHERE name=?", (*values.values(), name))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        if self._db.in_transaction:
            self._db.execute("COMMIT")


def _refuse_links(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):  # SQLite keeps the others beside a journal
        refuse_link(folder / f"{FILE}{suffix}")


def _problem(clip: Clip) -> str | None:
    """Return what in a clip's line is not what this program writes."""
    if clip.state not in STATES:
        return f"the clip {clip.name!r} is in the state {clip.state!r}; expected {', '.join(STATES)}"
    times = (clip.submitted, clip.started, clip.ended)
    outputs = clip.outputs if isinstance(clip.outputs, list) else [] if clip.outputs is None else [None]
    sound = (
        isinstance(clip.name, str)
        and all(time is None or isinstance(time, (int, float)) for time in times)
        and isinstance(clip.attempts, int)
        and all(isinstance(output, dict) and {"file", "sha256", "size"} <= set(output) for output in outputs)
        and (clip.shown is None or isinstance(clip.shown, dict))
    )
    return None if sound else f"the line of the clip {clip.name!r} cannot be read"


def _clip(row: sqlite3.Row) -> Clip:
    values = dict(row)
    for column in ("outputs", "shown"):
        values[column] = json.loads(values[column]) if values[column] else None
    if values["seed"] is not None and values["seed"] < 0:
        values["seed"] += _TWO_64
    return Clip(**values)


def _small(seed: int | None) -> int | None:
    """Return a seed as SQLite can hold it: ComfyUI's go to 2^64, SQLite's numbers to 2^63."""
    return seed if seed is None or seed < _TWO_64 // 2 else seed - _TWO_64
