"""Is a take's prompt whole, and does the ego view survive Wan's 512 tokens?"""

from __future__ import annotations

from collections.abc import Callable

from ...wan.egox.prompt import TEXT_TOKENS, estimated_tokens
from ...wan.egox.prompt_sections import EGO, EXO, split_sections
from .findings import Findings
from .settings import ScreenSettings

CHECK = "text"

# A description that ends so is whole; quotes and brackets may follow.
_ENDS = ".!?\u2026\u3002\uff01\uff1f\u0964\u061f\u06d4"
_CLOSING = "\"')]*\u2019\u201d\u300d\u300f\uff09 \n\t"
# Words of the ego view that have to be within the tokens that Wan reads.
_FEWEST_TOKENS = 24
_SHOWN = 40  # letters of the text's end

Count = Callable[[str], int]


def check_text(prompt: str, settings: ScreenSettings, found: Findings, count: Count = estimated_tokens) -> None:
    """Check a two-view prompt.

    Args:
        prompt: of the take.
        settings: limits.
        found: where findings go.
        count: number of tokens of a text; by default an estimate from the number of words.
    """
    text = prompt.strip()
    if not text:
        found.reasons[CHECK] = "The text is empty."
        return
    sections = split_sections(text)
    views = {section.view for section in sections if section.sentences}
    if missing := [view for view in (EXO, EGO) if view not in views]:
        found.reasons[CHECK] = (
            f"The text does not describe the {' and the '.join(missing)}: expected two blocks, [{EXO}] and [{EGO}]."
        )
    elif empty := [section.heading.strip() for section in sections if not section.sentences]:
        found.reasons[CHECK] = f"Nothing follows {empty[0]!r} in the text: it was cut off, or a part was not written."
    elif not text.rstrip(_CLOSING).endswith(tuple(_ENDS)):
        found.reasons[CHECK] = f"The text breaks off in mid-sentence: {text[-_SHOWN:]!r} is its end."
    _check_length(text, settings, found, count)


def _check_length(text: str, settings: ScreenSettings, found: Findings, count: Count) -> None:
    tokens = int(found.measure("tokens", count(text)))
    if tokens <= TEXT_TOKENS:
        return
    before_ego = len(text)
    place = 0
    for section in split_sections(text):
        if section.view == EGO:
            before_ego = place + len(section.heading)
            break
        place += len(section.shortened(len(section.sentences)))
    left = max(0, TEXT_TOKENS - count(text[:before_ego]))
    found.measure("tokens_of_ego_view", left)
    cut = f"The text has {tokens} tokens, and Wan reads {TEXT_TOKENS}"
    told = f"{cut}: the cut leaves about {left} tokens of the ego view."
    if settings.cut_texts == "reject" or (settings.cut_texts == "ego view" and left < _FEWEST_TOKENS):
        found.reasons.setdefault(CHECK, told)
    else:
        found.notes.append(told)
