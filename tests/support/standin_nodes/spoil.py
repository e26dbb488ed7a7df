"""Whatever a node hands on, spoilt: one place of it is what broken, foreign or half-written nodes would give.

`StandInSpoil` stands between two nodes and spoils what passes; the same seed spoils in the same way. `StandInLook` ends
a graph: it says which of the numbers that reach it are not finite. `StandInKeep` keeps what reaches it for later
graphs, where `StandInKept` hands it on: what lies before a node then runs once, and not for each of its bad inputs.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from .payload_examples import EXAMPLES

_LOOKS = 12
_DEPTH = 4  # how far down a payload may be spoilt


class AnyType(str):
    """A type that ComfyUI's check of links takes for every other."""

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    __hash__ = str.__hash__


ANY = io.Custom(AnyType("*"))


class Nobodys:
    """An object that no node knows."""


class StandInSpoil(io.ComfyNode):
    """Hands on what it gets, spoilt in one place."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInSpoil",
            category="testing",
            inputs=[
                ANY.Input("of", optional=True),
                io.String.Input("socket", default="", optional=True),
                io.Int.Input("seed", default=0, min=0, max=2**62),
            ],
            outputs=[ANY.Output()],
        )

    @classmethod
    def execute(cls, seed: int, of: Any = None, socket: str = "") -> io.NodeOutput:
        rng = random.Random(seed)
        good = EXAMPLES[socket]() if of is None and socket in EXAMPLES else of
        try:
            label, value = spoilt(good, rng)
        except Exception as error:  # this is never what a test is about
            raise AssertionError(f"StandInSpoil could not spoil a {type(good).__name__}: {error!r}") from error
        return io.NodeOutput(value, ui={"spoilt": [label]})


class StandInLook(io.ComfyNode):
    """Says what is not finite of all that it gets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInLook",
            category="testing",
            is_output_node=True,
            inputs=[ANY.Input(f"value_{number}", optional=True) for number in range(_LOOKS)],
            outputs=[],
        )

    @classmethod
    def execute(cls, **values: Any) -> io.NodeOutput:
        found = [place for name, value in values.items() for place in not_finite(value, name)]
        return io.NodeOutput(ui={"not_finite": found[:5], "digests": [digest(value) for value in values.values()]})


_KEPT: dict[str, Any] = {}


class StandInKeep(io.ComfyNode):
    """Keeps a value under a name, for as long as the server lives."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInKeep",
            category="testing",
            is_output_node=True,
            inputs=[ANY.Input("value"), io.String.Input("name")],
            outputs=[],
        )

    @classmethod
    def execute(cls, value: Any, name: str) -> io.NodeOutput:
        _KEPT[name] = value
        return io.NodeOutput()


class StandInKept(io.ComfyNode):
    """Hands on what was kept under a name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInKept", category="testing", inputs=[io.String.Input("name")], outputs=[ANY.Output()]
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(_KEPT[name])


def spoilt(value: Any, rng: random.Random, depth: int = _DEPTH) -> tuple[str, Any]:
    """Return in words what was spoilt, and a copy of the value that is spoilt so; the value itself stays as it is."""
    ways: list[Callable[[], tuple[str, Any]]] = [lambda: _nonsense(rng)]
    for kind, way in _WAYS:
        if isinstance(value, kind):
            ways += [lambda way=way: way(value, rng, depth)] * 4
            break
    else:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            ways += [lambda: _spoilt_fields(value, rng, depth)] * 6
    return rng.choice(ways)()


def _nonsense(rng: random.Random) -> tuple[str, Any]:
    values = [
        None, 3.5, -1, math.nan, "a text", "", b"bytes", {}, [], (), [None], {"no": "key"}, Nobodys(), Nobodys, True,
        np.zeros((2, 3)), torch.zeros(2, 3), [[]], [{}], 10**40, range(3), Nobodys().__repr__, {"samples": None},
    ]  # fmt: skip
    value = rng.choice(values)
    return f"{type(value).__name__} {str(value)[:40]}", value


def _spoilt_tensor(value: Tensor, rng: random.Random, depth: int) -> tuple[str, Any]:
    def one(number: float) -> Callable[[], Any]:
        def place() -> Any:
            changed = value.clone(memory_format=torch.contiguous_format)
            if changed.numel() and changed.is_floating_point():
                changed.view(-1)[rng.randrange(changed.numel())] = number
            return changed

        return place

    last = value.ndim - 1
    ways: dict[str, Callable[[], Any]] = {
        "NaN at one place": one(math.nan),
        "infinity at one place": one(math.inf),
        "1e30 at one place": one(1e30),
        "all NaN": lambda: torch.full_like(value.float(), math.nan),
        "all zero": lambda: torch.zeros_like(value),
        "all negative": lambda: -value.float().abs() - 1,
        "no frames": lambda: value[:0],
        "one frame": lambda: value[:1],
        "a frame less": lambda: value[:-1],
        "a frame more": lambda: torch.cat([value, value[-1:]]),
        "a dimension less": lambda: value[0],
        "a dimension more": lambda: value[None],
        "flat": lambda: value.reshape(-1),
        "a scalar": lambda: value.reshape(-1)[:1].sum(),
        "the last dimension 1": lambda: value.narrow(last, 0, 1),
        "the last dimension 0": lambda: value.narrow(last, 0, 0),
        "the last dimension twice": lambda: torch.cat([value, value], dim=last),
        "half the size": lambda: value[:, ::2, ::2] if value.ndim > 2 else value[::2],
        "turned": lambda: value.transpose(0, -1),
        "half": lambda: value.half(),
        "bfloat16": lambda: value.bfloat16(),
        "double": lambda: value.double(),
        "uint8": lambda: value.to(torch.uint8),
        "int64": lambda: value.long(),
        "bool": lambda: value.bool(),
        "complex": lambda: value.to(torch.complex64),
        "an array": lambda: value.numpy(force=True),
        "a list": lambda: value[:1].reshape(-1)[:8].tolist(),
        "sparse": lambda: value.to_sparse(),
        "on the meta device": lambda: value.to("meta"),
        "not contiguous": lambda: value.flip(0).transpose(0, -1).contiguous().transpose(0, -1),
    }  # fmt: skip
    name = rng.choice(list(ways)) if value.ndim and value.numel() else "a dimension more"
    return name, ways[name]()


