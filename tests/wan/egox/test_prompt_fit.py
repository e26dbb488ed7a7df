"""Prompts fitted to the tokens that the model reads: nothing is added, the ego view survives, the figures are right."""

from __future__ import annotations

import random
import re

import pytest

from exo2ego.wan.egox.prompt import two_view_prompt
from exo2ego.wan.egox.prompt_fit import PromptFit, fit_prompt
from exo2ego.wan.egox.prompt_sections import split_sections
from support.prompts import (
    LENGTHS,
    PROMPT_VOCABULARY,
    counter,
    prompts_of_takes,
    prose_tokenizer,
    trained_tokenizer,
    two_blocks,
)

LIMIT = 511
BOTH, RELEASED = PromptFit.KEEP_BOTH_VIEWS, PromptFit.AS_RELEASED
HEADINGS = ("[Exo view]", "**Scene Overview:**", "**Action Analysis:**", "[Ego view]")


@pytest.fixture(scope="module")
def count():
    return counter(prose_tokenizer())


def ego_block(text: str) -> str:
    return text[text.index("[Ego view]") :]


def descriptions(text: str) -> list[str]:
    """The four descriptions, found without the code under test."""
    found = re.split(r"\[(?:Exo|Ego) view\]\s*|\*\*(?:Scene Overview|Action Analysis)(?::\*\*|\*\*\s*:)\s*", text)
    return [part.strip() for part in found if part.strip()]


def assert_well_shortened(before: str, after: str, count) -> None:
    assert count(after) <= LIMIT
    assert [after.count(heading) for heading in HEADINGS] == [before.count(heading) for heading in HEADINGS]
    for whole, part in zip(descriptions(before), descriptions(after), strict=True):
        assert whole.startswith(part), "a description is not the beginning of the one that was given"
        assert part[-1] in '.!?"'
    kept = count(ego_block(after)) / count(ego_block(before))
    assert kept >= 2 / 3, f"{1 - kept:.0%} of the ego view is lost"


def test_the_tokenizer_is_as_fine_as_umt5(count):
    text = two_blocks(830, 465, count)
    assert 1.2 < count(text) / len(text.split()) < 1.5


@pytest.mark.parametrize(("total", "start"), LENGTHS)
@pytest.mark.parametrize("seed", range(3))
def test_the_ego_view_survives(count, total, start, seed):
    prompt = two_blocks(total, start, count, seed)
    length, before_ego = count(prompt), count(prompt[: prompt.index("[Ego view]")])
    assert length == pytest.approx(total, abs=30), "not the length that the test means"
    assert before_ego == pytest.approx(start, abs=15)
    fitted = fit_prompt(prompt, BOTH, count, LIMIT)
    assert_well_shortened(prompt, fitted.text, count)
    assert fitted.after > LIMIT - 60, "room is left unused"
    released = fit_prompt(prompt, RELEASED, count, LIMIT)
    assert released.views[1].after == pytest.approx(LIMIT - before_ego, abs=1)
    assert released.views[1].lost_percent == pytest.approx(100 * (length - LIMIT) / (length - before_ego), abs=1)


def test_the_prompts_of_shared_takes(shared_data):
    prompts = dict(prompts_of_takes(shared_data))
    assert len(prompts) == 3
    count = counter(trained_tokenizer("\n".join(prompts.values()).splitlines(), PROMPT_VOCABULARY))
    for name, prompt in prompts.items():
        assert 1.3 < count(prompt) / len(prompt.split()) < 1.5, name
        assert 585 < count(prompt) < 830, name
        assert_well_shortened(prompt, fit_prompt(prompt, BOTH, count, LIMIT).text, count)
        released = fit_prompt(prompt, RELEASED, count, LIMIT)
        assert released.text == prompt
        assert released.views[1].lost_percent > 100 / 3, "the release would lose as little"


@pytest.mark.parametrize("fit", PromptFit)
def test_what_fits_stays_as_it_is(count, fit):
    for text in ("", "blurry, text, watermark", two_view_prompt("A room.", "A man waves.", "A room.", "A hand waves.")):
        fitted = fit_prompt(text, fit, count, LIMIT)
        assert fitted.text == text
        assert not fitted.is_shortened
        assert fitted.report().startswith(f"{count(text)} of 511 tokens")


def test_joined_again_it_is_the_same_text(shared_data):
    texts = [prompt for _, prompt in prompts_of_takes(shared_data)]
    texts += [
        "",
        "  \n",
        "[Ego view]",
        " a. b\n\n[EGO VIEW]**Scene overview**\n: c",
        "x[Exo view]\n\n[Exo view] y. ",
        "**",
    ]
    for text in texts:
        sections = split_sections(text)
        assert "".join(section.shortened(len(section.sentences)) for section in sections) == text


def test_plain_text_loses_its_last_sentences(count):
    sentences = [f"Sentence number {number} says something about cup {number}." for number in range(90)]
    fitted = fit_prompt(" ".join(sentences), BOTH, count, LIMIT)
    kept = fitted.text.split(". ")
    assert fitted.text == " ".join(sentences[: len(kept)])
    assert fitted.after > LIMIT - count(sentences[-1])
    assert fitted.views[0].lost == " ".join(sentences[len(kept) :])
    assert "the text" in fitted.report()


