"""The one reader of a server's answers: status, JSON and shape are checked before anybody uses them.

A proxy, its login page, another program at the address or a server in trouble answer in ways that ComfyUI never does.
Whatever arrives, what comes out of here has the shape that was asked for, or is one sentence: what was expected, what
arrived, what to do.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from ...common.safe_text import one_line
from .errors import WrongAnswerError

MOST_BYTES = 64 << 20  # of one JSON answer; every node of a large installation comes to some 10 MB
_SHOWN = 160
_OWN_ADDRESS = "Give the address that ComfyUI itself listens on, without a login or another program before it."
_HTML = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Each:
    """A shape: an object with any keys, whose values all have one shape."""

    value: Any


@dataclass(frozen=True)
class Maybe:
    """A shape: it may be null, or missing in an object."""

    value: Any


# A class fits its instances; {key: shape} an object that has the keys; [shape] a list of any length; (shape, shape) a
# list that begins so.
Shape = Any


def fits(value: Any, shape: Shape) -> bool:
    """Return whether parsed JSON has a shape."""
    if isinstance(shape, Maybe):
        return value is None or fits(value, shape.value)
    if isinstance(shape, Each):
        return isinstance(value, dict) and all(fits(item, shape.value) for item in value.values())
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(
            fits(value[key], inner) if key in value else isinstance(inner, Maybe) for key, inner in shape.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(item, shape[0]) for item in value)
    if isinstance(shape, tuple):
        return isinstance(value, list) and len(value) >= len(shape) and all(map(fits, value, shape))
    return isinstance(value, shape)


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number that a float can hold; true and false are none."""
    try:
        return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # JSON's whole numbers have any length
        return False


@dataclass(frozen=True)
class Answer:
    """What a server answered, not looked at yet.

    Attributes:
        url: what was asked.
        status: HTTP's number.
        reason: HTTP's word for it.
        kind: the content type.
        body: the content.
        length: the announced bytes, if any were.
        place: where it comes from, or would, where the server redirects.
    """

    url: str
    status: int
    reason: str = ""
    kind: str = ""
    body: bytes = b""
    length: int | None = None
    place: str = ""

    def json(self, expected: str, shape: Shape, *, status: int = 200) -> Any:
        """Return the parsed content.

        Args:
            expected: the shape in words, for the message.
            shape: see `Shape`.
            status: the only one that is right.

        Raises:
            WrongAnswerError: if anything of it is otherwise.
        """
        if self.status != status:
            raise self.wrong(expected)
        value = self.parsed()
        if value is None or not fits(value, shape):
            raise self.wrong(expected)
        return value

    def parsed(self) -> Any:
        """Return what the content is as JSON; `None` where it is no JSON. Its texts can be encoded and printed."""
        try:
            value = json.loads(self.body)
            if b"\\ud" in self.body.lower():  # half a letter can be written neither to a file nor into an address
                value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
        return value

    def said(self) -> str:
        """Return status, type and the beginning of the content in one line."""
        kind = f" ({one_line(self.kind)[:60]})" if self.kind else ""
        line = first_line(self.body)
        content = f': "{line}"' if line else ", without content"
        to = f", redirected to {masked(one_line(self.place))[:_SHOWN]}" if self.place else ""
        return f"{self.status} {one_line(self.reason)[:60]}".rstrip() + kind + to + content

    def wrong(self, expected: str) -> WrongAnswerError:
        """Return the error of an answer that ComfyUI does not give."""
        if self.place or self.status in (401, 403, 407) or self.kind in _HTML:
            advice = _OWN_ADDRESS
        elif self.status >= 500:
            advice = "Look at the server's log, and restart it."
        else:
            advice = "Is ComfyUI 0.3.60 or newer at that address, and nothing before it that changes its answers?"
        return WrongAnswerError(
            f"{masked(self.url)} does not answer as ComfyUI does: expected {expected}, it answers {self.said()}. "
            + advice
        )


def first_line(content: bytes) -> str:
    """Return the first line with something in it, cut, in letters that a terminal shows as they are."""
    lines = content[: 16 * _SHOWN].decode("utf-8", "replace").splitlines()
    line = one_line(next((line.strip() for line in lines if line.strip()), ""))
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."


def masked(text: str) -> str:
    """Return a text without the names and passwords that the addresses in it may hold."""
    return re.sub(r"(?<=://)[^/\s]*@", "***@", text)


def inputs_of(node: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Return a node's inputs as `/object_info` has them: [type, options] by name and group, whatever arrived.

    Packs write odd things there, and what cannot be read is not checked: such an input has the type `*`.
    """
    groups = node.get("input")
    if not isinstance(groups, dict):
        return {}
    return {
        group: {name: _declaration(given) for name, given in inputs.items()}
        for group, inputs in groups.items()
        if isinstance(inputs, dict)
    }


def _declaration(given: Any) -> list[Any]:
    kind, options = [*given, {}, {}][:2] if isinstance(given, list) and given else ("*", {})
    if not isinstance(kind, (str, list)):
        kind = "*"
    options = options if isinstance(options, dict) else {}
    return [kind, {name: value for name, value in options.items() if name not in ("min", "max") or is_number(value)}]


def texts(values: Iterable[Any]) -> list[str]:
    """Return the texts among values."""
    return [value for value in values if isinstance(value, str)]
