"""ComfyUI's real editor in headless Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .core_features import skip_without

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What the tests' surroundings explain: no way to the outside registry that the editor asks for badges and help pages,
# a user without files, and a clip that the artist has still to choose.
_EXPECTED_ERRORS = (
    *("Content Security Policy", "/api/userdata", "/user.css", "/favicon.ico", "filename=exo.mp4"),
    "/templates/index",  # a list of its own templates that the frontend looks for beside its package
    *("/api/jobs?", "JobsApiError"),  # newer frontends ask for lists that ComfyUI 0.3.75 does not make
    "Fetch timeout",  # a busy machine is no fault
    "Attempted to cleanup event listeners for graph that was never set up",  # the frontend's own, as a tab changes
)


_MISSING_MODELS = "Comfy.Workflow.ShowMissingModelsWarning"
_SET = "([name, value]) => window.app.extensionManager.setting.set(name, value)"

PATIENCE = 300_000  # milliseconds until a wait gives up; no test may fail because a machine is slow


class Editor:
    """One page of the editor."""

    def __init__(self, page: Any):
        self.page = page
        page.set_default_timeout(PATIENCE)
        page.wait_for_timeout = partial(_wait_for_frames, page)
        self.errors: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def open(self, url: str) -> None:
        """Open the editor as a returning user sees it, and wait until every node is known."""
        settings = {  # whatever an earlier test left
            "Comfy.TutorialCompleted": True,
            "Comfy.VueNodes.Enabled": False,
            _MISSING_MODELS: False,  # no model is there, and each template would open with a list of its downloads
        }
        self.page.request.post(f"{url}/settings", data=settings)
        self.page.goto(url)
        self.page.wait_for_function(
            "window.app?.graph && window.LiteGraph && 'Exo2EgoGGA' in LiteGraph.registered_node_types"
        )
        self.page.wait_for_timeout(1000)
        self.errors.clear()  # the editor's own start; the pack has no part in it yet

    def load(self, workflow: dict[str, Any]) -> None:
        """Load a workflow as the template browser does, and show the whole of it."""
        self.page.evaluate("async (graph) => { await window.app.loadGraphData(graph) }", workflow)
        self.page.evaluate(_SETTLED_NODES)
        self.page.evaluate(_FIT_VIEW)
        self.page.evaluate(_SETTLED_NODES)

    def settled_box(self, selector: str) -> dict[str, float]:
        """Return where an element is on the screen once it is seen and has stood still for ten frames."""
        return self.page.evaluate(_SETTLED_BOX, selector)

    def api_prompt(self) -> dict[str, Any]:
        """Return the graph as the editor would queue it."""
        return json.loads(self.page.evaluate("async () => JSON.stringify((await window.app.graphToPrompt()).output)"))

    def require_nodes_2(self) -> None:
        """Skip the test where the frontend does not offer Nodes 2.0; the first ones had it hidden, half made."""
        skip_without(self.page.evaluate(_OFFERS_NODES_2), "Nodes 2.0 among its frontend's settings")

    @contextmanager
    def nodes_2(self) -> Iterator[None]:
        """Show the nodes as Nodes 2.0 does, for the length of the block. Skips the test where there is none."""
        self.require_nodes_2()
        self.page.evaluate(_VUE_NODES, True)
        try:
            yield
        finally:
            self.page.evaluate(_VUE_NODES, False)

    @contextmanager
    def missing_models_told(self) -> Iterator[None]:
        """Let the editor list the models that a workflow lacks, for the length of the block."""
        self.page.evaluate(_SET, [_MISSING_MODELS, True])
        try:
            yield
        finally:
            self.page.evaluate(_SET, [_MISSING_MODELS, False])

    def complaints(self) -> list[str]:
        """Return texts of alerts and dialogs, and console errors that the missing network does not explain."""
        shown = self.page.locator(".p-toast-message, .p-dialog").all_inner_texts()
        # Whether to go back from Nodes 2.0 is the editor's own question.
        shown = [text for text in shown if not text.startswith("Prefer the legacy design?")]
        errors = [error for error in self.errors if not any(known in error for known in _EXPECTED_ERRORS)]
        return [*shown, *errors]


def _wait_for_frames(page: Any, milliseconds: float) -> None:
    """Wait a while, and until the page has drawn as many frames as it would on an idle machine: busy ones are slow."""
    try:
        page.evaluate(_FRAMES, milliseconds)
    except _playwright_error():  # the page is being left
        type(page).wait_for_timeout(page, milliseconds)


def _playwright_error() -> type[Exception]:
    """Return the error that Playwright raises."""
    from playwright.sync_api import Error

    return Error


_started: list[Any] = []  # the process's Playwright, while an editor is open: it has one at a time


@contextmanager
def _playwright() -> Iterator[Any]:
    """Return the process's Playwright; it ends with the editor that began it, which is the last to close."""
    from playwright.sync_api import sync_playwright

    if _started:
        yield _started[0]
        return
    with sync_playwright() as begun:
        _started.append(begun)
        try:
            yield begun
        finally:
            _started.clear()


