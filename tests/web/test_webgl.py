"""The camera editor's WebGL2, in Chromium's own software, against the package's renderer and the page's splatting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses import lens_to_json
from exo2ego.geometry.lenses.brown_conrady import BrownConrady
from exo2ego.geometry.lenses.opencv_fisheye import OpenCVFisheye
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.packed_cloud import unpack_cloud
from exo2ego.geometry.points.renderer import render_points
from support.editor_page import SOFTWARE_GL, editor_page

SIZE = 224
LENSES = {
    "aria": preset_lens(LensPreset.EGOX_RELEASE, SIZE, SIZE),
    "pinhole": preset_lens(LensPreset.PINHOLE, SIZE, SIZE),
    "wide pinhole": Pinhole(60.0, 62.0, 110.0, 113.0),
    "GoPro": OpenCVFisheye(90.0, 88.0, 110.0, 115.0, (0.05, -0.02, 0.01, -0.004)),
    "phone": BrownConrady(150.0, 155.0, 112.0, 110.0, (-0.2, 0.05, 0.003, -0.004, 0.01, 0.02, -0.01, 0.002)),
}
POSES = [
    pose_from_angles((0.4, -0.3, 0.5), (-15, -10, 5)),
    pose_from_angles((-1.0, 0.2, 1.0), (25, 4, -30)),
    pose_from_angles((0.2, -0.2, 1.2), (60, -30, 0)),
]
# Counts what is asked of WebGL2; its software is taken although it is slow.
_TAKE = """
window.exo2egoTakesSlowWebGL = true;
window.drawn = 0;
const before = WebGL2RenderingContext.prototype.drawArrays;
WebGL2RenderingContext.prototype.drawArrays = function (...args) {
  window.drawn += 1;
  return before.apply(this, args);
};
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    with editor_page(folder, SOFTWARE_GL, _TAKE) as page:
        page.cloud = unpack_cloud((folder / "cloud.bin").read_bytes())
        if page.state()["renderer"] != "WebGL2":
            pytest.skip("this Chromium has no WebGL2, not even in software")
        yield page


def bits(text: str) -> Tensor:
    return torch.tensor([int(bit) for bit in text]).view(SIZE, SIZE).bool()


def overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_slow_software_is_left_alone(tmp_path):
    """The browser's own software is slower than the page's splatting. Before the page that all others share."""
    with editor_page(tmp_path, SOFTWARE_GL) as page:
        assert page.state()["renderer"] == "processor"
        assert page.state()["coverage"] > 0.05


def test_it_is_webgl_that_draws(opened):
    before = opened.page.evaluate("window.drawn")
    opened.page.evaluate(_SOFTWARE_THROWS)
    opened.page.evaluate("editor.goTo(4)")
    opened.drawn()
    assert opened.page.evaluate("window.drawn") > before
    assert not [line for line in opened.console if "drawn by the processor" in line]
    assert 0.05 < opened.state()["coverage"] < 0.95


@pytest.mark.parametrize("name", LENSES)
def test_what_it_covers_is_what_the_renderer_covers(opened, name):
    """By the renderer's own picture, and pixel by pixel by the page's splatting in JavaScript."""
    lens = LENSES[name]
    cloud = opened.cloud
    points, colors = cloud.frame(0)
    one = type(cloud)(points[:0], points[:0], (points,), (colors,))
    for pose in POSES:
        request = {"lens": lens_to_json(lens), "matrix": pose.tolist(), "size": SIZE, "near": 0.3}
        card, oracle, alike = opened.page.evaluate(_DISCS, request)
        ours = render_points(one, Camera(lens, SIZE, SIZE, pose), near=0.3).coverage[0]
        assert 0.02 < float(ours.float().mean()) < 0.99
        assert overlap(bits(card), ours) > 0.98  # 0.9 is asked for
        assert overlap(bits(card), bits(oracle)) > 0.99
        assert alike > 0.97, "the colors too"


@pytest.mark.parametrize("name", LENSES)
def test_points_come_to_lie_within_half_a_pixel(opened, name):
    lens = LENSES[name]
    chance = torch.Generator().manual_seed(4)
    pixels = 20 + (SIZE - 40) * torch.rand(40, 2, generator=chance, dtype=torch.float64)
    rays = lens.unproject(pixels)
    rays = rays[rays[:, 2] > 0.1]
    points = rays * (0.5 + 4 * torch.rand(len(rays), 1, generator=chance, dtype=torch.float64))
    wanted, seen = lens.project(points)
    assert seen.all()
    assert len(points) > 20
    found = opened.page.evaluate(_CENTERS, {"lens": lens_to_json(lens), "points": points.tolist(), "size": SIZE})
    assert float((torch.tensor(found, dtype=torch.float64) - wanted).abs().max()) < 0.5


