"""What a vision-language model answered to our instruction, taken apart into the four fields of the prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .prompt_sections import EGO, EXO, split_sections

_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL | re.IGNORECASE)
_LEFT_OPEN = re.compile(r"<up to \d+ words[^>]*>")  # a place of the instruction's form that was copied unfilled
_SCENE = "scene"
_NAMES = {(EXO, True): "exo_scene", (EXO, False): "exo_action", (EGO, True): "ego_scene", (EGO, False): "ego_action"}


@dataclass(frozen=True)
class Fields:
    """The four descriptions, as Two-View Prompt takes them; empty where nothing was said.

    Attributes:
        exo_scene: the place as the third-person camera sees it.
        exo_action: what the person does, from outside.
        ego_scene: the place as the person sees it.
        ego_action: the same actions as the person sees them.
    """

    exo_scene: str = ""
    exo_action: str = ""
    ego_scene: str = ""
    ego_action: str = ""

    def missing(self) -> list[str]:
        """Return the names of the empty fields."""
        return [name for name in _NAMES.values() if not getattr(self, name)]


def fields_of(answer: str) -> Fields:
    """Take an answer apart at its headings.

    What stands outside a view's two headings is left out; of a heading that comes twice the first text counts.
    """
    found: dict[str, str] = {}
    for section in split_sections(_THOUGHT.sub("", answer)):
        heading = section.heading.lower()
        if section.view not in (EXO, EGO) or not ("scene" in heading or "action" in heading):
            continue
        text = _LEFT_OPEN.sub("", "".join(section.sentences)).strip()
        text = re.sub(r"\s*(?:[-*_]{3,}|```)\s*$", "", text)  # a rule, or the end of a block of code
        name = _NAMES[section.view, _SCENE in heading]
        if text and name not in found:
            found[name] = text
    return Fields(**found)
