"""Runs the measuring process, writes down what it tells, and starts it anew where a case has ended it."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .results import Result, Section

# Seconds between looks at the clock, until a stopped process is killed, and that a section may take beyond its share:
# compilers of kernels and models that are loaded take their time.
_TICK, _GRACE, _OVERTIME = 0.2, 0.5, 150.0
_MOST_STARTS = 6  # of the process; cards that fail oftener need another tool
_LINE = 400
_PACK = Path(__file__).resolve().parents[2]

Write = Callable[[Result], None]


class UnusableError(Exception):
    """There is no card, or no library to measure it with."""


@dataclass
class Run:
    """A run of the command.

    Attributes:
        result: what was found so far; its sections that are done are not measured again.
        sections: to be measured, in their order.
        device: `cuda` or `cpu`.
        budget: seconds for all sections.
        comfyui: ComfyUI's folder, or None.
        write: called after every row.
        show: called with lines for people.
        command: of the measuring process, which gets its job as one more word.
    """

    result: Result
    sections: Sequence[str]
    device: str
    budget: float
    comfyui: Path | None
    write: Write
    show: Callable[[str], None]
    command: Sequence[str] = (sys.executable, str(_PACK), "gpu", "--worker")
    _skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    _section: str = ""
    _case: str = ""
    _late: float = float("inf")
    _end: float = 0.0

    def measure(self) -> None:
        """Measure every section.

        Raises:
            UnusableError: if nothing can be measured.
            KeyboardInterrupt: as it came; what was found is written.
        """
        self._end = time.monotonic() + self.budget
        for _ in range(_MOST_STARTS):
            left = [name for name in self.sections if not self._is_over(name)]
            if not left:
                return
            self._measure(left)
        for name in self.sections:
            if not self._is_over(name):
                self._close("failed", f"the measuring process ended {_MOST_STARTS} times", name)

    def _is_over(self, name: str) -> bool:
        section = self.result.sections.get(name)
        return section is not None and section.state != "stopped"

    def _measure(self, sections: list[str]) -> None:
        job = {
            "device": self.device,
            "sections": sections,
            "seconds": max(0.0, self._end - time.monotonic()),
            "skipped": self._skipped,
            "plan": self.result.plan or None,
            "budget": self.budget,
            "comfyui": None if self.comfyui is None else str(self.comfyui),
        }
        self._section = self._case = ""
        self._late = float("inf")
        process = subprocess.Popen(
            [*self.command, json.dumps(job)],
            stdin=subprocess.PIPE,  # never written to: it closes when this process is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is this process's to answer
        )
        lines: queue.Queue[str | None] = queue.Queue()
        last: list[str] = []
        readers = [
            threading.Thread(target=_read, args=(process.stdout, lines.put, lambda: lines.put(None)), daemon=True),
            threading.Thread(target=_read, args=(process.stderr, last.append, lambda: None), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            self._listen(lines)
        except KeyboardInterrupt:
            if self._section:
                self._close("stopped", "")
            raise
        finally:
            stop(process)
            readers[1].join(timeout=_GRACE)
        self._ended(process.returncode, last)

    def _listen(self, lines: queue.Queue[str | None]) -> None:
        """Take in events until the process ends or a section takes far too long."""
        while True:
            try:
                line = lines.get(timeout=_TICK)
            except queue.Empty:
                if time.monotonic() > self._late:
                    return
                continue
            if line is None:
                return
            with suppress(ValueError):
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "unusable":
            raise UnusableError(event["why"])
        if kind == "machine":
            self.result.machine, self.result.plan = event["machine"], event["plan"]
            for line in [self.result.title, *event["lines"]]:
                self.show(line)
        elif kind == "version":
            self.result.machine[event["name"]] = event["version"]
        elif kind == "section":
            self._section, self._case = event["section"], ""
            self.result.sections[self._section] = Section("stopped")
            self._late = time.monotonic() + 2 * event["seconds"] + _OVERTIME
            number = list(self.sections).index(self._section) + 1
            self.show(f"\n[{number}/{len(self.sections)}] {self._section}, about {event['seconds']:.0f} s")
        elif kind == "case":
            self._case = event["case"]
        elif kind == "row":
            self.result.sections[event["section"]].rows.append(event["row"])
            self.show(told(event["row"]))
            self.write(self.result)
        elif kind == "end":
            self._close(event["state"], event["why"], seconds=event["seconds"])

    def _close(self, state: str, why: str, name: str = "", seconds: float = 0.0) -> None:
        section = self.result.sections.setdefault(name or self._section, Section(state))
        section.state, section.why, section.seconds = state, why[:_LINE], round(seconds, 1)
        if why:
            self.show(f"{name or self._section} {state}: {section.why}")
        self._section = self._section if name else ""
        self.write(self.result)

    def _ended(self, code: int, last: list[str]) -> None:
        """Note which case ended the process: the next one leaves it out."""
        if not self._section and code == 0:
            return
        why = f"it ended the measuring process (exit code {code})"
        if time.monotonic() > self._late:
            why = "it took too long and was stopped"
        told_last = next((line.strip() for line in reversed(last) if line.strip()), "")
        if told_last:
            why += f": {told_last[:_LINE]}"
        if not self._section and not self.result.machine:
            raise UnusableError(f"the measuring process could not start: {told_last or code}")
        if self._section and not self._case:
            self._close("failed", why)
        elif self._section:
            self._skipped.setdefault(self._section, {})[self._case] = why
            self.show(f"{self._case}: {why}; the section begins anew without it")


def told(row: dict[str, Any]) -> str:
    """Write a row as the terminal shows it."""
    if row["empty"]:
        return f"  {row['case']}: none, {row['empty']}"
    parts = []
    if row["seconds"] is not None:
        parts.append(f"{row['seconds'] * 1e3:,.1f} ms" if row["seconds"] < 10 else f"{row['seconds']:,.1f} s")
    if row["ratio"] is not None and row["case"] != row["against"]:
        spread = "" if row["ratio_low"] is None else f" ({row['ratio_low']:.3f} to {row['ratio_high']:.3f})"
        parts.append(f"{row['ratio']:.3f} of {row['against'] or 'plain'}{spread}")
    if row["extra_bytes"] is not None:
        parts.append(f"{row['extra_bytes'] / 1e6:,.0f} MB")
    parts += [f"estimate, {whose}: {size / 1e6:,.0f} MB" for whose, size in (row["estimates"] or {}).items()]
    if row["error"] is not None:
        parts.append(f"error {row['error']:.1e}")
    note = f" ({row['note']})" if row["note"] else ""
    return f"  {row['case']}: {', '.join(parts)}{note}"


def stop(process: subprocess.Popen) -> None:
    """End a process: asked first, then by force. Takes half a second at most."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(stream: Any, take: Callable[[str], None], end: Callable[[], None]) -> None:
    for line in stream:
        take(line)
    end()
