"""The shipped workflows in ComfyUI's real editor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.browser import editor, screenshot
from support.graphs import WORKFLOWS, api_graph

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page(comfy_server):
    with editor(comfy_server.url) as opened:
        yield opened


@pytest.mark.parametrize("name", WORKFLOWS)
def test_opens_without_complaint_and_equals_its_twin(page, name):
    page.load(json.loads((ROOT / "workflows" / f"{name}.json").read_text()))
    screenshot(page, ROOT / "output" / "screenshots" / f"{name}.png")
    assert page.complaints() == []
    assert page.page.evaluate(_UNKNOWN) == []
    assert page.page.evaluate(_OVERLAPS) == []
    twin = api_graph(name)
    assert without_newer_inputs(page.api_prompt(), twin) == twin


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_node_covers_another_in_nodes_2(page, name):
    with page.nodes_2():
        page.load(json.loads((ROOT / "workflows" / f"{name}.json").read_text()))
        screenshot(page, ROOT / "output" / "screenshots" / f"{name}_nodes_2.png")
        assert page.complaints() == []
        assert page.page.evaluate(_OVERLAPS) == []


def without_newer_inputs(prompt, twin):
    """The prompt without the inputs that a newer ComfyUI has added to nodes of its own."""

    def is_known(number, name):
        return prompt[number]["class_type"].startswith("Exo2Ego") or name in twin.get(number, {}).get("inputs", {})

    return {
        number: {**node, "inputs": {name: value for name, value in node["inputs"].items() if is_known(number, name)}}
        for number, node in prompt.items()
    }


# Nodes that the editor does not know. It may mark others for a model that is not there.
_UNKNOWN = "app.graph._nodes.map((node) => node.type).filter((type) => !(type in LiteGraph.registered_node_types))"

# Pairs of nodes that cover each other, title bars of 30 pixels included.
_OVERLAPS = """() => {
  const nodes = app.graph._nodes, found = [];
  for (const [index, a] of nodes.entries())
    for (const b of nodes.slice(index + 1))
      if (a.pos[0] < b.pos[0] + b.size[0] && b.pos[0] < a.pos[0] + a.size[0]
          && a.pos[1] - 30 < b.pos[1] + b.size[1] && b.pos[1] - 30 < a.pos[1] + a.size[1])
        found.push(`${a.title} and ${b.title}`);
  return found;
}"""
