"""Fields are of their declared types, as far as an annotation says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pytest

from exo2ego.common.typed_fields import wrong_field


class Kind(str, Enum):
    ONE = "one"


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Whole:
    name: str = "a"
    share: float = 0.5
    size: int | None = None
    kind: Kind = Kind.ONE
    names: tuple[str, ...] = ("a", "b")
    pair: tuple[int, float] = (1, 2.0)
    rows: list[int] = field(default_factory=list)
    parts: Mapping[str, Inner] = field(default_factory=dict)
    inner: Inner = Inner()
    act: Callable[[int], int] = abs


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"share": 1},
        {"size": np.int64(3)},
        {"share": np.float32(3)},
        {"names": ()},
        {"rows": [1, 2]},
        {"parts": {"a": Inner(2)}},
    ],
)
def test_what_is_declared_fits(good):
    assert wrong_field(Whole(**good)) is None


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ({"name": 3}, "name"),
        ({"name": None}, "name"),
        ({"share": "0.5"}, "share"),
        ({"share": True}, "share"),
        ({"size": 1.5}, "size"),
        ({"kind": "one"}, "kind"),
        ({"names": ["a"]}, "names"),
        ({"names": ("a", 1)}, "names"),
        ({"pair": (1,)}, "pair"),
        ({"rows": [1, "a"]}, "rows"),
        ({"parts": {1: Inner()}}, "parts"),
        ({"parts": {"a": Inner("x")}}, "parts"),
        ({"parts": []}, "parts"),
        ({"inner": 3}, "inner"),
        ({"inner": Inner("x")}, "inner.size"),
    ],
)
def test_what_is_something_else_is_named(bad, name):
    assert wrong_field(Whole(**bad)) == name
