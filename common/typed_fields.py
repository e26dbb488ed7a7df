"""Whether a dataclass holds what its annotations say, which Python itself does not check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def wrong_field(value: Any) -> str | None:
    """Return the name of the first field that is not of its declared type, dotted within nested dataclasses.

    Numbers of NumPy count as Python's; what an annotation leaves open, such as a callable's arguments, is not looked
    into.
    """
    hints = _hints(type(value))
    for field in fields(value):
        held = getattr(value, field.name, None)
        if not _fits(held, hints[field.name]):
            inner = wrong_field(held) if is_dataclass(held) and not isinstance(held, type) else None
            return field.name if inner is None else f"{field.name}.{inner}"
    return None


@cache
def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except NameError:  # a type that is imported for type checkers alone
        return dict.fromkeys((field.name for field in fields(kind)), Any)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1:] == (...,):
            return all(_fits(part, arguments[0]) for part in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, held = arguments
        return isinstance(value, Mapping) and all(_fits(k, key) and _fits(v, held) for k, v in value.items())
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return isinstance(value, origin) and all(_fits(part, arguments[0]) for part in value)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    kind = origin or hint
    if not isinstance(kind, type) or kind is Any:
        return True
    return isinstance(value, kind) and (not is_dataclass(value) or wrong_field(value) is None)
