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


def gigabytes(size: float) -> str:
    """Return a number of bytes in GB (10^9), as file managers and download pages count."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"


def few(names: list[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
