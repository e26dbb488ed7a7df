"""What a check reports."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Severity(str, Enum):
    """ERROR: something this pack ships will fail. WARNING: it may fail or come out worse. NOTE: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        check: the theme, e.g. `models`.
        severity: how bad it is.
        found: what is there.
        expected: what should be there.
        remedy: what to do: a command, a click or a file to fetch.
    """

    check: str
    severity: Severity
    found: str
    expected: str
    remedy: str


def failed_check(check: str, error: Exception) -> Finding:
    """Return the finding of a check that broke off by an error of its own: a fault of the doctor, not of ComfyUI."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return Finding(
        check,
        Severity.ERROR,
        f"this check broke off by an error of its own ({type(error).__name__}: {error}{place})",
        "a check that ends, whatever it finds",
        "The other checks were made. Please report this with the output of --json, so that the doctor can be fixed.",
    )


class DoctorError(Exception):
    """The doctor cannot run: there is nothing to look at. The text says what to do."""
