"""How many frames a second the camera editor draws: 100,000 points in headless Chromium, without ComfyUI.

python tools/run.py editor [--points 100000] [--repeats 2] [--json FILE]
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import timing

from exo2ego.geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from exo2ego.geometry.lenses import lens_to_json
from exo2ego.geometry.points.packed_cloud import pack_cloud
from exo2ego.geometry.points.point_cloud import Background, build_point_cloud
from exo2ego.measure import clip as scene

_MODULES = Path(__file__).resolve().parents[2] / "web" / "js" / "camera_editor"
_FRAMES = 60
_PAGE = "<!doctype html><body style='margin:0;background:#222'><div id=box style='width:1180px;height:760px'></div>"

_CASES = ("look around", "drag the camera", "at rest")  # at rest: both views in full
# What a drag does: the view or the camera changes, then everything is drawn. Returns the sorted times in ms.
_MEASURE = """async ([name, frames]) => {
  const { along } = await import('/math.js');
  const editor = window.editor, pose = editor.pose();
  const change = {
    'look around': () => { editor.orbit.camera.orbit(4, 1); editor.moving = true; },
    'drag the camera': (i) => {
      editor.setPose({ ...pose, position: along(pose.position, [1, 0, 0], 0.002 * i) }, { moving: true });
    },
    'at rest': (i) => {
      editor.setPose({ ...pose, position: along(pose.position, [0, 1, 0], 0.002 * i) });
      editor.orbit.camera.orbit(4, 1);
      editor.moving = false;
    },
  }[name];
  const times = [];
  for (let i = 0; i < frames; i++) {
    const began = performance.now();
    change(i);
    editor.draw();
    times.push(performance.now() - began);
  }
  return times.sort((a, b) => a - b);
}"""
_OPEN = """async (payload) => {
  const { Editor } = await import('/editor.js');
  const editor = new Editor({ write() {}, keepView() {} });
  document.getElementById('box').append(editor.root);
  await editor.loadPayload(payload, ({ filename }) => '/' + filename);
  window.editor = editor;
  return editor.state().hasCloud;
}"""


def rows(n_points: int, repeats: int, folder: Path) -> list[timing.Row]:
    """Serve the page's modules beside a cloud, and time each case."""
    from playwright.sync_api import sync_playwright

    shutil.copytree(_MODULES, folder, dirs_exist_ok=True)
    (folder / "index.html").write_text(_PAGE)
    payload = _payload(n_points, folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        assert page.evaluate(_OPEN, payload)
        for name in _CASES:
            page.evaluate(_MEASURE, [name, _FRAMES])  # warm
            times = min((page.evaluate(_MEASURE, [name, _FRAMES]) for _ in range(repeats)), key=sum)
            # A drawing waits for nothing, so where cores are shared the fastest tenth tells the CPU time.
            mean, undisturbed = sum(times) / _FRAMES / 1000, times[_FRAMES // 10] / 1000
            print(f"{name}: {1 / mean:.0f} frames a second, {1 / undisturbed:.0f} undisturbed")
            found.append(timing.Row(name, mean, undisturbed))
        browser.close()
    server.shutdown()
    return found


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def _payload(n_points: int, folder: Path) -> dict[str, object]:
    """Write a packed cloud of a made-up clip and return what the node would send."""
    clip = scene.make_clip(2)
    cloud = build_point_cloud(
        clip.images, clip.depth, clip.exo_camera, background=Background.PER_FRAME, stride=1, reliability_threshold=10.0
    )
    one = type(cloud)(cloud.background_points, cloud.background_colors, cloud.frame_points[:1], cloud.frame_colors[:1])
    (folder / "cloud.bin").write_bytes(pack_cloud(one, n_points))
    lens = preset_lens(LensPreset.EGOX_RELEASE, RELEASE_SIZE, RELEASE_SIZE)
    return {
        "cloud": {"filename": "cloud.bin"},
        "frames": 2,
        "exo_camera": clip.exo_camera.to_json(),
        "start": None,
        "pictures": [],
        "lenses": {LensPreset.EGOX_RELEASE.value: lens_to_json(lens)},
    }


def main() -> None:
    """Measure and print."""
    parser = timing.arguments(__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = rows(options.points, options.repeats, Path(folder))
    timing.report(report, "look around", options.json)


if __name__ == "__main__":
    main()
