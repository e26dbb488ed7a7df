"""What nodes say stays on them: on both frontends, in both renderers, read from the screen."""

from __future__ import annotations

import copy
import json
import time
import urllib.request
from pathlib import Path

import pytest

from support.browser import editor, screenshot
from support.screen import RENDERERS, choose_renderer, load_api, look, run, seen, words_broken

SCREENSHOTS = Path(__file__).resolve().parents[2] / "output" / "screenshots"
GRAPH = {
    "1": {
        "class_type": "Exo2EgoLoadTake",
        "inputs": {"take": "example room", "ego_lens": "EgoX release (Aria RGB)", "max_frames": 2},
    },
    "2": {
        "class_type": "Exo2EgoPointCloud",
        "inputs": {
            **{"images": ["1", 0], "depth": ["1", 2], "camera": ["1", 1], "background": "mean", "stride": 2},
            **{"moving_parts": "mask, or estimated", "keep_moving": True, "reliability": 0.1},
        },
    },
    "3": {
        "class_type": "Exo2EgoCamera",
        "inputs": {
            **{"lens": "pinhole", "width": 96, "height": 96, "fov": 60, "x": 0, "y": 0, "z": 0},
            **{"yaw": 180, "pitch": 0, "roll": 0},
        },
    },
    "4": {
        "class_type": "Exo2EgoRenderPrior",
        "inputs": {
            "points": ["2", 0],
            **{"camera": ["3", 0], "radius": 5, "points_per_pixel": 20, "backend": "torch"},
        },
    },
    "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
}
PLACES = {
    **{"1": [0, 0, 250, 460], "2": [280, 0, 270, 300], "3": [860, 0, 240, 420], "4": [580, 0, 260, 620]},
    "5": [0, 560, 240, 200],
}
COVERAGE, WARNING = "on average", "The ego camera sees no points"
STALE = "The graph has changed since."


@pytest.fixture(scope="module")
def opened(frontend_server):
    with editor(frontend_server.url) as page:
        page.page.set_viewport_size({"width": 1500, "height": 1080})
        yield page


@pytest.mark.parametrize("renderer", RENDERERS)
def test_texts_stay_until_what_they_tell_of_changes(opened, frontend_server, renderer):
    page = opened.page
    choose_renderer(opened, renderer)
    load_api(opened, GRAPH, PLACES)
    run(opened)
    frontend = "newest" if "--front-end-root" in command_line(frontend_server.url) else "named"
    screenshot(opened, SCREENSHOTS / f"texts_{frontend}_{renderer}.png")
    assert_told(opened)
    (warning,), (text,) = seen(opened, WARNING), seen(opened, COVERAGE)
    assert warning["y"] < text["y"]
    looks = "(text) => { const { backgroundColor, borderLeftWidth } = getComputedStyle([...document.querySelectorAll("
    looks += "'p')].find((one) => one.textContent.includes(text))); return [backgroundColor, borderLeftWidth]; }"
    assert page.evaluate(looks, WARNING) != page.evaluate(looks, COVERAGE)
    assert words_broken(opened, ".exo2ego-texts p") == []
    assert page.evaluate(_OUTSIDE) == []

    page.wait_for_timeout(500)
    page.reload()
    page.wait_for_function("window.app?.graph?._nodes?.length === 5 && window.app.canvas")
    choose_renderer(opened, renderer)
    look(opened)
    page.wait_for_timeout(1500)
    screenshot(opened, SCREENSHOTS / f"texts_{frontend}_{renderer}_reloaded.png")
    assert_told(opened)

    page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.wait_for_function("app.graph._nodes.length !== 5")
    assert seen(opened, WARNING) == []
    page.evaluate("app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    page.wait_for_function("app.graph._nodes.length === 5")
    look(opened)
    page.wait_for_timeout(1000)
    assert_told(opened)

    # Another client's job with the same numbers, on another camera.
    other = copy.deepcopy(GRAPH)
    other["3"]["inputs"]["yaw"] = 1.5 if renderer == RENDERERS[0] else 2.5
    post(frontend_server.url, {"prompt": other, "client_id": "another"})
    post(frontend_server.url, {"prompt": json.loads(json.dumps(other).replace(".5", ".25"))})  # and of nobody
    page.wait_for_timeout(1000)
    assert_told(opened)

    # Each renderer its own: what another one's run has told of a graph is known, and not stale.
    page.evaluate(_SET_YAW, RENDERERS.index(renderer))
    page.mouse.click(600, 1020)  # onto the empty graph: the frontend looks for changes then
    page.wait_for_timeout(1000)
    screenshot(opened, SCREENSHOTS / f"texts_{frontend}_{renderer}_changed.png")
    assert seen(opened, WARNING) == []
    assert len(seen(opened, STALE)) == 2  # on the camera and on what it goes to
    run(opened)
    assert seen(opened, WARNING) == seen(opened, STALE) == []
    assert len(seen(opened, COVERAGE)) == 1
    assert [error for error in opened.errors if "exo2ego" in error.lower() and "Security Policy" not in error] == []


def assert_told(opened):
    """The warning and the coverage are on the screen once, on their node."""
    for text in (WARNING, COVERAGE):
        (box,) = seen(opened, text)
        x, y, width, height = opened.page.evaluate(
            "() => [...app.graph.getNodeById('4').pos, ...app.graph.getNodeById('4').size]"
        )
        assert x + 90 <= box["x"] <= x + 90 + width
        assert y + 140 <= box["y"] <= y + 140 + 1.3 * height
    assert seen(opened, STALE) == []


def command_line(url):
    with urllib.request.urlopen(f"{url}/system_stats") as answer:
        return json.load(answer)["system"]["argv"]


def post(url, body):
    """Queue a prompt and wait for its end."""
    request = urllib.request.Request(f"{url}/prompt", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        number = json.load(answer)["prompt_id"]
    while True:
        with urllib.request.urlopen(f"{url}/history/{number}") as answer:
            if json.load(answer):
                return
        time.sleep(0.2)


_PLACE = "(({ pos, size }) => [...pos, ...size])(app.graph.getNodeById('4'))"

# Texts that reach beyond their node.
_OUTSIDE = """() => [...document.querySelectorAll('.exo2ego-texts')].filter((root) => {
  const [box, inside] = [root, root.firstElementChild].map((one) => one.getBoundingClientRect());
  return inside.right > box.right + 1 || (inside.bottom > box.bottom + 1 && root.scrollHeight <= root.clientHeight);
}).map((root) => root.textContent)"""

_SET_YAW = """(value) => {
  const widget = app.graph.getNodeById('3').widgets.find((one) => one.name === 'yaw');
  widget.value = value;
  widget.callback?.(value);
}"""
