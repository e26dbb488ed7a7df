"""The camera editor after a restart of the server, which forgets the points, and another client had them made again."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import ExitStack

import environment

from exo2ego.commands.comfyui import headless
from support.browser import editor
from support.camera_editor import CLASSIC, CameraEditor
from support.screen import ended_runs
from support.server import PATIENCE


def test_points_that_another_client_made_again_are_shown_without_a_run(tmp_path):
    port = headless.free_port()

    def server():
        arguments = environment.device_arguments()
        return headless.running(environment.prepare().comfyui, tmp_path, arguments, port=port, timeout=PATIENCE)

    with ExitStack() as page_open:
        with server() as first:
            opened = page_open.enter_context(editor(first.url))
            opened.page.set_viewport_size({"width": 1600, "height": 1080})
            shown = CameraEditor(opened, CLASSIC)
            shown.load(start=True)
            shown.run()
            prompt, workflow = opened.api_prompt(), opened.page.evaluate("app.graph.serialize()")
            opened.page.wait_for_timeout(1000)  # the frontend stores the graph a moment after a change
        with server() as second:
            opened.page.goto(second.url)
            opened.page.wait_for_function("window.app?.graph?._nodes?.some((n) => n.exo2egoEditor)")
            empty = opened.page.locator(".e2e-empty").filter(visible=True)
            empty.get_by_text("Run once to see the cloud").wait_for()  # nobody knows these points any more
            post(second.url, {"prompt": prompt, "extra_data": {"extra_pnginfo": {"workflow": workflow}}})
            opened.page.reload()
            opened.page.wait_for_function("window.app?.graph?._nodes?.some((n) => n.exo2egoEditor)")
            shown.wait("hasCloud")
            shown.drawn()
            assert empty.count() == 0
            assert ended_runs(second.url) == 1, "the page itself has not run it"
            opened.page.get_by_label("Presets").filter(visible=True).select_option("start")
            shown.drawn()
            assert shown.widget().count('"frame"') >= 2, "the connected start camera is known too"


def post(url: str, body: dict[str, object]) -> None:
    """Queue a prompt as another client does, and wait for its end."""
    request = urllib.request.Request(f"{url}/prompt", json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()
    while not ended_runs(url):
        time.sleep(0.2)
