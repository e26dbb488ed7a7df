"""What a person sees on the page: visible texts and where they are, read from the screen and not from live objects."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from .browser import Editor
from .camera_editor import CLASSIC, VUE

RENDERERS = (CLASSIC, VUE)


def choose_renderer(opened: Editor, renderer: str) -> None:
    """Show the nodes as the classic renderer or Nodes 2.0 does."""
    if renderer == VUE:
        opened.require_nodes_2()
    opened.page.evaluate(_SETTINGS, renderer == VUE)


def load_api(opened: Editor, graph: dict[str, Any], places: dict[str, list[float]], scale: float = 1.0) -> None:
    """Load a graph in API format and put its nodes: [x, y, width, height] by number; the view begins at (0, 0)."""
    opened.page.evaluate(_LOAD, [graph, places, scale])
    opened.page.wait_for_timeout(700)


def look(opened: Editor, scale: float = 1.0) -> None:
    """Put the view back to where `load_api` had it, after a reload."""
    opened.page.evaluate(_LOOK, scale)
    opened.page.wait_for_timeout(400)


def run(opened: Editor) -> None:
    """Queue the graph and wait until the server has run it and the page has drawn what came."""
    opened.page.evaluate(_RUN)
    opened.page.wait_for_timeout(1500)  # frontends clear up a moment after the end


def ended_runs(url: str) -> int:
    """Return how many prompts a server has run."""
    with urllib.request.urlopen(f"{url}/history") as answer:
        return len(json.load(answer))


def seen(opened: Editor, text: str) -> list[dict[str, float]]:
    """Return the boxes of all places on the screen that show a text: drawn, not covered, not out of sight."""
    return opened.page.evaluate(_SEEN, text)


def words_broken(opened: Editor, selector: str) -> list[str]:
    """Return the words below an element that a line break cuts in two."""
    return opened.page.evaluate(_BROKEN, selector)


_SETTINGS = """async (vue) => {
  localStorage.setItem('vueNodesBannerDismissed', 'true');
  const settings = app.extensionManager.setting;
  await settings.set('Comfy.Minimap.Visible', false);
  await settings.set('Comfy.VueNodes.Enabled', vue);
}"""

_LOAD = """async ([graph, places, scale]) => {
  await app.loadApiJson(graph, 'made.json');
  const made = app.graph.serialize();
  for (const node of made.nodes) {
    const [x, y, width, height] = places[node.id];
    [node.pos, node.size] = [[x, y], [width, height]];
  }
  made.extra = { ...made.extra, ds: { scale, offset: [90 / scale, 140 / scale] } };
  await app.loadGraphData(made);
}"""

_LOOK = """(scale) => {
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset = [90 / scale, 140 / scale];
  app.canvas.setDirty(true, true);
}"""

_RUN = """async () => {
  const ended = new Promise((resolve, reject) => {
    app.api ??= null;
    const { api } = window.comfyAPI.api;
    const done = () => resolve();
    for (const name of ["execution_success", "execution_error", "execution_interrupted"])
      api.addEventListener(name, done, { once: true });
  });
  await app.queuePrompt(0);
  await ended;
}"""

_SEEN = """(text) => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.data.indexOf(text);
    const parent = walker.currentNode.parentElement;
    if (at < 0 || !parent || ["SCRIPT", "STYLE", "TEXTAREA"].includes(parent.tagName)) continue;
    const range = document.createRange();
    range.setStart(walker.currentNode, at);
    range.setEnd(walker.currentNode, at + text.length);
    const box = range.getBoundingClientRect();
    const drawn = parent.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!box.width || !box.height || !drawn) continue;
    const [x, y] = [box.x + Math.min(6, box.width / 2), box.y + Math.min(6, box.height / 2)];
    const top = document.elementFromPoint(x, y);
    if (!top || !(parent.contains(top) || top.contains(parent))) continue;
    found.push({ x: box.x, y: box.y, width: box.width, height: box.height });
  }
  return found;
}"""

_BROKEN = """(selector) => {
  const broken = [];
  const range = document.createRange();
  for (const root of document.querySelectorAll(selector)) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode())
      for (const { index, 0: word } of walker.currentNode.data.matchAll(/[\\p{L}\\p{N}]+/gu)) {
        range.setStart(walker.currentNode, index);
        range.setEnd(walker.currentNode, index + word.length);
        const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.y)));
        if (lines.size > 1) broken.push(word);
      }
  }
  return broken;
}"""
