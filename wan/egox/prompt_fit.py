"""A prompt fitted to the tokens that the model reads, so that the view to be generated keeps its description.

EgoX's release cuts the end off (512 tokens with the end token). The ego view stands last: in the nine prompts of its
examples, 585 to 830 tokens long, 29 to 86 % of it is lost. No text encoder is needed here: `count` says how many tokens
a text has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from .prompt_sections import EGO, Section, split_sections, split_words

Count = Callable[[str], int]

# What the ego view keeps at least and what is left to the rest, unless that is shorter: shares of their own length and
# of the room.
_EGO_KEEPS = 2 / 3
_REST_KEEPS = 1 / 5

# A sentence of more tokens than this may be cut at a word.
_LONGEST_SENTENCE = 100


class PromptFit(str, Enum):
    """What happens to a prompt that is too long."""

    KEEP_BOTH_VIEWS = "keep both views"
    AS_RELEASED = "as released"


@dataclass(frozen=True)
class FittedView:
    """What became of one block.

    Attributes:
        name: "Exo view", "Ego view", or empty for text outside both.
        before: its tokens, headings included.
        after: the tokens that are left of them.
        lost: the text that was left out; where a cut goes through a word, from that word on.
    """

    name: str
    before: int
    after: int
    lost: str

    @property
    def title(self) -> str:
        """The block as a report names it."""
        return f"[{self.name}]" if self.name else "the text"

    @property
    def lost_percent(self) -> float:
        """The share of the block's tokens that was left out."""
        return 100 * (self.before - self.after) / max(1, self.before)


@dataclass(frozen=True)
class FittedPrompt:
    """A prompt as the model gets it.

    Attributes:
        text: the text to encode. With `AS_RELEASED` it is the whole one: the tokens are cut, not the text.
        fit: how it was fitted.
        limit: the most tokens, without the end token.
        before: tokens of the whole prompt.
        after: tokens that the model gets.
        views: what became of each block, in the text's order.
    """

    text: str
    fit: PromptFit
    limit: int
    before: int
    after: int
    views: tuple[FittedView, ...]

    @property
    def is_shortened(self) -> bool:
        """Whether anything was left out."""
        return self.after < self.before

    def report(self) -> str:
        """Say in a few lines how many tokens each block has, and what was left out."""
        if not self.is_shortened:
            parts = ", ".join(f"{view.before} in {view.title}" for view in self.views if view.name)
            return f"{self.before} of {self.limit} tokens{f': {parts}' if parts else ''}. Nothing is left out."
        done = {
            PromptFit.KEEP_BOTH_VIEWS: f"it was shortened to {self.after}",
            PromptFit.AS_RELEASED: "the end was cut off, as EgoX's release does",
        }[self.fit]
        lines = [f"The prompt has {self.before} tokens and the model reads {self.limit}: {done}."]
        for view in filter(lambda view: view.before, self.views):
            lines.append(f"{view.title}: {view.after} of {view.before} tokens kept, {view.lost_percent:.0f} % lost.")
        if self.fit is PromptFit.AS_RELEASED and any(view.name == EGO for view in self.views):
            lines.append(f'A shorter prompt, or "{PromptFit.KEEP_BOTH_VIEWS.value}", leaves more of the ego view.')
        lines += [f"Left out of {view.title}: {view.lost}" for view in self.views if view.lost]
        return "\n".join(lines)


def fit_prompt(text: str, fit: PromptFit, count: Count, limit: int) -> FittedPrompt:
    """Fit a prompt into `limit` tokens.

    Args:
        text: any text; blocks are known by the headings of `prompt.two_view_prompt`.
        fit: `KEEP_BOTH_VIEWS` shortens each description at the end of a sentence, in proportion to its length. The ego
            view keeps two thirds wherever that leaves the rest a fifth of the room and each description its first
            sentence. Text without blocks loses its last sentences. A sentence of more than 100 tokens is cut at a
            word. `AS_RELEASED` keeps the first tokens.
        count: tokens of a text, without the end token.
        limit: the most tokens, without the end token.
    """
    before = count(text)
    sections = split_sections(text)
    if before <= limit:
        counts = [(name, count(_text(sections, indices))) for name, indices in _blocks(sections)]
        views = tuple(FittedView(name, tokens, tokens, "") for name, tokens in counts)
        return FittedPrompt(text, fit, limit, before, before, views)
    if fit is PromptFit.AS_RELEASED:
        return FittedPrompt(text, fit, limit, before, limit, tuple(_cut_views(sections, count, limit)))
    sections = tuple(_cuttable(section, count) for section in sections)
    kept = _Shortening(sections, count, limit).run()
    shortened = _text(sections, range(len(sections)), kept)
    if count(shortened) > limit:  # nothing but headings
        shortened, _ = _cut_at_word(text, count, limit)
        return FittedPrompt(shortened, fit, limit, before, count(shortened), tuple(_cut_views(sections, count, limit)))
    views = tuple(_shortened_views(sections, kept, count))
    return FittedPrompt(shortened, fit, limit, before, count(shortened), views)


