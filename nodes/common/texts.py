"""The one place where what nodes say becomes text of the editor's page: errors, refusals, and texts of outputs.

Everything that a node returns or raises passes here. What it says by `show_text` and `warn` goes out with its `ui`
output, where the page and the history find it; while it runs, `progress` sends it the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...common.safe_text import for_page
from .progress import collecting_texts


def with_safe_texts(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """Make a node's errors, refusals and texts fit for the page; returns the same class."""
    node.execute = classmethod(_safe_execute(node.execute.__func__))
    if "validate_inputs" in node.__dict__:
        node.validate_inputs = classmethod(_safe_validation(node.validate_inputs.__func__))
    return node


def _safe_execute(execute: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(execute)
    def safe_execute(cls: type[io.ComfyNode], *values: Any, **named: Any) -> Any:
        try:
            with collecting_texts(cls) as told:
                output = execute(cls, *values, **named)
        except Exception as error:
            _make_safe(error)
            raise
        if isinstance(output, io.NodeOutput):
            if told and (output.ui is None or isinstance(output.ui, dict)):
                output.ui = {**(output.ui or {}), **told}
            if isinstance(output.ui, dict):
                output.ui = {name: _safe_texts(values) for name, values in output.ui.items()}
            for value in output.args:
                if isinstance(value, ExecutionBlocker) and value.message:
                    value.message = for_page(value.message)
        return output

    return safe_execute


def _safe_texts(values: Any) -> Any:
    """Make the texts of a list fit for the page. Dictionaries are data for its programs, such as places of files."""
    if not isinstance(values, list):
        return values
    return [for_page(value) if isinstance(value, str) else value for value in values]


def _safe_validation(validate: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(validate)
    def safe_validation(cls: type[io.ComfyNode], *values: Any, **named: Any) -> Any:
        answer = validate(cls, *values, **named)
        return for_page(answer) if isinstance(answer, str) else answer

    safe_validation.__signature__ = inspect.signature(validate)  # type: ignore[attr-defined]  ComfyUI reads it
    return safe_validation


def _make_safe(error: BaseException) -> None:
    """Make the texts of an error, and of those behind it, fit for page and log; ComfyUI writes all of them."""
    for one in _chain(error):
        if for_page(str(one)) != str(one):
            one.args = tuple(for_page(value) if isinstance(value, str) else value for value in one.args)
        if isinstance(one, OSError):
            one.filename = for_page(one.filename) if isinstance(one.filename, str) else one.filename


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
