"""The shipped workflows in ComfyUI's real editor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from templates.files import BLUEPRINTS, SHIPPED_BLUEPRINTS, all_nodes, read

from support.browser import editor, screenshot
from support.graphs import WORKFLOWS, api_graph, template, write_small_take

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page(comfy_server):
    with editor(comfy_server.url) as opened:
        yield opened


@pytest.mark.parametrize("name", WORKFLOWS)
def test_opens_without_complaint_and_equals_its_twin(page, name):
    page.load(template(name))
    screenshot(page, ROOT / "output" / "screenshots" / f"{name}.png")
    assert page.complaints() == []
    assert page.page.evaluate(_UNKNOWN) == []
    assert page.page.evaluate(_OVERLAPS) == []
    twin = api_graph(name)
    assert without_newer_inputs(page.api_prompt(), twin) == twin


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_wire_crosses_a_node(page, name):
    page.load(template(name))
    assert page.page.evaluate(_CROSSED) == []


@pytest.fixture(scope="module")
def newest_page(newest_server):
    with editor(newest_server.url) as opened:
        yield opened


@pytest.mark.parametrize("name", [name for name in WORKFLOWS if "definitions" in template(name)])
def test_subgraphs_send_the_same_from_the_newest_frontend(newest_page, name):
    newest_page.load(template(name))
    screenshot(newest_page, ROOT / "output" / "screenshots" / f"{name}_newest.png")
    assert newest_page.complaints() == []
    twin = api_graph(name)
    assert without_newer_inputs(newest_page.api_prompt(), twin) == twin


@pytest.mark.parametrize("which", ["page", "newest_page"])
@pytest.mark.parametrize("name", SHIPPED_BLUEPRINTS)
def test_blueprints_are_found_among_the_nodes(request, which, name):
    opened = request.getfixturevalue(which)
    opened.page.evaluate("app.graph.clear(); app.canvas.draw(true, true)")
    _open_search(opened.page)
    opened.page.keyboard.type(name)
    opened.page.wait_for_timeout(1500)
    screenshot(opened, ROOT / "output" / "screenshots" / f"blueprint_{name}_{which}.png")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_function("app.graph._nodes.length === 1")
    assert opened.page.evaluate(_INSIDE) == sorted(
        node["type"] for node in all_nodes(read(BLUEPRINTS / f"{name}.json"))
    )


def _open_search(page):
    """Double click the empty canvas until the search for nodes has the focus: what was typed before would be keys."""
    for place in range(30):
        x, y = 1000 + 60 * (place % 10), 900
        page.mouse.move(x - 40, y - 40)
        page.mouse.dblclick(x, y)
        page.wait_for_timeout(800)
        if page.evaluate("document.activeElement?.tagName === 'INPUT'"):
            return
        page.keyboard.press("Escape")
    pytest.fail("no double click opened the search for nodes")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_node_covers_another_in_nodes_2(page, name):
    with page.nodes_2():
        page.load(template(name))
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


@pytest.mark.parametrize("name", ["egox_fast", "exo2egosyn"])
def test_missing_models_are_offered_for_download(page, name):
    """What has a public address, and nothing else: the editor knows where it belongs."""
    graph = template(name)
    offered = [model for node in all_nodes(graph) for model in node["properties"].get("models", [])]
    with page.missing_models_told():
        page.load(graph)
        dialog = page.page.locator(".p-dialog")
        dialog.wait_for()
        text = dialog.inner_text()
        screenshot(page, ROOT / "output" / "screenshots" / f"{name}_models.png")
        page.page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
    assert len(offered) >= 3
    for model in offered:
        assert f"{model['directory']} / {model['name']}" in text
    assert text.count("Download") == len(offered)
    page.errors.clear()  # sizes are asked of the addresses, which the tests do not reach


# Nodes that the editor does not know. It may mark others for a model that is not there.
_UNKNOWN = "app.graph._nodes.map((node) => node.type).filter((type) => !(type in LiteGraph.registered_node_types))"


def test_names_of_files_do_nothing_on_the_page(page, comfy_server):
    """This frontend shows a node's text as HTML. Options are HTML in its menus, so that such names are not offered."""
    folder = comfy_server.base / "input" / "<img src=x onerror=window.owned=1>\x1b[2J"
    take = write_small_take(comfy_server.base / "input" / "from")
    take.rename(folder)
    try:
        page.page.evaluate(_QUEUE_TAKE, folder.name)
        page.page.wait_for_function(f"document.body.textContent.includes('{LOOKS_LIKE}')")
        assert page.page.evaluate("window.owned") is None
        assert page.page.locator("img[src='x']").count() == 0
        assert folder.name not in page.page.evaluate("app.graph._nodes[0].widgets[0].options.values")
    finally:
        shutil.rmtree(folder)
        take.parent.rmdir()


