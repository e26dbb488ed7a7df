"""The list of `training screen`: which takes are fit to train on, and why others are not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...common.messages import json_fault
from ...common.whole_file import whole_file

FORMAT = "exo2ego_screened"
FORMAT_VERSION = 1

_AGAIN = "Run `training screen` with this recipe."


@dataclass(frozen=True)
class Verdict:
    """What was found of a take.

    Attributes:
        name: of the take.
        reasons: sentences why it is not fit, by the checks' names; a take without any is kept.
        notes: sentences on what to look at.
        measured: figures behind them.
        made: what it depends on: the take's files and the screen's settings.
        sheet: its contact sheet beside the list, where there is one.
    """

    name: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    measured: Mapping[str, float] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    sheet: str | None = None

    @property
    def is_kept(self) -> bool:
        """Whether it is fit to train on."""
        return not self.reasons


def write_screened(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Write the list, whole or not at all."""
    takes = [{"name": verdict.name, "kept": verdict.is_kept, **asdict(verdict)} for verdict in verdicts]
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "takes": takes}
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_screened(path: Path) -> dict[str, Verdict]:
    """Read a list by the takes' names.

    Raises:
        ValueError: for a file that is not there or not such a list.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"[data] screened: there is no list {path}. {_AGAIN}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"[data] screened: {path} cannot be read ({json_fault(error)}). {_AGAIN}") from error
    try:
        if (content["format"], content["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError("another format, or another version of it")
        return {entry["name"]: _verdict(entry) for entry in content["takes"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"[data] screened: {path} is not a list of `training screen` ({error}). {_AGAIN}") from error


def kept(path: Path, names: Sequence[str]) -> list[str]:
    """Return the takes that a list keeps.

    Raises:
        ValueError: if the list cannot be read, or does not know a take.
    """
    verdicts = read_screened(path)
    if unknown := [name for name in names if name not in verdicts]:
        raise ValueError(
            f"[data] screened: {path} says nothing of {len(unknown)} of {len(names)} takes, such as {unknown[0]}. "
            f"{_AGAIN}"
        )
    return [name for name in names if verdicts[name].is_kept]


def _verdict(entry: Mapping[str, Any]) -> Verdict:
    if entry["kept"] != (not entry["reasons"]):  # somebody decided otherwise than the screen, by hand
        reasons = {} if entry["kept"] else {"by hand": "Taken out of the list by hand."}
        entry = {**entry, "reasons": reasons}
    return Verdict(
        str(entry["name"]),
        dict(entry["reasons"]),
        tuple(entry["notes"]),
        dict(entry["measured"]),
        dict(entry["made"]),
        entry["sheet"],
    )
