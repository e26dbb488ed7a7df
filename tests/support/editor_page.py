"""The camera editor on a page of its own in headless Chromium, without ComfyUI, of which it knows nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from exo2ego.geometry.cameras.presets import NAMED_PRESETS, RELEASE_SIZE, preset_lens
from exo2ego.geometry.cameras.trajectory import Trajectory
from exo2ego.geometry.cameras.trajectory_json import trajectory_to_json
from exo2ego.geometry.lenses import lens_to_json
from exo2ego.geometry.points.packed_cloud import pack_cloud
from exo2ego.geometry.points.point_cloud import Background, build_point_cloud
from exo2ego.takes.example.room import example_take

from .browser import PATIENCE, chromium

FRAMES = 9
# Chromium's own software, where there is no card: https://chromium.googlesource.com/chromium/src/+/main/docs/gpu/swiftshader.md
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_GL = ("--disable-gpu", "--disable-3d-apis")

MODULES = Path(__file__).resolve().parents[2] / "web" / "js" / "camera_editor"
_PAGE = "<!doctype html><body style='margin:0;background:#222'><div id=box style='width:1180px;height:860px'></div>"


class EditorPage:
    """One editor on a page; `console` collects what the page writes there."""

    def __init__(self, page: Any):
        self.page = page
        self.console: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.console.append(str(error)))

    def _note(self, message: Any) -> None:
        if not message.text.startswith("Canvas2D: "):  # Chromium's advice for what tests read
            self.console.append(message.text)

    def state(self) -> dict[str, Any]:
        """Return what the editor shows."""
        return self.page.evaluate("editor.state()")

    def place(self, **what: Any) -> list[float]:
        """Return where something is on the screen; see `placeOf` of the editor."""
        return self.page.evaluate("(what) => editor.placeOf(what)", what)

    def click(self, **what: Any) -> None:
        """Click a place."""
        self.page.mouse.click(*self.place(**what))

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, and let the editor draw."""
        for key in keys:
            self.page.keyboard.press(key)
        self.drawn()

    def drawn(self) -> None:
        """Wait until the editor has drawn what is asked of it, in full."""
        self.page.evaluate(_DRAWN)

    def frames(self, count: int) -> None:
        """Wait for so many frames of the screen."""
        self.page.evaluate(_FRAMES_OF_SCREEN, count)

    def hold(self, dx: float, dy: float, **what: Any) -> None:
        """Press the mouse button at a place and drag, without letting go."""
        x, y = self.place(**what)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + dx, y + dy, steps=4)


@contextmanager
def editor_page(folder: Path, flags: tuple[str, ...] = NO_GL, first: str = "") -> Iterator[EditorPage]:
    """Open the editor with the example room's points, or skip the test where there is no Chromium.

    Args:
        folder: an empty one for the page's files.
        flags: of Chromium, beside those that every test needs.
        first: a script that runs before the page's own.
    """
    shutil.copytree(MODULES, folder / "js")
    (folder / "index.html").write_text(_PAGE)
    payload = _payload(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with chromium(("--no-sandbox", *flags)) as browser:
            page = browser.new_page(viewport={"width": 1200, "height": 880})
            page.set_default_timeout(PATIENCE)
            page.add_init_script(first)
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            made = EditorPage(page)
            assert page.evaluate(_OPEN, payload)
            made.drawn()
            yield made
    finally:
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def _payload(folder: Path) -> dict[str, Any]:
    """Write the example room's points and its first exo image; return what the node would send."""
    from PIL import Image

    take = example_take(FRAMES, exo_width=392, exo_height=224, ego_size=64)
    cloud = build_point_cloud(take.exo, take.depth, take.exo_camera, background=Background.MEAN)
    (folder / "cloud.bin").write_bytes(pack_cloud(cloud))
    Image.fromarray((take.exo[0] * 255).byte().numpy()).save(folder / "exo.jpg")
    keys = Trajectory.from_camera(take.ego_camera[:: FRAMES - 1]).keyframes
    start = Trajectory((keys[0], type(keys[1])(FRAMES - 1, keys[1].position, keys[1].rotation)))
    lenses = {preset.value: lens_to_json(preset_lens(preset, RELEASE_SIZE, RELEASE_SIZE)) for preset in NAMED_PRESETS}
    return {
        "cloud": {"filename": "cloud.bin"},
        "frames": FRAMES,
        "points": 0,
        "exo_camera": take.exo_camera.to_json(),
        "start": trajectory_to_json(start),
        "pictures": [{"filename": "exo.jpg", "frame": 0}],
        "lenses": lenses,
    }


_OPEN = """async (payload) => {
  const { Editor } = await import('/js/editor.js');
  window.near = 0;
  const near = { near: () => window.near, setNear: (metres) => (window.near = metres) };
  const host = { write: (text) => (window.text = text), keepView() {}, ...near };
  window.editor = new Editor(host);
  document.getElementById('box').append(editor.root);
  await editor.loadPayload(payload, ({ filename }) => '/' + filename);
  return editor.state().hasCloud;
}"""

_FRAMES_OF_SCREEN = """async (count) => {
  for (let i = 0; i < count; i++) await new Promise((next) => requestAnimationFrame(next));
}"""

_DRAWN = """async () => {
  editor.settle();
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  do await new Promise((next) => setTimeout(next, 20)); while (editor.moving && !editor.playing);
  await frame();
  await frame();
}"""