@contextmanager
def chromium(flags: Sequence[str]) -> Iterator[Any]:
    """Start Chromium, or skip the test where there is none; yields Playwright's browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with _playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(flags))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def editor(url: str) -> Iterator[Editor]:
    """Open the editor of a server, or skip the test where there is no Chromium."""
    with chromium(_FLAGS) as browser:
        made = Editor(browser.new_page(viewport={"width": 3000, "height": 1800}))
        made.open(url)
        yield made


def screenshot(made: Editor, path: Path) -> None:
    """Write what the editor shows as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.page.screenshot(path=str(path))


_OFFERS_NODES_2 = "(app.ui.settings.settingsLookup['Comfy.VueNodes.Enabled']?.type ?? 'hidden') !== 'hidden'"

_FRAMES = """(ms) => new Promise((done) => {
  let frames = Math.ceil(ms / 17), late = false;
  const end = () => late && frames <= 0 && done();
  const step = () => { frames -= 1; end(); if (frames > 0) requestAnimationFrame(step); };
  setTimeout(() => { late = true; end(); }, ms);
  requestAnimationFrame(step);
})"""

_VUE_NODES = "(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"

_SETTLED_BOX = """async (selector) => {
  let last = "", still = 0;
  while (still < 10) {
    await new Promise((next) => requestAnimationFrame(next));
    const box = document.querySelector(selector)?.getBoundingClientRect();
    const now = box?.width && box.height ? [box.x, box.y, box.width, box.height].join() : "";
    still = now && now === last ? still + 1 : 0;
    last = now;
  }
  const [x, y, width, height] = last.split(",").map(Number);
  return { x, y, width, height };
}"""

# Nodes 2.0 measures its nodes once they are drawn, which takes a slow machine long.
_SETTLED_NODES = """async () => {
  const places = () => JSON.stringify(app.graph._nodes.map((node) => [...node.pos, ...node.size]));
  const began = performance.now();
  let last = "", still = 0;
  while (still < 20 || performance.now() - began < 500) {
    await new Promise((next) => requestAnimationFrame(next));
    still = places() === last ? still + 1 : 0;
    last = places();
  }
}"""

_FIT_VIEW = """() => {
  const canvas = window.app.canvas;
  const boxes = [...window.app.graph._nodes, ...window.app.graph._groups];
  const left = Math.min(...boxes.map((box) => box.pos[0]));
  const top = Math.min(...boxes.map((box) => box.pos[1] - 30));
  const right = Math.max(...boxes.map((box) => box.pos[0] + box.size[0]));
  const bottom = Math.max(...boxes.map((box) => box.pos[1] + box.size[1]));
  const scale = Math.min(2850 / (right - left), 1600 / (bottom - top));
  canvas.ds.scale = scale;
  canvas.ds.offset = [-left + 80 / scale, -top + 100 / scale];
  canvas.setDirty(true, true);
}"""
