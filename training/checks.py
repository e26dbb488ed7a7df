"""Checks that tables of a recipe share."""

from __future__ import annotations


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Check that a setting has one of its values.

    Raises:
        ValueError: naming all of them, if it has another.
    """
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, got {value!r}.")
