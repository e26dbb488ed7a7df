"""Options of combos, checked where a graph came through the API: not every ComfyUI compares them with the list."""

from __future__ import annotations

from collections.abc import Sequence


def check_option(name: str, value: str, options: Sequence[str]) -> str:
    """Return `value` if it is one of the options.

    Raises:
        ValueError: if it is not; the message names input and options.
    """
    if value not in options:
        known = ", ".join(f"'{option}'" for option in options)
        raise ValueError(f"The input '{name}' takes one of {known}; got {value!r}. Choose one of these.")
    return value
