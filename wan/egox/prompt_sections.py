"""A prompt taken apart at its headings and at the ends of its sentences; joined again, it is the same text."""

from __future__ import annotations

import re
from dataclasses import dataclass

EXO, EGO = "Exo view", "Ego view"

_VIEW = r"[#*]*\s*\[\s*(?P<view>exo|ego)[ _-]+view\s*\][*:]*\s*"
_LABEL = r"\*\*\s*(?:scene\s+overview|action\s+analysis)\s*:?\s*\*\*\s*:?\s*"
_HEADING = re.compile(rf"{_VIEW}(?:{_LABEL})?|{_LABEL}", re.IGNORECASE)

# A full stop ends no sentence after these.
_ABBREVIATIONS = "".join(rf"(?<!\b{word})" for word in (r"e\.g", r"i\.e", "vs", "approx", "Mr", "Mrs", "Dr", "No"))
_CLOSING = "[\"')\\]*\u2019\u201d\u300d\u300f\uff09]*"
_SENTENCE_END = re.compile(
    rf"{_ABBREVIATIONS}[.!?\u2026\u0964\u061f\u06d4]+{_CLOSING}\s+"  # Latin, Devanagari, Arabic, Urdu
    rf"|[\u3002\uff01\uff1f\uff0e\uff61]+{_CLOSING}\s*"  # Chinese, Japanese: no space follows
    r"|\n\s*"  # the end of a line or of a list's item
)
_WORD = re.compile(r"\S{1,24}\s*")


@dataclass(frozen=True)
class Section:
    """One description of a prompt.

    Attributes:
        view: the block it stands in, "Exo view" or "Ego view"; empty before the first block.
        heading: what stands before it, as it is written: the block's heading, its label, or both; may be empty.
        sentences: the description, each sentence with the white space that follows it.
        tail: the white space at the end.
    """

    view: str
    heading: str
    sentences: tuple[str, ...]
    tail: str

    def shortened(self, n_sentences: int) -> str:
        """Return the section with its first `n_sentences` sentences."""
        if n_sentences == len(self.sentences):
            return f"{self.heading}{''.join(self.sentences)}{self.tail}"
        return f"{self.heading}{''.join(self.sentences[:n_sentences]).rstrip(' ,;:')}{self.tail}"


def split_sections(text: str) -> tuple[Section, ...]:
    """Take a prompt apart; a text without headings is one section.

    Joining `section.shortened(len(section.sentences))` of all sections gives the text again.
    """
    sections = []
    view, heading, start = "", "", 0
    for match in _HEADING.finditer(text):
        if heading or match.start() > start:
            sections.append(_section(view, heading, text[start : match.start()]))
        if match["view"]:
            view = {"exo": EXO, "ego": EGO}[match["view"].lower()]
        heading, start = match[0], match.end()
    sections.append(_section(view, heading, text[start:]))
    return tuple(sections)


def split_words(text: str) -> tuple[str, ...]:
    """Split a text after its words; a script without spaces, after every 24 letters."""
    return tuple(_WORD.findall(text))


def _section(view: str, heading: str, text: str) -> Section:
    body = text.rstrip()
    ends = [match.end() for match in _SENTENCE_END.finditer(body)]
    pieces = (body[a:b] for a, b in zip([0, *ends], [*ends, len(body)]))
    return Section(view, heading, tuple(piece for piece in pieces if piece), text[len(body) :])
