"""Translations in the real editor: on both frontends, in both renderers, read from what is drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.browser import Editor, editor, screenshot
from support.camera_editor import CLASSIC, VUE
from support.core_features import skip_without
from support.screen import choose_renderer, load_api, seen

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "output" / "screenshots"
GRAPH = {
    "1": {
        "class_type": "Exo2EgoCamera",
        "inputs": {
            **{"lens": "pinhole", "width": 96, "height": 96, "fov": 60, "x": 0, "y": 0, "z": 0},
            **{"yaw": 180, "pitch": 0, "roll": 0},
        },
    },
    "2": {
        "class_type": "Exo2EgoRenderPrior",
        "inputs": {"camera": ["1", 0], "radius": 5, "points_per_pixel": 20, "backend": "torch"},
    },
}
PLACES = {"1": [0, 60, 300, 480], "2": [360, 60, 320, 300]}
STANDIN = {"zh": "替身", "ja": "代役"}  # the title of another pack's node, of tests/support/standin_nodes/locales/


def texts(language: str, file: str = "nodeDefs.json") -> dict[str, Any]:
    return json.loads((ROOT / "locales" / language / file).read_text(encoding="utf-8"))


@contextmanager
def in_language(opened: Editor, url: str, language: str) -> Iterator[None]:
    """Open the editor anew in a language, for the length of the block.

    Skips the test where the frontend loses the translations of all packs, as some do that load a language late.
    """

    def choose(code: str) -> None:
        opened.page.request.post(f"{url}/settings", data={"Comfy.Locale": code})

    choose(language)
    try:
        opened.open(url)
        title = opened.page.evaluate("LiteGraph.createNode('StandInName').title")
        skip_without(title == STANDIN[language], "frontend that keeps the translations of packs")
        yield
    finally:
        choose("en")


@pytest.fixture(scope="module")
def opened(frontend_server):
    with editor(frontend_server.url) as page:
        page.page.set_viewport_size({"width": 1300, "height": 900})
        yield page


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_every_node_is_translated_as_the_files_have_it(opened, frontend_server, language):
    """The editor's own reader of translations changes none: braces, bars and the like would be syntax to it."""
    expected = {
        node: {
            "title": told["display_name"],
            "inputs": {name: given["name"] for name, given in told["inputs"].items()},
            "outputs": [told["outputs"][str(index)]["name"] for index in range(len(told["outputs"]))],
        }
        for node, told in texts(language).items()
    }
    with in_language(opened, frontend_server.url, language):
        shown = opened.page.evaluate(_NODES)
        menu = opened.page.evaluate("LiteGraph.registered_node_types['Exo2EgoCamera'].category")
        assert [told for told in opened.complaints() if "/api/view?" not in told] == []  # of files that are not there
    assert menu == f"Exo2Ego/{texts(language, 'main.json')['nodeCategories']['camera']}"
    for node, told in shown.items():
        wanted = expected.pop(node)
        inputs = told.pop("inputs")
        inputs.pop("upload", None)  # the frontend's own button
        assert inputs == wanted.pop("inputs"), node
        assert told == wanted, node
    assert expected == {}


@pytest.mark.parametrize("renderer", [CLASSIC, VUE])
def test_titles_inputs_and_tooltips_are_drawn_in_chinese(opened, frontend_server, renderer):
    camera, prior = texts("zh")["Exo2EgoCamera"], texts("zh")["Exo2EgoRenderPrior"]
    wanted = [camera["display_name"], prior["display_name"]]
    wanted += [camera["inputs"][name]["name"] for name in ("fov", "width", "yaw")]
    wanted += [prior["inputs"]["points"]["name"], prior["outputs"]["1"]["name"]]
    with in_language(opened, frontend_server.url, "zh"):
        choose_renderer(opened, renderer)
        if renderer == CLASSIC:
            opened.page.evaluate(_NOTE_DRAWN)
        load_api(opened, GRAPH, PLACES)
        opened.page.evaluate("app.canvas.setDirty(true, true)")
        opened.page.wait_for_timeout(500)
        drawn = opened.page.evaluate("window.drawnTexts && [...window.drawnTexts]")
        screenshot(opened, SCREENSHOTS / f"chinese_{renderer}.png")
        missing = [text for text in wanted if not (text in drawn if renderer == CLASSIC else seen(opened, text))]
        assert missing == []
        opened.page.mouse.move(*place_of_fov(opened, renderer, camera["inputs"]["fov"]["name"]), steps=3)
        opened.page.wait_for_function(_IS_SHOWN, arg=camera["inputs"]["fov"]["tooltip"])
        screenshot(opened, SCREENSHOTS / f"chinese_tooltip_{renderer}.png")


def place_of_fov(opened: Editor, renderer: str, label: str) -> tuple[float, float]:
    """Return where the field of view's label is on the screen."""
    if renderer == VUE:
        box = seen(opened, label)[0]
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return tuple(opened.page.evaluate(_WIDGET, ["Exo2EgoCamera", "fov"]))


_NODES = """() => Object.fromEntries(Object.entries(LiteGraph.registered_node_types)
  .filter(([type]) => type.startsWith('Exo2Ego')).map(([type]) => {
    const node = LiteGraph.createNode(type);
    return [type, {
      title: node.title,
      inputs: Object.fromEntries((node.inputs ?? []).map((one) => [one.name, one.localized_name])),
      outputs: (node.outputs ?? []).map((one) => one.localized_name),
    }];
  }))"""

_NOTE_DRAWN = """() => {
  window.drawnTexts = new Set();
  const draw = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.drawnTexts.add(text);
    return draw.call(this, text, ...rest);
  };
}"""

_WIDGET = """([type, name]) => {
  const node = app.graph._nodes.find((one) => one.type === type);
  const widget = node.widgets.find((one) => one.name === name);
  const { scale, offset } = app.canvas.ds;
  const frame = app.canvas.canvas.getBoundingClientRect();
  const [x, y] = [node.pos[0] + 60, node.pos[1] + widget.y + 10];
  return [frame.left + (x + offset[0]) * scale, frame.top + (y + offset[1]) * scale];
}"""

_IS_SHOWN = """(text) => [...document.querySelectorAll('.node-tooltip, [role=tooltip], .p-tooltip')]
  .some((one) => one.checkVisibility() && one.textContent.includes(text))"""
