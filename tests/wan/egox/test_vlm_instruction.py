"""The instruction for a vision-language model: our own words, EgoX's form, and an answer that fits."""

from __future__ import annotations

import re

import pytest

from exo2ego.wan.egox.prompt_sections import split_sections
from exo2ego.wan.egox.vlm_instruction import VLM_INSTRUCTION

RUN = 5  # words in a row that may not be shared
TOKENS_PER_WORD = 1.35


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def runs(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[index : index + RUN]) for index in range(len(found) - RUN + 1)}


@pytest.fixture
def table_6(shared_data) -> str:
    paper = shared_data.parent / "papers" / "egox.txt"
    if not paper.is_file():
        pytest.skip(f"the paper's text is not here ({paper})")
    text = paper.read_text(encoding="utf-8")
    end = text.index("Table 6. **System Prompt for VLM.**")
    return re.sub(r"<[^<>]*>", " ", text[text.rindex("<table", 0, end) : end])


def test_no_words_of_the_paper(table_6):
    assert len(words(table_6)) > 300, "not the table"
    assert ("this", "is", "your", "most", "important") in runs(table_6)
    assert sorted(runs(VLM_INSTRUCTION) & runs(table_6)) == []


def test_the_form_is_egox_s():
    sections = split_sections(VLM_INSTRUCTION[VLM_INSTRUCTION.index("[Exo view]") :])
    assert [(section.view, " ".join(section.heading.split())) for section in sections] == [
        ("Exo view", "[Exo view] **Scene Overview:**"),
        ("Exo view", "**Action Analysis:**"),
        ("Ego view", "[Ego view] **Scene Overview:**"),
        ("Ego view", "**Action Analysis:**"),
    ]


def test_an_answer_that_keeps_to_it_fits_into_the_model():
    budgets = [int(number) for number in re.findall(r"<up to (\d+) words", VLM_INSTRUCTION)]
    assert len(budgets) == 4
    exo, ego = sum(budgets[:2]), sum(budgets[2:])
    assert exo < 0.6 * ego
    assert TOKENS_PER_WORD * (exo + ego) + 45 < 512  # the headings have about 40 tokens
