"""What a check reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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


class DoctorError(Exception):
    """The doctor cannot run: there is nothing to look at. The text says what to do."""
