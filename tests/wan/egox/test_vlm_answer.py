"""Answers as vision-language models write them, taken apart into the prompt's fields."""

from __future__ import annotations

import inspect

import pytest

from exo2ego.wan.egox.prompt import two_view_prompt
from exo2ego.wan.egox.vlm_instruction import VLM_INSTRUCTION, Fields, fields_of

WANTED = Fields("A room. It is small.", "A man sits.", "A wall ahead.", "Two hands.\nThey rest.")


def answer(head: str = "[{} view]", scene: str = "**Scene Overview:**", action: str = "**Action Analysis:**") -> str:
    return (
        f"{head.format('Exo')}\n{scene} {WANTED.exo_scene}\n{action} {WANTED.exo_action}\n\n"
        f"{head.format('Ego')}\n{scene}\n{WANTED.ego_scene}\n\n{action}\n{WANTED.ego_action}"
    )


@pytest.mark.parametrize(
    "text",
    [
        answer(),
        answer("**[{} view]**"),
        answer("### [{} View]"),
        answer(scene="**Scene overview**:", action="**Action analysis**"),
        f"Here is the prompt:\n\n{answer()}\n\n---",
        f"```\n{answer()}\n```",
        f"<think>[Exo view]\n**Scene Overview:** hm\n</think>{answer()}",
        f"{answer()}\n\n[Exo view]\n**Scene Overview:** Once more.",
        two_view_prompt(WANTED.exo_scene, WANTED.exo_action, WANTED.ego_scene, WANTED.ego_action),
    ],
)
def test_the_four_fields(text):
    found = fields_of(text)
    assert found == WANTED
    assert found.missing() == []


@pytest.mark.parametrize("text", ["", "I cannot see a video.", "**Scene Overview:** a room", "<think>[Exo view]"])
def test_what_keeps_to_no_form_fills_nothing(text):
    assert fields_of(text) == Fields()
    assert len(fields_of(text).missing()) == 4


def test_the_form_itself_fills_nothing():
    """A weak model repeats the instruction."""
    assert fields_of(VLM_INSTRUCTION[: VLM_INSTRUCTION.index("LENGTH")]) == Fields()


def test_half_an_answer_fills_its_half():
    found = fields_of(answer().partition("[Ego view]")[0])
    assert (found.exo_scene, found.exo_action) == (WANTED.exo_scene, WANTED.exo_action)
    assert found.missing() == ["ego_scene", "ego_action"]


def test_fields_are_those_of_the_prompt_node():
    assert list(Fields.__annotations__) == list(inspect.signature(two_view_prompt).parameters)
