"""The camera editor on its node in the real frontend: a graph to load, and hands for mouse and keyboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .browser import Editor, screenshot

SCREENSHOTS = Path(__file__).resolve().parents[2] / "output" / "screenshots"
FRAMES = 9
CLASSIC, VUE = "classic", "vue"

_NODE = "Exo2EgoCameraEditor"
_API_GRAPH = {
    "1": {
        "class_type": "Exo2EgoLoadTake",
        "inputs": {"take": "example room", "ego_lens": "EgoX release (Aria RGB)", "max_frames": FRAMES},
    },
    "2": {
        "class_type": "Exo2EgoPointCloud",
        "inputs": {
            "images": ["1", 0],
            "depth": ["1", 2],
            "camera": ["1", 1],
            "background": "mean",
            "moving_parts": "mask, or estimated",
            "keep_moving": True,
            "stride": 2,
            "reliability": 0.1,
        },
    },
    "3": {
        "class_type": _NODE,
        "inputs": {"images": ["1", 0], "points": ["2", 0], "exo_camera": ["1", 1], "trajectory": ""},
    },
}


class CameraEditor:
    """The editor of the one Camera Editor node of the page's graph.

    State is read through the editor's own `state`, `poses` and `placeOf` (web/js/camera_editor/editor.js); whatever
    changes it goes through mouse and keyboard.
    """

    def __init__(self, opened: Editor, renderer: str):
        if renderer == VUE:
            opened.require_nodes_2()
        self.opened = opened
        self.page = opened.page
        self.renderer = renderer

    def load_workflow(self, workflow: dict[str, Any]) -> None:
        """Load a workflow as the template browser does, its clip cut to the frames of these tests, without keys."""
        for node in workflow["nodes"]:
            names = [slot["widget"]["name"] for slot in node.get("inputs", []) if "widget" in slot]
            for name, value in (("max_frames", FRAMES), ("trajectory", "")):
                if name in names:
                    node["widgets_values"][names.index(name)] = value
        self.page.evaluate(_SETTINGS, self.renderer == VUE)
        self.page.evaluate("async (graph) => { await app.loadGraphData(graph) }", workflow)
        self._ready()

    def load(self, start: bool = False, reliability: float = 0.1, frames: int = FRAMES, height: int = 0) -> None:
        """Load a fresh graph: take of some frames, point cloud, editor; `start` connects the take's ego camera.

        The images have `height` rows, or 0: as many as the take's.

        A graph that the server has run before shows its points at once; another `reliability` makes it another one.
        """
        graph = json.loads(json.dumps(_API_GRAPH))
        graph["2"]["inputs"]["reliability"] = reliability
        graph["1"]["inputs"] |= {"max_frames": frames, "height": height}
        if start:
            graph["3"]["inputs"]["start_camera"] = ["1", 3]
        self.page.evaluate(_SETTINGS, self.renderer == VUE)
        self.page.evaluate(_LOAD, graph)
        self._ready()

    def reload(self) -> None:
        """Reload the page, as an artist does by F5; ComfyUI brings the graph back."""
        self.page.wait_for_timeout(500)  # it stores the graph a moment after a change
        self.page.reload()
        self.page.wait_for_function("window.app?.graph?._nodes?.length && window.app.canvas")
        self._ready()

    def _ready(self) -> None:
        self.page.wait_for_function(f"app.graph._nodes.some((n) => n.comfyClass === '{_NODE}' && n.exo2egoEditor)")
        self.page.evaluate(_PLACE)
        self.page.wait_for_timeout(700)

    def run(self) -> None:
        """Queue the graph and wait for the cloud."""
        self.page.evaluate("app.queuePrompt(0)")
        self.wait("hasCloud")
        self.page.wait_for_timeout(400)

    def wait(self, condition: str) -> None:
        """Wait until a field of the state, or an expression of it, is true."""
        self.page.wait_for_function(f"{_FIND}?.state().{condition}")

    def state(self) -> dict[str, Any]:
        """Return what the editor shows."""
        return self.page.evaluate(f"{_FIND}.state()")

    def command(self, name: str) -> None:
        """Press the button that a person sees, by the name of its command."""
        self.page.locator(f"button[data-command={name}]").filter(visible=True).first.click()
        self.drawn()

    def poses(self) -> list[list[list[float]]]:
        """Return the world-to-camera matrices that the page shows."""
        return self.page.evaluate(f"{_FIND}.poses()")

    def widget(self) -> str:
        """Return the text of the one widget that counts."""
        return self.page.evaluate(f"{_FIND}.host.node().widgets.find((w) => w.name === 'trajectory').value")

    def picture(self, view: str) -> list[int]:
        """Return a coarse copy of what a view shows, 32 x 32 RGBA."""
        return self.page.evaluate(_PICTURE, view)

    def drag(self, what: dict[str, Any], dx: float, dy: float, keys: str = "") -> None:
        """Drag a handle, a key or a place of a view by pixels of the screen."""
        x, y = self.place(what)
        self.page.mouse.move(x, y)
        if keys:
            self.page.keyboard.down(keys)
        self.page.mouse.down()
        self.page.mouse.move(x + dx / 2, y + dy / 2, steps=3)
        self.page.mouse.move(x + dx, y + dy, steps=3)
        self.page.mouse.up()
        if keys:
            self.page.keyboard.up(keys)
        self.drawn()

    def click(self, what: dict[str, Any]) -> None:
        """Click a place."""
        self.page.mouse.click(*self.place(what))
        self.drawn()

    def drawn(self) -> None:
        """Wait until the editor has drawn in full what was asked of it."""
        self.page.evaluate(_DRAWN)

    def step_of_graph(self, key: str) -> bool:
        """Undo or redo in the graph by its key, and wait until its nodes are made anew.

        A click beside all nodes takes the focus from the editor. There must be none between an undo and its redo: at
        each ComfyUI looks for changes, and with Nodes 2.0 it finds some after an undo, so that nothing can be redone.

        Returns:
            Whether there was anything to undo or redo. Nodes 2.0 measure their nodes once more on busy machines, which
            ComfyUI takes for a change, and forgets what could be redone.
        """
        has_focus = "Boolean(document.activeElement?.closest('.e2e'))"
        if self.page.evaluate(has_focus):
            self.page.mouse.click(*self.page.evaluate(_EMPTY_PLACE))
            assert not self.page.evaluate(has_focus), "the editor keeps the focus"
        self.page.evaluate(f"() => {{ window.formerEditor = {_FIND}; }}")
        self.page.keyboard.press(key)
        is_done = self.page.evaluate(_STEPPED, "undoQueue" if key == "Control+z" else "redoQueue")
        self.page.wait_for_timeout(1000)  # Nodes 2.0 show them a moment later
        return is_done

    def press(self, *keys: str) -> None:
        """Press keys, one after the other; the editor has the focus after a click into it."""
        for key in keys:
            self.page.keyboard.press(key)
        self.drawn()

    def place(self, what: dict[str, Any]) -> list[float]:
        """Return where something is on the screen; see `placeOf`."""
        return self.page.evaluate(f"(what) => {_FIND}.placeOf(what)", what)

    def screenshot(self, name: str) -> None:
        """Write what the page shows to output/screenshots."""
        screenshot(self.opened, SCREENSHOTS / f"camera_editor_{name}_{self.renderer}.png")


# Missing for a moment, while an undo of the graph makes its nodes anew.
_FIND = f"window.app.graph._nodes.find((n) => n.comfyClass === '{_NODE}')?.exo2egoEditor"

_DRAWN = f"""async () => {{
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  await frame();
  const isBusy = (editor) => editor && (editor.drawing || (editor.moving && !editor.playing));
  do await frame(); while (isBusy({_FIND}));
  await frame();
}}"""

# Until the nodes are made anew, or for some frames nothing was there to take and nothing was being taken.
_STEPPED = f"""async (queue) => {{
  const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker;
  for (let idle = 0; idle < 60; ) {{
    await new Promise((next) => requestAnimationFrame(next));
    const now = {_FIND};
    if (now && now !== window.formerEditor) return true;
    idle = tracker[queue].length || tracker._restoringState ? 0 : idle + 1;
  }}
  return false;
}}"""

# A place of the graph, seen and not on a node or a link: below all of them.
_EMPTY_PLACE = """() => {
  const box = app.canvas.canvas.getBoundingClientRect();
  for (let y = box.bottom - 80; y > box.top; y -= 8)
    for (let x = box.left + 240; x < box.right - 80; x += 8) {
      const at = document.elementFromPoint(x, y);
      if (at !== app.canvas.canvas) continue;
      const [left, top] = app.canvas.convertEventToCanvasOffset({ clientX: x, clientY: y });
      if (!app.graph._nodes.some((node) => node.isPointInside(left, top, 20))) return [x, y];
    }
  throw new Error("no place of the graph is empty");
}"""

_SETTINGS = """async (vue) => {
  localStorage.setItem('vueNodesBannerDismissed', 'true');
  const settings = app.extensionManager.setting;
  await settings.set('Comfy.Minimap.Visible', false);
  await settings.set('Comfy.VueNodes.Enabled', vue);
}"""

_LOAD = """async (graph) => {
  await app.loadApiJson(graph, 'camera.json');
  const made = app.graph.serialize();
  for (const node of made.nodes) {
    const editor = node.type === 'Exo2EgoCameraEditor';
    node.pos = editor ? [440, 60] : [40, 60 + 400 * (node.id - 1)];
    if (editor) node.size = [1060, 860];
  }
  await app.loadGraphData(made);
}"""

# The node fills the screen. Vue nodes are larger than the workflow says.
_PLACE = f"""() => {{
  const node = {_FIND}.host.node();
  const width = node.size[0] * (LiteGraph.vueNodesMode ? 1.21 : 1);
  const scale = Math.min(1, 1090 / width);
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset = [480 / scale - node.pos[0], 130 / scale - node.pos[1]];
  app.canvas.setDirty(true, true);
}}"""

_PICTURE = f"""(view) => {{
  const small = document.createElement('canvas');
  small.width = small.height = 32;
  const context = small.getContext('2d');
  context.drawImage({_FIND}[view].canvas, 0, 0, 32, 32);
  return [...context.getImageData(0, 0, 32, 32).data];
}}"""