LOOKS_LIKE = "\u2039img src=x onerror=window.owned=1\u203a\\\\x1b[2J"

_QUEUE_TAKE = """async (name) => {
  app.graph.clear();
  const take = LiteGraph.createNode("Exo2EgoLoadTake"), preview = LiteGraph.createNode("PreviewImage");
  for (const node of [take, preview]) app.graph.add(node);
  take.widgets.find((widget) => widget.name === "take").value = name;
  take.connect(0, preview, 0);
  await app.queuePrompt(0);
}"""

_INSIDE = "(app.graph._nodes[0].subgraph?._nodes ?? []).map((node) => node.type).sort()"

# The canvas' own lines, looked for along the inner edges of the nodes' boxes. At its ends a wire is on its own node's.
_CROSSED = """() => {
  const ctx = document.createElement('canvas').getContext('2d');
  ctx.lineWidth = 4;
  app.canvas.draw(true, true);
  const size = (node) => node.flags.collapsed ? [200, 0] : node.size;
  const border = (node) => {
    const [x, y] = [node.pos[0], node.pos[1] - 30], [width, height] = size(node), points = [];
    for (let a = 4; a < width - 3; a += 3) points.push([x + a, y + 4], [x + a, y + height + 26]);
    for (let b = 4; b < height + 27; b += 3) points.push([x + 4, y + b], [x + width - 4, y + b]);
    return points;
  };
  const borders = new Map(app.graph._nodes.map((node) => [node, border(node)])), found = [];
  const atEnd = (node, x) => Math.abs(x - node.pos[0] - 4) < 1 || Math.abs(x - node.pos[0] - size(node)[0] + 4) < 1;
  for (const link of app.graph.links.values()) {
    const reroutes = [...(app.graph.reroutes?.values() ?? [])].filter((one) => one.linkIds.has(link.id));
    const ends = [link.origin_id, link.target_id].map((id) => app.graph.getNodeById(id));
    for (const { path } of [link, ...reroutes])
      for (const [node, points] of path ? borders : [])
        if (points.some(([x, y]) => ctx.isPointInStroke(path, x, y) && !(ends.includes(node) && atEnd(node, x))))
          found.push(`${ends[0].title} to ${ends[1].title} crosses ${node.title}`);
  }
  return found;
}"""

# Pairs of nodes that cover each other, title bars of 30 pixels included.
_OVERLAPS = """() => {
  const nodes = app.graph._nodes, found = [];
  const size = (node) => node.flags.collapsed ? [200, 0] : node.size;  // of a collapsed node the title bar alone
  for (const [index, a] of nodes.entries())
    for (const b of nodes.slice(index + 1))
      if (a.pos[0] < b.pos[0] + size(b)[0] && b.pos[0] < a.pos[0] + size(a)[0]
          && a.pos[1] - 30 < b.pos[1] + size(b)[1] && b.pos[1] - 30 < a.pos[1] + size(a)[1])
        found.push(`${a.title} and ${b.title}`);
  return found;
}"""
