"""The file of a result: what it holds, how it is checked, written, and read back to go on from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...common.messages import json_fault
from ...common.paths import files_in, is_file
from ...common.whole_file import whole_file

FORMAT, VERSION = "exo2ego.gpu", 1
STATES = ("done", "failed", "left out", "stopped")

_NUMBER = (int, float, type(None))
# What a row holds, and of which types; `measure.compare.Row` makes them.
_ROW: dict[str, tuple[type, ...]] = {
    "tokens": (int,),
    "layout": (str,),
    "case": (str,),
    **dict.fromkeys(("seconds", "ratio", "cpu_ratio", "extra_bytes", "held_bytes", "error"), _NUMBER),
    "empty": (str,),
    **dict.fromkeys(("ratio_low", "ratio_high"), _NUMBER),
    "against": (str,),
    "note": (str,),
    "estimates": (dict, type(None)),
}
_MACHINE = ("device", "card", "memory", "capability", "driver", "cuda", "torch", "python", "system")


class ResultError(ValueError):
    """A file is no result, or one of another version."""


@dataclass
class Section:
    """What a section found.

    Attributes:
        state: one of STATES.
        rows: as `measure.compare.Row` has them.
        why: it failed or was left out.
        seconds: that it took.
    """

    state: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    why: str = ""
    seconds: float = 0.0


@dataclass
class Result:
    """A whole result.

    Attributes:
        pack: version of this pack.
        date: when it was begun, as YYYY-MM-DD.
        machine: card, driver, versions.
        plan: sizes that were chosen.
        sections: by name, in the order in which they ran.
    """

    pack: str
    date: str
    machine: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write it as a file has it."""
        sections = {name: vars(section) for name, section in self.sections.items()}
        content = {"format": FORMAT, "version": VERSION, "pack": self.pack, "date": self.date}
        content |= {"machine": self.machine, "plan": self.plan, "sections": sections}
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        with whole_file(path) as unfinished:
            unfinished.write_text(self.to_json(), encoding="utf-8")

    @property
    def title(self) -> str:
        """Card and versions in a line."""
        machine = self.machine
        if machine.get("device") != "cuda":
            return f"no card: a trial on the CPU, PyTorch {machine.get('torch', '')}"
        memory = f"{machine['memory'] / 1e9:.0f} GB"
        triton = machine.get("triton") or machine.get("triton-windows") or "none"
        return (
            f"{machine['card']}, {memory}, driver {machine['driver']}, PyTorch {machine['torch']}, Triton {triton}, "
            f"{self.date}"
        )


def read_result(path: Path) -> Result:
    """Read a result.

    Raises:
        ResultError: naming the file and what is wrong with it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"{path} cannot be read: {json_fault(error)}. Run the command `gpu` again.") from error
    if faults := check(content):
        raise ResultError(f"{path} is not a result of the command `gpu`: {faults[0]}. Run the command again.")
    sections = {name: Section(**section) for name, section in content["sections"].items()}
    return Result(content["pack"], content["date"], content["machine"], content["plan"], sections)


def results_in(folder: Path) -> list[Result]:
    """Read every result of a folder, by name.

    Raises:
        ResultError: for the first file that is none.
    """
    return [read_result(path) for path in files_in(folder, "*.json")]


def kept(path: Path) -> Result | None:
    """Return the result to go on from, or None where there is no file.

    Raises:
        ResultError: if the file is no result.
    """
    return read_result(path) if is_file(path) else None


def check(content: Any) -> list[str]:
    """Return what is wrong with what a file holds, in the order in which it is met."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        return [f"its format is not {FORMAT}"]
    if content.get("version") != VERSION:
        return [f"its version is {content.get('version')}, expected {VERSION}"]
    faults = [f"it lacks {name}" for name in ("pack", "date", "machine", "plan", "sections") if name not in content]
    if faults:
        return faults
    for name, kind in (("pack", str), ("date", str), ("machine", dict), ("plan", dict), ("sections", dict)):
        if not isinstance(content[name], kind):
            return [f"{name} is not {kind.__name__}"]
    faults = [f"machine lacks {name}" for name in _MACHINE if name not in content["machine"]]
    for name, section in content["sections"].items():
        faults += [f"section {name}: {fault}" for fault in _check_section(section)]
    return faults


def _check_section(section: Any) -> list[str]:
    expected = {"state", "rows", "why", "seconds"}
    if not isinstance(section, dict) or set(section) != expected:
        return [f"expected {', '.join(sorted(expected))}"]
    faults = [] if section["state"] in STATES else [f"its state is {section['state']!r}"]
    if section["state"] in ("failed", "left out") and not section["why"]:
        faults.append("it does not say why")
    if not isinstance(section["rows"], list):
        return [*faults, "its rows are not a list"]
    for row in section["rows"]:
        faults += _check_row(row)
    return faults


def _check_row(row: Any) -> list[str]:
    if not isinstance(row, dict) or set(row) != set(_ROW):
        return ["a row has not the expected fields"]
    case = row["case"]
    faults = [f"{case}: {name} is {row[name]!r}" for name, types in _ROW.items() if not _is(row[name], types)]
    numbers = [row[name] for name in ("seconds", "ratio", "extra_bytes", "error")]
    if not row["empty"] and all(number is None for number in numbers):
        faults.append(f"{case}: it has no number and does not say why")
    return faults


def _is(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, types) and not (isinstance(value, float) and not math.isfinite(value))
