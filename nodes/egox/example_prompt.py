"""A prompt that was left at the template's example although the clip is another."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...takes.example.picture import shows_example_room
from ...wan.egox.prompt import EXAMPLE_PROMPT_KEY


def example_prompt_notes(positive: list[Any], exo: Tensor) -> tuple[str, ...]:
    """Say so where a prompt still describes the template's example and the clip does not show it.

    Args:
        positive: conditioning; Encode Two-View Prompt marks which views are the example's.
        exo: exo video [F, H, W, 3] in [0, 1].
    """
    views = sorted({view for _, options in positive for view in options.get(EXAMPLE_PROMPT_KEY, ())}, reverse=True)
    if not views or shows_example_room(exo[0]):
        return ()
    still = " and ".join(f"{view} view" for view in views)
    return (
        f"The prompt ({still}) is still the template's example, a kitchen with a wooden table, but the exo clip shows "
        "something else. Write in Two-View Prompt what your clip shows, or give its VLM instruction and a few frames "
        "to a vision-language model.",
    )