@pytest.mark.parametrize("heading", ["[Exo view]", "[Ego view]"])
def test_one_block_alone(count, heading):
    body = " ".join(f"The hand lifts cup {number}." for number in range(150))
    fitted = fit_prompt(f"{heading}\n**Action Analysis:**\n{body}", BOTH, count, LIMIT)
    assert fitted.text.startswith(f"{heading}\n**Action Analysis:**\nThe hand lifts cup 0.")
    assert fitted.text.endswith(".")
    assert LIMIT - 12 < count(fitted.text) <= LIMIT


def test_a_sentence_without_end_is_cut_at_a_word(count):
    words = [f"cup{number}," for number in range(700)]
    fitted = fit_prompt(" ".join(words), BOTH, count, LIMIT)
    kept = fitted.text.split(" ")
    assert kept[:-1] == words[: len(kept) - 1]
    assert kept[-1] == words[len(kept) - 1].rstrip(",")
    assert LIMIT - 12 < count(fitted.text) <= LIMIT


def test_two_sentences_without_end_share_the_room(count):
    prompt = two_view_prompt("A room.", "cup " * 600, "A room.", "bowl " * 600)
    fitted = fit_prompt(prompt, BOTH, count, LIMIT)
    exo, ego = fitted.views
    assert ego.after > 2 * exo.after
    assert exo.after > 90
    assert LIMIT - 5 < count(fitted.text) <= LIMIT


@pytest.mark.parametrize(
    ("sentence", "end"),
    [
        ("\u53f3\u624b\u62ff\u8d77\u676f\u5b50\uff0c\u653e\u5728\u684c\u4e0a\u3002", "\u3002"),  # Chinese
        ("\u53f3\u624b\u304c\u30ab\u30c3\u30d7\u3092\u53d6\u308b\uff01", "\uff01"),  # Japanese
        ("\u0939\u093e\u0925 \u0915\u092a \u0909\u0920\u093e\u0924\u093e \u0939\u0948\u0964 ", "\u0964"),  # Hindi
        ("\u0647\u0644 \u062a\u0631\u0649 \u0627\u0644\u0643\u0648\u0628\u061f ", "\u061f"),  # Arabic
    ],
)  # fmt: skip
def test_sentences_of_other_languages(sentence, end):
    fitted = fit_prompt(sentence * 60, BOTH, len, 200)
    assert fitted.text == (sentence * (len(fitted.text.strip()) // len(sentence.strip()) + 1))[: len(fitted.text)]
    assert fitted.text.strip().endswith(end)
    assert 200 - len(sentence) < len(fitted.text) <= 200


def test_a_script_without_spaces_is_cut_too():
    fitted = fit_prompt("\u676f" * 900, BOTH, len, LIMIT)
    assert LIMIT - 24 <= len(fitted.text) <= LIMIT


def test_what_ends_no_sentence():
    text = "A cup (approx. 8.5 cm, e.g. steel) vs. a bowl! Dr. Who? Yes."
    (section,) = split_sections(text)
    assert section.sentences == ("A cup (approx. 8.5 cm, e.g. steel) vs. a bowl! ", "Dr. Who? ", "Yes.")


def test_anything_fits_at_last(count):
    rng = random.Random(1)
    pieces = [
        "[Exo view]\n",
        "[Ego view] ",
        "**Scene Overview:** ",
        "**Action Analysis:**\n",
        "word ",
        "End. ",
        "\n\n",
        "\u3002",
    ]
    for _ in range(20):
        text = "".join(rng.choices(pieces, weights=[1, 1, 1, 1, 40, 8, 1, 1], k=rng.randint(1, 800)))
        for limit in (LIMIT, 40, 5):
            fitted = fit_prompt(text, BOTH, count, limit)
            assert count(fitted.text) == fitted.after <= limit
            assert fitted.before == count(text)
    assert count(fit_prompt("[Ego view]\n" * 900, BOTH, count, LIMIT).text) <= LIMIT


def test_the_report_counts(count):
    prompt = two_blocks(830, 400, count)
    fitted = fit_prompt(prompt, BOTH, count, LIMIT)
    report = fitted.report()
    split = prompt.index("[Ego view]"), fitted.text.index("[Ego view]")
    for name, before, after in (
        ("[Exo view]", prompt[: split[0]], fitted.text[: split[1]]),
        ("[Ego view]", prompt[split[0] :], fitted.text[split[1] :]),
    ):
        lost = 100 * (count(before) - count(after)) / count(before)
        assert f"{name}: {count(after)} of {count(before)} tokens kept, {lost:.0f} % lost." in report
        for dropped in (
            descriptions(before)[0][len(descriptions(after)[0]) :],
            descriptions(before)[1][len(descriptions(after)[1]) :],
        ):
            assert dropped.strip() in report
    assert f"{count(prompt)} tokens" in report
    cut = fit_prompt(prompt, RELEASED, count, LIMIT)
    assert prompt.endswith(cut.views[1].lost)
    assert count(prompt.removesuffix(cut.views[1].lost)) == pytest.approx(LIMIT, abs=4)
    assert '"keep both views"' in cut.report()
