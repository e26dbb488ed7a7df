"""What a batch tells while it runs: a live panel in a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
import shutil
import time
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO

from ...common.safe_text import for_terminal, one_line
from .journal import DONE, FAILED

_REDRAW_SECONDS = 0.2
_BAR = 24
_LATEST_LINES = 6


class Tally:
    """Counts of a run, and what each server is at."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.total, self.done, self.failed = sum(counts.values()), counts[DONE], counts[FAILED]
        self.servers: dict[str, str] = {}
        self.running: dict[str, dict[str, dict[str, Any]]] = {}
        self._start, self._ended = time.monotonic(), 0

    def take(self, kind: str, data: Mapping[str, Any]) -> None:
        """Count an event."""
        server, clip = data.get("server"), data.get("clip")
        if kind in ("server up", "server down"):
            self.servers[data["server"]] = kind.removeprefix("server ")
        if kind == "progress":
            self.running.setdefault(data["server"], {})[data["clip"]] = dict(data)
        if kind in ("done", "failed", "queued again"):
            self.running.get(str(server), {}).pop(clip, None)
        if kind in ("done", "failed"):
            self.done, self.failed = self.done + (kind == "done"), self.failed + (kind == "failed")
            self._ended += server is not None  # what fails here takes no time

    def eta(self) -> float | None:
        """Return the seconds that are left, by the pace so far."""
        left = self.total - self.done - self.failed
        return (time.monotonic() - self._start) / self._ended * left if self._ended else None

    def line(self) -> str:
        """Return the counts in one line."""
        eta = self.eta()
        rest = "" if eta is None else f", about {_duration(eta)} left"
        return f"{self.done + self.failed} of {self.total} clips: {self.done} done, {self.failed} failed{rest}"


class Lines:
    """One line for whatever ends or needs attention."""

    def __init__(self, tally: Tally, out: TextIO) -> None:
        self._tally, self._out = tally, out

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Print an event."""
        if (text := describe(kind, data)) is not None:
            counts = f" [{self._tally.line()}]" if kind in ("done", "failed") else ""
            print(for_terminal(text + counts), file=self._out, flush=True)

    def tick(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing to tidy."""


class JsonLines:
    """Every event as a JSON object on a line of its own."""

    def __init__(self, tally: Tally, out: TextIO) -> None:
        self._tally, self._out = tally, out

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Print an event."""
        counts = {"done": self._tally.done, "failed": self._tally.failed, "total": self._tally.total}
        entry = {"event": kind, "time": round(time.time(), 3), **data, "counts": counts}
        print(json.dumps(entry, ensure_ascii=True), file=self._out, flush=True)

    def tick(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing to tidy."""


class Panel:
    """A panel that is drawn over itself: the counts, each server with clip, node and step, and the latest lines."""

    def __init__(self, tally: Tally, out: TextIO) -> None:
        self._tally, self._out = tally, out
        self._latest: list[str] = []
        self._height, self._drawn = 0, 0.0

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take an event in; the next drawing shows it."""
        if kind != "done" and (text := describe(kind, data)) is not None:
            self._latest = [*self._latest, text.splitlines()[0]][-_LATEST_LINES:]
        self.tick()

    def tick(self) -> None:
        """Draw, unless that was done just now."""
        if time.monotonic() - self._drawn > _REDRAW_SECONDS:
            self._draw()

    def close(self) -> None:
        """Draw the last state and leave it there."""
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        size = shutil.get_terminal_size()
        lines = [_cut(line, size.columns - 1) for line in self._lines()][: size.lines - 1]
        up = f"\x1b[{self._height}A" if self._height else ""
        self._out.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        self._out.flush()
        self._height = len(lines)

    def _lines(self) -> list[str]:
        tally = self._tally
        share = (tally.done + tally.failed) / tally.total if tally.total else 1
        bar = "#" * int(share * _BAR)
        lines = [f"[{bar:.<{_BAR}}] {tally.line()}"]
        for server, state in sorted(tally.servers.items()):
            at = [_at(progress) for progress in tally.running.get(server, {}).values()]
            lines.append(f"  {server}  " + ("does not answer" if state == "down" else "; ".join(at) or "idle"))
        return lines + self._latest


def describe(kind: str, data: Mapping[str, Any]) -> str | None:
    """Return an event in words; `None` for those that come too often for a log."""
    clip, server = data.get("clip"), data.get("server")
    if kind == "done":
        return f"done: {clip} ({server})"
    if kind == "failed":
        return f"FAILED: {clip}: {data['error']}"
    if kind == "queued again":
        return f"queued again: {clip} ({server}: {data['reason']})"
    if kind == "waiting":
        return f"waiting: {clip} ({server}: {data['reason']})"
    if kind == "warning":
        return f"warning: {clip}: {data['reason']}"
    if kind == "server up":
        return f"{server} is up"
    if kind == "server down":
        return f"{server} does not answer; trying again ({data['reason']})"
    return None


def _cut(text: str, cells: int) -> str:
    """Return what of a text fits into so many cells of a terminal, where East Asian letters take two."""
    kept = []
    for letter in one_line(text):  # a node's message may hold colours
        cells -= 0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if cells < 0:
            break
        kept.append(letter)
    return "".join(kept)


def _at(progress: Mapping[str, Any]) -> str:
    step = f" {progress['step']:g}/{progress['steps']:g}" if "steps" in progress else ""
    return f"{progress['clip']}: {progress['node']}{step}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
