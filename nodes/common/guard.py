"""The guard of all nodes: whatever arrives is checked against the node's schema, before the node sees it.

A schema says of each input which type it takes, within which limits, from which options. That is all a node states;
`checks` and `payloads` have a rule for each type. An input that knows better brings its own: its method
`checked(value)`, which returns the value for the node or raises a ValueError, and, where files lie behind the value,
`fingerprint(value)`, which returns what changes when they change.

Values of the graph are checked when it is sent, those that come through links when the node runs. Each schema is made
once for that: making one lists folders. An input whose options are files looks them up in its own `checked`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Any

from comfy_api.latest import io

from ...common.messages import few
from .checks import CORE_RULES, label
from .payloads import PAYLOAD_RULES
from .progress import within_limits

RULES = CORE_RULES | PAYLOAD_RULES


def guarded(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """Have a node's values checked: its `execute`, and what ComfyUI asks of it before; returns the same class."""
    schema = node.define_schema()
    node.execute = classmethod(_checked_execute(node.execute.__func__, schema))
    if early := [declared for declared in schema.inputs if _is_checked_early(declared)]:
        node.validate_inputs = classmethod(_validation(early))
    if with_files := [declared for declared in schema.inputs if hasattr(declared, "fingerprint")]:
        node.fingerprint_inputs = classmethod(_fingerprints(with_files))
    return node


def checked_value(declared: io.Input, value: Any) -> Any:
    """Return the value for the node.

    Raises:
        ValueError: if the input does not take it; the message names the input.
    """
    own = getattr(declared, "checked", None)
    if own is not None:
        return own(value)
    return RULES[str(declared.io_type)](declared, value)


def checked_inputs(
    node: str, inputs: Sequence[io.Input], values: Mapping[str, Any], unasked: Collection[str] = ()
) -> dict[str, Any]:
    """Check all values of a node.

    Args:
        node: how the artist knows it.
        inputs: those of its schema.
        values: by the inputs' names.
        unasked: names of lazy inputs that the node did not ask for.

    Raises:
        ValueError: for the first that is wrong, missing or unknown.
    """
    unknown = [name for name in values if name not in {declared.id for declared in inputs}]
    if unknown:
        raise ValueError(
            f"{node} has no input '{unknown[0]}'; it has {few([declared.id for declared in inputs], 20)}. Take it out "
            "of the graph, or update the pack if the graph comes from a newer one."
        )
    checked = {}
    for declared in inputs:
        value = values.get(declared.id)
        if value is None and declared.id in unasked:
            checked[declared.id] = None
        elif value is not None or (declared.id in values and isinstance(declared, io.WidgetInput)):
            checked[declared.id] = checked_value(declared, value)
        elif not declared.optional:
            raise ValueError(
                f"{label(declared)} of {node} needs a value and got none. Connect it to an output that gives one: what "
                "a take does not have goes out as nothing."
            )
        elif declared.id in values:
            checked[declared.id] = None
    return checked


def _checked_execute(execute: Callable[..., Any], schema: io.Schema) -> Callable[..., Any]:
    lazy = {declared.id for declared in schema.inputs if declared.lazy}

    @wraps(execute)
    def checked_execute(cls: type[io.ComfyNode], **values: Any) -> Any:
        with within_limits(schema.display_name):
            unasked = lazy.difference(cls.check_lazy_status(**values)) if lazy else lazy
            return execute(cls, **checked_inputs(schema.display_name, schema.inputs, values, unasked))

    return checked_execute


def _is_checked_early(declared: io.Input) -> bool:
    """Whether ComfyUI is told to ask the pack. It checks numbers' limits itself, where a node does not name them."""
    return isinstance(declared, io.WidgetInput) and (
        hasattr(declared, "checked") or isinstance(declared, io.Combo.Input)
    )


def _validation(inputs: Sequence[io.Input]) -> Callable[..., Any]:
    """Make `validate_inputs`; ComfyUI hands out the values that its signature names."""

    def validate_inputs(cls: type[io.ComfyNode], **values: Any) -> bool | str:
        for declared in inputs:
            # None comes through a link: it is known once the node runs. ComfyUI itself says what is missing.
            if (value := values.get(declared.id)) is not None:
                try:
                    checked_value(declared, value)
                except (ValueError, OSError) as error:
                    return str(error)
        return True

    kind, names = inspect.Parameter.POSITIONAL_OR_KEYWORD, [declared.id for declared in inputs]
    validate_inputs.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in ("cls", *names)])
    return validate_inputs


def _fingerprints(inputs: Sequence[io.Input]) -> Callable[..., Any]:
    """Make `fingerprint_inputs`, which returns what changes when files behind the values of these inputs change."""

    def fingerprint_inputs(cls: type[io.ComfyNode], **values: Any) -> tuple[Any, ...]:
        found = []
        for declared in inputs:
            if (value := values.get(declared.id)) is not None:  # None: the linked node's own changes count
                try:
                    found.append(declared.fingerprint(checked_value(declared, value)))
                except (ValueError, OSError):
                    found.append("missing")
        return tuple(found)

    return fingerprint_inputs