def _spoilt_mapping(value: dict, rng: random.Random, depth: int) -> tuple[str, Any]:
    if not value or depth == 0:
        return _nonsense(rng)
    changed, key = dict(value), rng.choice(list(value))
    if rng.random() < 0.25:
        del changed[key]
        return f"without {key}", changed
    label, changed[key] = spoilt(changed[key], rng, depth - 1)
    return f"{key}: {label}", changed


def _spoilt_list(value: list | tuple, rng: random.Random, depth: int) -> tuple[str, Any]:
    way = rng.choice(["one", "one", "one", "none", "shorter", "longer", "reversed", "other type"])
    if not value or depth == 0 or way == "none":
        return "no entries", type(value)()
    if way == "shorter":
        return "an entry less", value[:-1]
    if way == "longer":
        return "an entry more", type(value)([*value, value[-1]])
    if way == "reversed":
        return "reversed", value[::-1]
    if way == "other type":
        return "a dictionary of entries", dict(enumerate(value))
    changed, place = list(value), rng.randrange(len(value))
    label, changed[place] = spoilt(changed[place], rng, depth - 1)
    return f"entry {place}: {label}", type(value)(changed)


def _spoilt_fields(value: Any, rng: random.Random, depth: int) -> tuple[str, Any]:
    """Spoil a field past the constructor, as another pack or a change in place can."""
    fields = dataclasses.fields(value)
    if not fields or depth == 0:
        return _nonsense(rng)
    field = rng.choice(fields)
    changed = copy.copy(value)
    label, spoilt_value = spoilt(getattr(value, field.name), rng, depth - 1)
    object.__setattr__(changed, field.name, spoilt_value)
    return f"{type(value).__name__}.{field.name}: {label}", changed


def _spoilt_number(value: float, rng: random.Random, depth: int) -> tuple[str, Any]:
    number = rng.choice([math.nan, math.inf, -math.inf, -1, 0, 1e300, 10**30, -(2**63), 0.5, "7", True, 1e-300])
    return f"the number {number!r}", number


def _spoilt_text(value: str, rng: random.Random, depth: int) -> tuple[str, Any]:
    text = rng.choice(
        ["", "\ud800", "a\0b", "x" * 1_000_000, "[1]", "{}", "../" * 9, "\x1b[31m\u202e", "no such thing"]
    )
    return f"the text {text[:12]!r} of {len(text)}", text


_WAYS: list[tuple[Any, Callable[[Any, random.Random, int], tuple[str, Any]]]] = [
    (Tensor, _spoilt_tensor),
    (dict, _spoilt_mapping),
    (list, _spoilt_list),
    (tuple, _spoilt_list),
    (str, _spoilt_text),
    (int, _spoilt_number),
    (float, _spoilt_number),
]


def digest(value: Any) -> str:
    """Return a digest of the tensors and numbers of a payload; objects count by their type alone."""
    found = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            found.update(part.detach().cpu().float().contiguous().numpy().tobytes())
        elif isinstance(part, dict):
            add(list(part.values()))
        elif isinstance(part, list | tuple):
            for one in part:
                add(one)
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            add([getattr(part, field.name) for field in dataclasses.fields(part)])
        else:
            known = part is None or isinstance(part, str | int | float | bool)
            found.update((repr(part) if known else type(part).__name__).encode(errors="replace"))

    add(value)
    return found.hexdigest()[:16]


def not_finite(value: Any, place: str) -> list[str]:
    """Return the places of a payload that hold NaN or infinity; inverse depth marks what is invalid by NaN."""
    if isinstance(value, Tensor):
        return [place] if value.is_floating_point() and not bool(value.isfinite().all()) else []
    if isinstance(value, float):
        return [place] if not math.isfinite(value) else []
    if isinstance(value, dict):
        return [found for key, part in value.items() for found in not_finite(part, f"{place}.{key}")]
    if isinstance(value, list | tuple):
        return [found for number, part in enumerate(value) for found in not_finite(part, f"{place}.{number}")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if "inverse" in str(getattr(value, "meaning", "")).lower():
            return []
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return [found for name, part in parts for found in not_finite(part, f"{place}.{name}")]
    return []
