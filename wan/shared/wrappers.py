"""Options of one sampling run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def transformer_options_of_run(guider: Any, **changes: Any) -> Iterator[None]:
    """Change transformer_options for the run of a guider, from within an OUTER_SAMPLE wrapper."""
    options = guider.model_options
    guider.model_options = {**options, "transformer_options": {**options["transformer_options"], **changes}}
    try:
        yield
    finally:
        guider.model_options = options
