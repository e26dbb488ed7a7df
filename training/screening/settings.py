"""What `training screen` asks of a take."""

from __future__ import annotations

from dataclasses import dataclass

CUT_TEXTS = ("keep", "ego view", "reject")


@dataclass(frozen=True)
class ScreenSettings:
    """Limits; a take beyond one of them is rejected.

    Attributes:
        coverage: percent of the ego prior that has to show something, on average over the clip.
        scale: by which factor the ego camera's distance from the exo camera may differ from what the exo depth says of
            the head there, on the median of the frames; 0 for any.
        agreement: how well the ego prior has to agree with one rendered from depth and poses, as the correlation of
            their brightness, 0 to 1; 0 for not at all.
        speed: metres a second of the ego camera at most; heads stay below 3, and a jump of the poses is faster.
        cut_texts: of texts longer than the 512 tokens that Wan reads: keep them; reject those of which the cut takes
            the ego view, or nearly all of it; reject all.

    Raises:
        ValueError: if a value is out of range.
    """

    coverage: float = 5.0
    scale: float = 1.6
    agreement: float = 0.3
    speed: float = 10.0
    cut_texts: str = "ego view"

    def __post_init__(self) -> None:
        if not 0 <= self.coverage <= 100 or not 0 <= self.agreement < 1 or self.speed <= 0:
            raise ValueError("coverage is from 0 to 100, agreement from 0 up to below 1, speed above 0.")
        if self.scale != 0 and self.scale <= 1:
            raise ValueError(f"scale is a factor above 1, or 0 for any, got {self.scale:g}.")
        if self.cut_texts not in CUT_TEXTS:
            raise ValueError(f"cut_texts is one of {', '.join(CUT_TEXTS)}, got {self.cut_texts!r}.")
