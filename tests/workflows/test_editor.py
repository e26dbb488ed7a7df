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
    assert page.page.evaluate("app.graph._nodes.filter((node) => node.has_errors || !node.type).length") == 0
    assert page.page.evaluate(_OVERLAPS) == []
    assert page.api_prompt() == api_graph(name)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_node_covers_another_in_nodes_2(page, name):
    with page.nodes_2():
        page.load(json.loads((ROOT / "workflows" / f"{name}.json").read_text()))
        screenshot(page, ROOT / "output" / "screenshots" / f"{name}_nodes_2.png")
        assert page.complaints() == []
        assert page.page.evaluate(_OVERLAPS) == []


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
