"""What the doctor says: for people, and for machines."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass

from ...common.safe_text import one_line
from .findings import Finding, Severity

_FORMAT = "exo2ego.doctor"
_VERSION = 1
_WIDTH = 110
_ORDER = tuple(Severity)

# Exit codes beside 0 and 1.
CANNOT_RUN, CHECK_FAILED, STOPPED = 2, 3, 130


@dataclass(frozen=True)
class Report:
    """The result of all checks.

    Attributes:
        facts: what was looked at, by name: for a report of a bug.
        findings: what is not as it should be.
        failed: the checks that broke off by an error of their own.
    """

    facts: dict[str, str]
    findings: list[Finding]
    failed: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 without errors, 1 with, 3 where a check broke off: then it is not known what that one would have found."""
        return CHECK_FAILED if self.failed else int(self._count(Severity.ERROR) > 0)

    def to_json(self) -> str:
        """Return facts, findings and counts as JSON."""
        return json.dumps(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "facts": self.facts,
                "findings": [asdict(finding) for finding in self._sorted()],
                "failed_checks": list(self.failed),
                "counts": {severity.value: self._count(severity) for severity in _ORDER},
            },
            indent=1,
        )

    def to_text(self) -> str:
        """Return the report for people, the worst first."""
        width = max((len(name) for name in self.facts), default=0)
        lines = [f"{name:{width}}  {one_line(value)}" for name, value in self.facts.items()]
        for finding in self._sorted():
            lines += ["", _wrapped(f"{finding.severity.value.upper()} ({finding.check}): ", finding.found)]
            lines += [_wrapped("  expected: ", finding.expected), _wrapped("  to do:    ", finding.remedy)]
        return "\n".join([*lines, "", self._summary()])

    def _summary(self) -> str:
        if not self.findings:
            return "All is well."
        counts = [f"{self._count(severity)} {severity.value}(s)" for severity in _ORDER if self._count(severity)]
        return f"{', '.join(counts)}."

    def _sorted(self) -> list[Finding]:
        return sorted(self.findings, key=lambda finding: _ORDER.index(finding.severity))

    def _count(self, severity: Severity) -> int:
        return Counter(finding.severity for finding in self.findings)[severity]


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(
        one_line(" ".join(text.split())),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * (12 if head.startswith(" ") else 4),
        break_long_words=False,
        break_on_hyphens=False,
    )