class _Shortening:
    """How many sentences of each section are kept. Sections take turns: the one that has least of itself is next."""

    def __init__(self, sections: tuple[Section, ...], count: Count, limit: int) -> None:
        self._sections = sections
        self._count = count
        self._limit = limit
        self._costs = [[count(sentence) for sentence in section.sentences] for section in sections]
        self._kept = [0] * len(sections)

    def run(self) -> list[int]:
        """Return the number of sentences to keep of each section."""
        everything = range(len(self._sections))
        ego = [index for index in everything if self._sections[index].view == EGO]
        rest = [index for index in everything if index not in ego]
        ego_total, rest_total = self._total(ego), self._total(rest)
        room = self._limit - self._count("".join(section.shortened(0) for section in self._sections))
        first_sentences = sum(self._costs[index][0] for index in rest if self._costs[index])
        for_rest = max(min(rest_total, room * _REST_KEEPS), min(first_sentences, room / 2))
        for_ego = room - for_rest
        even = room / max(1, ego_total + rest_total)
        self._fill(ego, min(for_ego, max(even, _EGO_KEEPS) * ego_total), lambda: self._spent(ego) <= for_ego)
        self._fill(rest, room - self._spent(ego), lambda: self._spent(everything) <= room)
        # Counted once more as one text: at the seams it may have more or fewer tokens than its parts.
        while self._spent(everything) and not self._fits():
            self._kept[max(everything, key=self._share)] -= 1
        self._fill(everything, float("inf"), self._fits)
        return self._kept

    def _fill(self, group: Iterable[int], goal: float, fits: Callable[[], bool]) -> None:
        """Add sentences to the sections of a group until they have `goal` tokens or no next sentence fits."""
        open_sections = {index for index in group if self._kept[index] < len(self._costs[index])}
        while open_sections and self._spent(group) < goal:
            index = min(open_sections, key=lambda index: (self._share(index), index))
            self._kept[index] += 1
            if not fits():
                self._kept[index] -= 1
                open_sections.remove(index)
            elif self._kept[index] == len(self._costs[index]):
                open_sections.remove(index)

    def _fits(self) -> bool:
        return self._count(_text(self._sections, range(len(self._sections)), self._kept)) <= self._limit

    def _share(self, index: int) -> float:
        return sum(self._costs[index][: self._kept[index]]) / max(1, sum(self._costs[index]))

    def _spent(self, group: Iterable[int]) -> int:
        return sum(sum(self._costs[index][: self._kept[index]]) for index in group)

    def _total(self, group: Iterable[int]) -> int:
        return sum(sum(self._costs[index]) for index in group)


def _cuttable(section: Section, count: Count) -> Section:
    """Split sentences that are too long to be dropped as a whole into their words."""
    pieces: list[str] = []
    for sentence in section.sentences:
        pieces += split_words(sentence) if count(sentence) > _LONGEST_SENTENCE else [sentence]
    return replace(section, sentences=tuple(pieces))


def _blocks(sections: tuple[Section, ...]) -> list[tuple[str, list[int]]]:
    """Return the blocks in the text's order: a view and the sections of its own that follow one another."""
    blocks: list[tuple[str, list[int]]] = []
    for index, section in enumerate(sections):
        if not blocks or blocks[-1][0] != section.view:
            blocks.append((section.view, []))
        blocks[-1][1].append(index)
    return blocks


def _text(sections: tuple[Section, ...], indices: Iterable[int], kept: list[int] | None = None) -> str:
    """Join sections, whole or with `kept` sentences each."""
    return "".join(
        sections[index].shortened(kept[index] if kept else len(sections[index].sentences)) for index in indices
    )


def _cut_views(sections: tuple[Section, ...], count: Count, limit: int) -> Iterable[FittedView]:
    """Say what is left of each block when the first `limit` tokens are kept."""
    left = limit
    for name, indices in _blocks(sections):
        text = _text(sections, indices)
        tokens = count(text)
        after = min(tokens, left)
        yield FittedView(name, tokens, after, _cut_at_word(text, count, left)[1])
        left -= after


def _shortened_views(sections: tuple[Section, ...], kept: list[int], count: Count) -> Iterable[FittedView]:
    for name, indices in _blocks(sections):
        dropped = ["".join(sections[index].sentences[kept[index] :]).strip() for index in indices]
        lost = " [...] ".join(text for text in dropped if text)
        after = count(_text(sections, indices, kept))
        yield FittedView(name, count(_text(sections, indices)), after, lost)


def _cut_at_word(text: str, count: Count, limit: int) -> tuple[str, str]:
    """Split a text after the last word with which it has `limit` tokens at most."""
    if count(text) <= limit:
        return text, ""
    words = split_words(text)
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count("".join(words[:middle])) <= limit else (low, middle - 1)
    return "".join(words[:low]).strip(), "".join(words[low:]).strip()
