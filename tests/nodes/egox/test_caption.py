"""Describe Clip over HTTP and in ComfyUI's real editor, with a tiny model that has learned two answers by heart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exo2ego.wan.egox.vlm_instruction import VLM_INSTRUCTION
from support.browser import editor, screenshot
from support.tiny_vlm import BRIGHT, DARK, FORM, save_tiny_vlm

ROOT = Path(__file__).resolve().parents[3]
FIELDS = ("exo_scene", "exo_action", "ego_scene", "ego_action")


@pytest.fixture(scope="module")
def models(comfy_server) -> Path:
    folder = comfy_server.base / "models" / "vlm"
    folder.mkdir(parents=True, exist_ok=True)
    save_tiny_vlm(folder / "tiny", VLM_INSTRUCTION)
    save_tiny_vlm(folder / "babbling", taught=False)
    yield folder
    for name in ("tiny", "babbling"):
        shutil.rmtree(folder / name)


def graph(weights="tiny", color=0x1E1E1E, **changed):
    clip = {"width": 64, "height": 48, "batch_size": 9, "color": color}
    asked = {"images": ["1", 0], "weights": weights, "frames": 2, "wearer": "", **dict.fromkeys(FIELDS, "")}
    nodes = {"1": ("EmptyImage", clip), "2": ("Exo2EgoCaption", {**asked, **changed})}
    for number in range(5):
        nodes[f"{10 + number}"] = ("PreviewAny", {"source": ["2", number]})
    prompt = {name: ["2", number] for number, name in enumerate(FIELDS)}
    nodes["3"], nodes["4"] = ("Exo2EgoPrompt", prompt), ("PreviewAny", {"source": ["3", 0]})
    return {
        key: {"class_type": kind, "inputs": inputs, "_meta": {"title": key}} for key, (kind, inputs) in nodes.items()
    }


def without_prompt(graph):
    return {key: node for key, node in graph.items() if key not in ("3", "4")}


def shown(run) -> list[str]:
    return [run.outputs[f"{10 + number}"]["text"][0] for number in range(5)]


@pytest.mark.parametrize(("color", "answer"), [(0x1E1E1E, DARK), (0xDCDCDC, BRIGHT)])
def test_the_clip_fills_the_prompt(comfy_client, models, color, answer):
    run = comfy_client.run(graph(color=color))
    assert shown(run) == [*answer, FORM.format(*answer)]
    prompt = run.outputs["4"]["text"][0]
    assert all(text in prompt for text in answer)


def test_what_is_written_by_hand_is_kept(comfy_client, models):
    run = comfy_client.run(graph(ego_scene=" My own words. "))
    assert shown(run)[:4] == [DARK[0], DARK[1], "My own words.", DARK[3]]


def test_a_filled_node_asks_no_model(comfy_client, models):
    mine = {name: f"my {name}" for name in FIELDS}
    run = comfy_client.run(graph(weights="babbling", **mine))
    assert shown(run) == [*mine.values(), ""]


def test_without_weights_the_fields_stay_empty(comfy_client, refuse, models):
    """Never the example's kitchen; and an empty prompt is told before anything is sampled."""
    assert shown(comfy_client.run(without_prompt(graph(weights="none")))) == [""] * 5
    text = refuse(graph(weights="none"))
    assert "The prompt is empty." in text
    assert "kitchen" not in text.lower()


def test_no_folder_at_all_is_told_and_leaves_them_empty(comfy_server, comfy_client, models):
    """What the template names is offered where no weights lie, and downloads nothing."""
    away = models.parent / "vlm_away"
    models.rename(away)
    try:
        run = comfy_client.run(without_prompt(graph(weights="Qwen3-VL-2B-Instruct", frames=1)))
    finally:
        away.rename(models)
    assert shown(run) == [""] * 5
    log = comfy_server.log.read_text()
    assert "There is no model in" in log
    assert "Put the files of Qwen/Qwen3-VL-2B-Instruct (about 4.3 GB) there" in log


def test_an_answer_without_form_fills_nothing(comfy_server, comfy_client, models):
    run = comfy_client.run(without_prompt(graph(weights="babbling")))
    assert shown(run)[:4] == [""] * 4
    assert "does not keep to the form" in comfy_server.log.read_text()


@pytest.fixture(scope="module")
def page(comfy_server, models):
    with editor(comfy_server.url) as opened:
        yield opened


def test_the_answer_stands_in_the_boxes_and_can_be_changed(page):
    sent = without_prompt(graph(exo_action="By hand."))
    page.page.evaluate("(graph) => app.loadApiJson(graph, 'caption')", sent)
    page.page.evaluate("() => app.queuePrompt(0)")
    value = "app.graph.getNodeById('2').widgets.find((widget) => widget.name === '{}').value"
    page.page.wait_for_function(f"{value.format('ego_action')} === {DARK[3]!r}")
    inputs = page.api_prompt()["2"]["inputs"]
    assert [inputs[name] for name in FIELDS] == [DARK[0], "By hand.", DARK[2], DARK[3]]
    screenshot(page, ROOT / "output" / "screenshots" / "caption.png")
    change = "(text) => { app.graph.getNodeById('2').widgets.find((one) => one.name === 'ego_scene').value = text; }"
    page.page.evaluate(change, "Corrected.")
    assert page.api_prompt()["2"]["inputs"]["ego_scene"] == "Corrected."
