"""How many frames a second the camera editor draws, by the processor and by WebGL2 in software, without ComfyUI.

100,000 points in headless Chromium. A frame of the screen waits for the browser, so that 60 a second are the most.
Where other processes use the cores, the CPU time of a frame is what to compare: it is what idle cores would need.

python tools/run.py editor [--points 100000] [--repeats 2] [--json FILE]
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import timing

from exo2ego.geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from exo2ego.geometry.lenses import lens_to_json
from exo2ego.geometry.points.packed_cloud import pack_cloud
from exo2ego.geometry.points.point_cloud import Background, build_point_cloud
from exo2ego.measure import clip as scene

_MODULES = Path(__file__).resolve().parents[2] / "web" / "js" / "camera_editor"
_PAGE = "<!doctype html><body style='margin:0;background:#222'><div id=box style='width:1180px;height:760px'></div>"

# Chromium's software for WebGL, where there is no card. The editor itself declines it as slower than its splatting.
_SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
# Flags, a script that runs before the page's own, and how many frames are timed.
_RENDERERS = {
    "processor": (("--disable-gpu",), "", 60),
    "WebGL2 in software": (_SOFTWARE_GL, "window.exo2egoTakesSlowWebGL = true", 6),
}
_ON_THE_NODE, _FULL_HD = {"width": 1200, "height": 800}, {"width": 1920, "height": 1080}
# What moves, the page's size, whether the editor fills it, and how many times slower the processor is made.
_CASES = {
    "look around": ("look", _ON_THE_NODE, False, 1),
    "drag the camera": ("drag", _ON_THE_NODE, False, 1),
    "drag the camera, large view": ("drag", _FULL_HD, True, 1),
    "drag the camera, curves open": ("curves", _ON_THE_NODE, False, 1),
    "drag the camera, a processor of half the speed": ("drag", _ON_THE_NODE, False, 2),
    "drag the camera, of a quarter": ("drag", _ON_THE_NODE, False, 4),
    "at rest": ("rest", _ON_THE_NODE, False, 1),  # both views in full
}
# What a drag does: the view or the camera changes, then everything is drawn with the next frame of the screen.
# Returns the sorted times of the drawings and the mean time between frames, ms.
_MEASURE = """async ([name, frames]) => {
  const { along } = await import('/math.js');
  const editor = window.editor, pose = editor.pose();
  editor.options.curves = name === 'curves';
  const move = (i) => {
    editor.setPose({ ...pose, position: along(pose.position, [1, 0, 0], 0.002 * i) }, { moving: true });
  };
  const change = {
    look: () => { editor.orbit.camera.orbit(4, 1); editor.redraw(true); },
    drag: move,
    curves: move,
    rest: (i) => {
      editor.setPose({ ...pose, position: along(pose.position, [0, 1, 0], 0.002 * i) });
      editor.orbit.camera.orbit(4, 1);
      editor.moving = false;
    },
  }[name];
  const times = [], draw = editor.draw;
  editor.draw = function () {
    const began = performance.now();
    draw.call(this);
    times.push(performance.now() - began);
  };
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  await frame();
  const began = performance.now();
  for (let i = 0; i < frames; i++) {
    change(i);
    await frame();
  }
  const mean = (performance.now() - began) / frames;
  editor.draw = draw;
  editor.revert();
  return { times: times.sort((a, b) => a - b), mean, haste: editor.pace.level };
}"""
_OPEN = """async (payload) => {
  const { Editor } = await import('/editor.js');
  const editor = new Editor({ write() {}, keepView() {} });
  document.getElementById('box').append(editor.root);
  await editor.loadPayload(payload, ({ filename }) => '/' + filename);
  window.editor = editor;
  return editor.state().hasCloud;
}"""
_FILL = "(fill) => fill !== editor.state().isLarge && editor.large.toggle()"


def rows(n_points: int, repeats: int, folder: Path) -> list[timing.Row]:
    """Serve the page's modules beside a cloud, and time each case with each renderer."""
    from playwright.sync_api import sync_playwright

    shutil.copytree(_MODULES, folder, dirs_exist_ok=True)
    (folder / "index.html").write_text(_PAGE)
    payload = _payload(n_points, folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    found = []
    with sync_playwright() as playwright:
        for renderer, (flags, first, frames) in _RENDERERS.items():
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *flags])
            page = browser.new_page(viewport=_ON_THE_NODE)
            page.add_init_script(first)
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            assert page.evaluate(_OPEN, payload)
            for name in _CASES:
                found.append(_row(page, f"{renderer}, {name}", _CASES[name], frames, repeats))
            browser.close()
    server.shutdown()
    return found


def _row(page: Any, name: str, case: tuple[Any, ...], frames: int, repeats: int) -> timing.Row:
    """Time one case: between frames on the screen, and the CPU time of one in all of the browser's processes."""
    moves, size, fills, slower = case
    page.set_viewport_size(size)
    page.evaluate(_FILL, fills)
    processor = page.context.new_cdp_session(page)
    processor.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.evaluate(_MEASURE, [moves, frames])  # warm
    measured = [_timed(page, moves, frames) for _ in range(repeats)]
    processor.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    found, cpu = min(measured, key=lambda one: one[1])
    times = found["times"]
    print(
        f"{name}: {1000 / found['mean']:.0f} frames a second, {1000 * cpu:.0f} ms of CPU time each; "
        f"a drawing {sum(times) / len(times):.1f} ms, {times[len(times) // 10]:.1f} undisturbed, "
        f"haste {found['haste']}",
        flush=True,
    )
    return timing.Row(name, found["mean"] / 1000, cpu)


def _timed(page: Any, moves: str, frames: int) -> tuple[dict[str, Any], float]:
    """Return what `_MEASURE` found, and the CPU seconds of a frame in all of the browser's processes."""
    before = _browsers_cpu()
    found = page.evaluate(_MEASURE, [moves, frames])
    return found, (_browsers_cpu() - before) / frames


def _browsers_cpu() -> float:
    times = [one.cpu_times() for one in psutil.Process().children(recursive=True)]
    return sum(time.user + time.system for time in times)


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
    timing.report(report, "processor, drag the camera", options.json)


if __name__ == "__main__":
    main()
