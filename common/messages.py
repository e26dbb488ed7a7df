"""Frame numbers, sizes and long lists as people write them."""

from __future__ import annotations

from collections.abc import Sequence


def frame_ranges(frames: Sequence[int]) -> str:
    """Write frame numbers in ascending order as text: "none", "4", "0-3, 7"."""
    ranges: list[list[int]] = []
    for frame in frames:
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1][1] = frame
        else:
            ranges.append([frame, frame])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges) or "none"


def gigabytes(size: float) -> str:
    """Return a number of bytes in GB (10^9), as file managers and download pages count."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"


def few(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
