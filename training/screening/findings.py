"""What the checks of a take find, gathered as they go."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Findings:
    """What was found of a take so far.

    Attributes:
        reasons: sentences why it is not fit, by the checks' names.
        notes: sentences on what to look at.
        measured: figures behind them.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str, value: float) -> float:
        """Note a figure, rounded as people read it; returns it as it was."""
        self.measured[name] = float(f"{value:.4g}")
        return value
