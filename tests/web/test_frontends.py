"""The camera editor at home in ComfyUI's named and in the newest frontend, read from the screen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.browser import editor, screenshot
from support.camera_editor import CLASSIC, VUE, CameraEditor
from support.graphs import template
from support.screen import choose_renderer, ended_runs, seen

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "output" / "screenshots"


@pytest.fixture(scope="module")
def opened(frontend_server):
    with editor(frontend_server.url) as page:
        page.page.set_viewport_size({"width": 1600, "height": 1080})
        yield page


def shown_editors(opened) -> int:
    return opened.page.locator(".e2e").filter(visible=True).count()


@pytest.mark.parametrize("renderer", [CLASSIC, VUE])
def test_the_editor_on_the_screen_lives_after_an_undo_of_the_graph(opened, renderer):
    shown = CameraEditor(opened, renderer)
    shown.load()
    shown.command("setKey")
    shown.command("last")
    shown.command("setKey")
    text = shown.widget()
    assert text.count('"frame"') == 2

    def step(key: str) -> bool:
        is_done = shown.step_of_graph(key)
        assert shown_editors(opened) == 1
        assert opened.page.evaluate(_IS_LIVE), f"after {key} the editor on the screen is a dead one"
        return is_done

    assert step("Control+z")
    is_redone = step("Control+y")
    assert is_redone or renderer == VUE
    if is_redone:
        assert step("Control+z")
    for _ in range(2):  # Nodes 2.0 may have found changes of their own after the redo, which are undone first
        if shown.widget() == text:
            step("Control+z")
    assert shown.widget() != text
    shown.command("last")
    shown.command("setKey")
    assert shown.widget().count('"frame"') == 2, "the button on the screen belongs to a dead editor"


def test_the_properties_panel_leaves_the_editor_as_it_is(opened):
    shown = CameraEditor(opened, CLASSIC)
    shown.load()
    page = opened.page
    toggle = page.get_by_role("button", name="Toggle properties panel")
    if not toggle.count():
        pytest.skip("this frontend has no Properties panel")
    before = opened.settled_box(".e2e")
    page.evaluate("app.canvas.selectNode(app.graph._nodes.find((n) => n.exo2egoEditor))")
    if not seen(opened, "Parameters"):  # it stays as it was left
        toggle.first.click()
        page.wait_for_timeout(1500)
    screenshot(opened, SCREENSHOTS / "properties_panel.png")
    panel = seen(opened, "Camera Editor")
    assert panel, "the panel shows the node"
    assert [box for box in seen(opened, "editor") if box["x"] > 1100] == [], "a row of the panel without anything in it"
    page.get_by_role("button", name="Close").or_(toggle).filter(visible=True).first.click()
    page.evaluate("app.canvas.setDirty(true, true)")
    page.wait_for_timeout(500)
    after = opened.settled_box(".e2e")
    assert after["width"] == pytest.approx(before["width"], abs=1)


def test_a_width_written_into_the_widget_leaves_the_editor_as_it_is(opened):
    """As the Properties panel of several frontends does, for good."""
    shown = CameraEditor(opened, CLASSIC)
    shown.load()
    before = opened.settled_box(".e2e")
    opened.page.evaluate(_WRITE_WIDTH)
    opened.page.wait_for_timeout(500)
    after = opened.settled_box(".e2e")
    assert after["width"] == pytest.approx(before["width"], abs=1)


def test_keys_pressed_in_the_editor_do_not_reach_the_graph(opened):
    shown = CameraEditor(opened, CLASSIC)
    shown.load()
    opened.page.evaluate("app.canvas.selectNode(app.graph._nodes.find((n) => n.exo2egoEditor))")
    shown.click({"view": "timeline", "at": [0.3, 0.2]})  # the focus
    before = opened.settled_box(".e2e")
    opened.page.evaluate("app.canvas.selectNode(app.graph._nodes.find((n) => n.exo2egoEditor))")
    shown.press("Control+m", "Control+b", "Control+g", "Alt+c")
    opened.page.wait_for_timeout(500)
    state = "app.graph._nodes.map((n) => [n.mode, Boolean(n.flags.collapsed), Boolean(n.flags.pinned)])"
    assert opened.page.evaluate(state) == [[0, False, False]] * 3
    assert opened.page.evaluate("app.graph._groups.length") == 0
    assert opened.settled_box(".e2e") == before


def test_app_mode_has_room_for_the_editor(opened):
    shown = CameraEditor(opened, VUE)
    shown.load()
    if not opened.page.evaluate(_HAS_APP_MODE):
        pytest.skip("this frontend has no App mode")
    opened.page.evaluate(_APP_MODE)
    opened.page.wait_for_timeout(2500)
    tour = opened.page.get_by_role("button", name="Skip").filter(visible=True)  # the frontend's own welcome
    if tour.count():
        tour.first.click()
        opened.page.wait_for_timeout(500)
    try:
        screenshot(opened, SCREENSHOTS / "app_mode.png")
        assert shown_editors(opened) == 1
        assert opened.page.evaluate(_BEYOND) == []
        box = opened.settled_box(".e2e")
        ego = opened.settled_box(".e2e-ego-box")
        assert box["width"] < 560
        assert ego["width"] > 100
        assert ego["height"] > 100
        shown.command("setKey")
        assert shown.widget().count('"frame"') == 1
        shown.command("curves")
        screenshot(opened, SCREENSHOTS / "app_mode_curves.png")
        assert opened.page.evaluate(_BEYOND) == []
        assert opened.page.evaluate(_BLANK) == []
    finally:
        opened.page.evaluate("app.extensionManager.command.execute('Comfy.ToggleLinear')")


def test_app_mode_of_the_named_frontend_lets_no_node_lie_over_the_editor(opened):
    shown = CameraEditor(opened, VUE)
    shown.load_workflow(template("ego_camera"))
    if not opened.page.evaluate(_HAS_APP_MODE):
        pytest.skip("this frontend has no App mode")
    toggle = "app.extensionManager.command.execute('Comfy.ToggleLinear')"
    opened.page.evaluate(toggle)
    opened.page.wait_for_timeout(2500)
    try:
        if not opened.page.evaluate(_LISTS_ALL_NODES):
            pytest.skip("this frontend's App mode shows chosen inputs alone")
        screenshot(opened, SCREENSHOTS / "app_mode_all_nodes.png")
        assert opened.page.evaluate(_OVER_THE_EDITOR) == []
    finally:
        opened.page.evaluate(toggle)


@pytest.mark.parametrize("renderer", [CLASSIC, VUE])
def test_what_ran_while_the_page_was_closed_is_there(opened, frontend_server, renderer):
    shown = CameraEditor(opened, renderer)
    # No run of it is known. ComfyUI rounds to hundredths.
    shown.load(start=True, reliability=0.21 if renderer == VUE else 0.22, height=112)
    page = opened.page
    empty = page.locator(".e2e-empty").filter(visible=True)
    empty.wait_for()
    page.get_by_label("Presets").filter(visible=True).select_option("start")
    page.wait_for_timeout(300)
    assert "The start camera is connected" in page.locator(".e2e-message").filter(visible=True).inner_text()
    before = ended_runs(frontend_server.url)
    page.wait_for_timeout(1000)  # the frontend stores the graph a moment after a change
    page.evaluate("app.queuePrompt(0)")
    page.goto("about:blank")
    while ended_runs(frontend_server.url) == before:
        time.sleep(0.2)
    page.goto(frontend_server.url)
    page.wait_for_function("window.app?.graph?._nodes?.some((n) => n.exo2egoEditor) && window.app.canvas")
    shown.wait("hasCloud")
    page.wait_for_timeout(500)
    assert empty.count() == 0
    page.get_by_label("Presets").filter(visible=True).select_option("start")
    page.wait_for_timeout(300)
    assert shown.widget().count('"frame"') >= 2


@pytest.mark.parametrize("renderer", [CLASSIC, VUE])
def test_the_large_view_covers_the_page_and_gives_it_back(opened, renderer):
    shown = CameraEditor(opened, renderer)
    shown.load()
    shown.run()
    page = opened.page
    shown.command("setKey")
    page.wait_for_timeout(500)  # the text below the editor tells of the edit
    before = opened.settled_box(".e2e")
    for may_have_the_screen in (True, False):
        if not may_have_the_screen:
            page.evaluate(_NO_SCREEN)
        shown.command("large")
        shown.wait("isLarge")
        box = opened.settled_box(".e2e")
        assert [box["x"], box["y"], box["width"], box["height"]] == [0, 0, *page.viewport_size.values()]
        size = (box["width"], box["height"])
        for across, down in [(0.02, 0.02), (0.5, 0.5), (0.98, 0.98)]:  # nothing of the page lies over it
            place = [across * size[0], down * size[1]]
            assert page.evaluate("([x, y]) => Boolean(document.elementFromPoint(x, y)?.closest('.e2e'))", place)
        assert shown.state()["front"] == "ego"
        shown.screenshot(f"large_{'screen' if may_have_the_screen else 'page'}")
        shown.command("last")
        shown.command("setKey")
        assert shown.widget().count('"frame"') == 2
        shown.press("z")
        shown.wait("isLarge === false")
        page.wait_for_timeout(500)
        after = opened.settled_box(".e2e")
        assert after == pytest.approx(before, abs=1)


def test_templates_open_in_order_one_after_the_other_in_nodes_2(opened):
    """Their nodes stand where the template has them and cover none, with the footers that tell of missing models."""
    opened.require_nodes_2()
    choose_renderer(opened, VUE)
    for name in ("egox", "ego_camera", "attention_map"):
        opened.page.evaluate(_OPEN, template(name))
        opened.page.wait_for_timeout(3000)
        screenshot(opened, SCREENSHOTS / f"template_{name}_nodes_2.png")
        assert opened.page.evaluate(_SCRAMBLED) == [], name


_WRITE_WIDTH = """() => {
  const node = app.graph._nodes.find((n) => n.exo2egoEditor);
  const drawn = node.widgets.filter((widget) => widget.element?.querySelector('.e2e, canvas'));
  if (drawn.length !== 1) throw new Error(`${drawn.length} widgets are drawn`);
  drawn[0].width = 150;
  app.canvas.setDirty(true, true);
}"""

_NO_SCREEN = """() => {
  app.graph._nodes.find((n) => n.exo2egoEditor).exo2egoEditor.root.requestFullscreen = () => Promise.reject();
}"""

_IS_LIVE = """() => [...document.querySelectorAll('.e2e')].filter((one) => one.checkVisibility()).every(
  (one) => app.graph._nodes.some((node) => node.exo2egoEditor?.root === one))"""

# As the template browser does: where the view was, the template's own counts.
_OPEN = "async (graph) => { await app.loadGraphData(graph, true, true, 'template') }"

_SCRAMBLED = """() => {
  const { scale, offset } = app.canvas.ds;
  const frame = app.canvas.canvas.getBoundingClientRect();
  const found = [], boxes = [];
  for (const node of app.graph._nodes) {
    const shown = document.querySelector(`[data-node-id="${node.id}"]`);
    if (!shown) continue; // out of sight
    const box = shown.getBoundingClientRect();
    const left = frame.left + (node.pos[0] + offset[0]) * scale;
    if (Math.abs(box.left - left) > 4) found.push(`${node.title} stands ${Math.round(box.left - left)} px aside`);
    boxes.push([node.title, box]);
  }
  for (const [i, [a, one]] of boxes.entries())
    for (const [b, two] of boxes.slice(i + 1))
      if (one.left < two.right - 1 && two.left < one.right - 1 && one.top < two.bottom - 1 && two.top < one.bottom - 1)
        found.push(`${a} and ${b}`);
  return boxes.length ? found : ["nothing is shown"];
}"""

_HAS_APP_MODE = "app.extensionManager.command.commands.some(({ id }) => id === 'Comfy.ToggleLinear')"

_APP_MODE = """async () => {
  const made = app.graph.serialize();
  const node = made.nodes.find((one) => one.type === 'Exo2EgoCameraEditor');
  made.extra = { ...made.extra, linearData: { inputs: [[node.id, 'editor']], outputs: [node.id] } };
  await app.loadGraphData(made);
  await app.extensionManager.command.execute('Comfy.ToggleLinear');
}"""

_LISTS_ALL_NODES = (
    "[...document.querySelectorAll('.contain-size .lg-node-widgets')].some((one) => one.checkVisibility())"
)

# What other nodes have at the editor's place.
_OVER_THE_EDITOR = """() => {
  const parts = [...document.querySelectorAll('.contain-size > .lg-node-widgets')]
    .filter((one) => one.checkVisibility());
  const editors = parts.map((one) => one.querySelector('.e2e')).filter(Boolean);
  if (!editors.length) return ['there is no editor'];
  return editors.flatMap((editor) => {
    const { top, bottom } = editor.getBoundingClientRect();
    return parts.filter((one) => !one.contains(editor)).map((one) => one.getBoundingClientRect())
      .filter((box) => box.top < bottom - 1 && box.bottom > top + 1).map((box) => [box.top, box.bottom, top, bottom]);
  });
}"""

# Buttons without anything to see on them.
_BLANK = """() => [...document.querySelectorAll('.e2e button')].filter((one) => one.checkVisibility()
  && !one.querySelector('svg') && (!one.textContent || parseFloat(getComputedStyle(one).fontSize) < 8))
  .map((one) => one.outerHTML.slice(0, 80))"""

# Buttons, fields and views that reach out of the editor, or of what is shown of it.
_BEYOND = """() => {
  const root = [...document.querySelectorAll('.e2e')].find((one) => one.checkVisibility());
  let right = innerWidth, left = 0;
  for (let at = root; at; at = at.parentElement) {
    const box = at.getBoundingClientRect();
    if (getComputedStyle(at).overflowX === 'visible') continue;
    [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
  }
  return [...root.querySelectorAll('button, input, select, .e2e-view')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && (box.right > right + 1 || box.left < left - 1);
  }).map((one) => one.outerHTML.slice(0, 80));
}"""