def test_the_scenes_squares_are_those_of_the_processor(opened):
    assert opened.page.evaluate(_SQUARES) > 0.999


def test_what_the_lens_does_not_see_is_not_drawn(opened):
    """Behind the camera, and far off the axis of a lens that ends there."""
    request = {"lens": lens_to_json(LENSES["aria"]), "points": [[0, 0, -1], [3, 0, 0.2]], "size": SIZE}
    assert opened.page.evaluate(_CENTERS, request) == [None, None]


def test_a_lost_card_is_told_once_and_the_processor_goes_on(opened):
    """The last test of this page: the card does not come back."""
    opened.console.clear()
    before = opened.state()
    opened.page.evaluate(_LOSE)
    opened.page.wait_for_function("editor.state().renderer === 'processor'")
    opened.drawn()
    opened.page.evaluate("editor.goTo(0)")
    opened.page.evaluate("editor.goTo(4)")
    opened.drawn()
    after = opened.state()
    assert after["coverage"] == pytest.approx(before["coverage"], abs=2e-3)
    assert after["coverageFrame"] == before["coverageFrame"] == 4
    ours = [line for line in opened.console if "Exo2Ego" in line]
    assert len(ours) == 1
    assert "processor" in ours[0]


_SOFTWARE_THROWS = """async () => {
  const { Splatter } = await import('/js/splat.js');
  for (const name of ['drawDiscs', 'drawSquares'])
    Splatter.prototype[name] = new Proxy(Splatter.prototype[name], { apply(target, self, args) {
      if (self.constructor !== Splatter && self.device) throw new Error('drawn by the processor');
      return target.apply(self, args);
    } });
}"""

_DISCS = """async ({ lens, matrix, size, near }) => {
  const { GlSplatter } = await import('/js/gl/gl_splatter.js');
  const { Splatter } = await import('/js/splat.js');
  const { makeLens } = await import('/js/lens.js');
  const { poseOfMatrix } = await import('/js/scene.js');
  const [card, oracle] = [new GlSplatter(size, size), new Splatter(size, size)].map((splatter) => {
    splatter.clear();
    splatter.drawDiscs(editor.scene.cloud, 0, poseOfMatrix(matrix), makeLens(lens), 1, near);
    splatter.finish();
    return splatter.pixels;
  });
  const covered = (pixels) => Array.from(pixels, (pixel) => (pixel ? 1 : 0)).join('');
  return [covered(card), covered(oracle), card.filter((pixel, i) => pixel === oracle[i]).length / card.length];
}"""

_CENTERS = """async ({ lens, points, size }) => {
  const { GlSplatter } = await import('/js/gl/gl_splatter.js');
  const { makeLens } = await import('/js/lens.js');
  const made = makeLens(lens);
  const splatter = new GlSplatter(size, size);
  return points.map((point) => {
    const colors = new Uint32Array([0xffffffff]);
    const one = { positions: new Float32Array(point), colors, reach: new Float32Array([1]) };
    splatter.clear();
    const still = { position: [0, 0, 0], rotation: [1, 0, 0, 0] };
    splatter.drawDiscs({ ...one, nStatic: 1, nFrames: 1, offsets: [0, 0] }, 0, still, made);
    splatter.finish();
    let [column, row, count] = [0, 0, 0];
    splatter.pixels.forEach((pixel, i) => {
      if (pixel) [column, row, count] = [column + (i % size) + 0.5, row + Math.floor(i / size) + 0.5, count + 1];
    });
    return count ? [column / count, row / count] : null;
  });
}"""

_SQUARES = """async () => {
  const { GlSplatter } = await import('/js/gl/gl_splatter.js');
  const { Splatter } = await import('/js/splat.js');
  const { rangesOf } = await import('/js/cloud.js');
  const { cloud, plane, spacing } = editor.scene;
  const { axes, camera } = editor.orbit;
  const [card, oracle] = [new GlSplatter(500, 400), new Splatter(500, 400)].map((splatter) => {
    splatter.clear();
    const focal = camera.focal(400);
    for (const range of rangesOf(cloud, 3))
      splatter.drawSquares(cloud.positions, cloud.colors, ...range, axes, focal, spacing);
    splatter.drawSquares(plane.positions, plane.colors, 0, plane.colors.length, axes, focal, plane.spacing);
    splatter.finish();
    return splatter.pixels;
  });
  if (new Set(oracle).size < 100) return 0;
  return card.filter((pixel, i) => pixel === oracle[i]).length / card.length;
}"""

_LOSE = """async () => {
  const { glDevice } = await import('/js/gl/device.js');
  glDevice().gl.getExtension('WEBGL_lose_context').loseContext();
}"""
