"""The large view, overlays, near, typed numbers, walking and ego pictures in the timeline of the camera editor."""

from __future__ import annotations

import math
import re

import pytest
import torch

from support.camera_editor import SCREENSHOTS
from support.editor_page import FRAMES, MODULES, EditorPage, editor_page

NODE = MODULES.parent / "camera_editor.js"
EGO, ORBIT, EXO = ({"view": name, "at": [0.5, 0.5]} for name in ("ego", "orbit", "exo"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with editor_page(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture
def shown(opened) -> EditorPage:
    """The editor with the keys of the start camera at frames 0 and 8, at frame 0, as it begins."""
    opened.page.evaluate(_BEGIN)
    opened.drawn()
    opened.click(view="timeline", at=[0.001, 0.2])
    opened.drawn()
    opened.console.clear()
    yield opened
    assert opened.console == []


def key_at(shown: EditorPage, frame: int) -> dict[str, list[float]]:
    return next(key for key in shown.state()["keyframes"] if key["frame"] == frame)


def distance(a: list[float], b: list[float]) -> float:
    return math.dist(a, b)


def box(shown: EditorPage, view: str) -> dict[str, float]:
    return shown.page.locator(f".e2e-{view}-box").bounding_box()


def area(shown: EditorPage, view: str) -> float:
    return box(shown, view)["width"] * box(shown, view)["height"]


def test_a_double_click_swaps_views(shown):
    assert shown.state()["front"] == "orbit"
    assert area(shown, "orbit") > 2 * area(shown, "ego")
    shown.page.mouse.dblclick(*shown.place(**EGO))
    shown.drawn()
    assert area(shown, "ego") > 2 * area(shown, "orbit")
    shown.page.mouse.dblclick(*shown.place(**EXO))
    shown.drawn()
    assert area(shown, "exo") > 2 * area(shown, "ego")
    shown.page.mouse.dblclick(*shown.place(**EXO))
    shown.drawn()
    assert shown.state()["front"] == "orbit"


@pytest.mark.parametrize("may_have_the_screen", [True, False])
def test_the_large_view_fills_the_page_with_the_ego_view_in_front(shown, may_have_the_screen):
    if not may_have_the_screen:
        shown.page.evaluate(
            "() => { editor.root.requestFullscreen = () => Promise.reject(new TypeError('not allowed')); }"
        )
    shown.page.get_by_role("button", name="Full screen").click()
    shown.page.wait_for_function("editor.state().isLarge")
    shown.drawn()
    whole = shown.page.locator(".e2e").bounding_box()
    size = shown.page.viewport_size
    assert [whole["x"], whole["y"], whole["width"], whole["height"]] == [0, 0, size["width"], size["height"]]
    assert shown.state()["front"] == "ego"
    assert area(shown, "ego") > 2 * area(shown, "orbit")
    before = key_at(shown, 0)
    shown.hold(40, 0, **EGO)
    shown.page.mouse.up()
    shown.drawn()
    assert key_at(shown, 0)["rotation"] != before["rotation"], "the camera is posed in it as in the node"
    shown.press("z")
    shown.page.wait_for_function("!editor.state().isLarge")
    assert shown.state()["front"] == "orbit"
    assert shown.page.locator(".e2e").bounding_box()["width"] == 1180


def middle_of(shown: EditorPage) -> torch.Tensor:
    """Return the colors of the ego view."""
    pixels = shown.page.evaluate(
        "Array.from(editor.ego.context.getImageData(0, 0, editor.ego.canvas.width, editor.ego.canvas.height).data)"
    )
    return torch.tensor(pixels, dtype=torch.float64).view(-1, 4)[:, :3]


def test_nothing_is_cut_off_at_the_least_size_of_the_node(shown):
    least = re.search(r"LEAST_SIZE = \[(\d+), (\d+)\]", NODE.read_text())
    try:
        for curves in (False, True):
            shown.page.evaluate("([width, height]) => Object.assign(box.style, { width, height })", _pixels(least))
            shown.page.evaluate("(curves) => editor.setOption('curves', curves)", curves)
            shown.drawn()
            shown.page.screenshot(path=str(SCREENSHOTS / f"camera_editor_least_size{'_curves' * curves}.png"))
            assert shown.page.evaluate(_CUT_OFF) == []
            assert box(shown, "ego")["height"] > 60
    finally:
        shown.page.evaluate("Object.assign(box.style, { width: '1180px', height: '860px' })")


def _pixels(found: re.Match[str]) -> list[str]:
    return [f"{number}px" for number in found.groups()]


def test_overlays_mix_half_and_half(shown):
    choice = shown.page.get_by_label("Overlay of the ego view")
    plain = middle_of(shown)
    seen = {}
    for name in ("exo", "after"):
        choice.select_option(name)
        shown.drawn()
        seen[name] = middle_of(shown)
        assert float((seen[name] - plain).abs().mean()) > 3
    assert float((seen["exo"] - seen["after"]).abs().mean()) > 3
    choice.select_option("before")
    shown.drawn()
    assert torch.equal(middle_of(shown), plain), "there is no key before"
    shown.page.evaluate(f"editor.goTo({FRAMES - 1})")
    choice.select_option("none")
    shown.drawn()
    other = middle_of(shown)  # what is seen at the key after
    inside = (plain.sum(1) > 0) & (other.sum(1) > 0) & (seen["after"] != plain).any(1)
    mixed = (plain + other)[inside] / 2
    assert float((seen["after"][inside] - mixed).abs().mean()) < 8  # levels: the overlay has fewer rows


def test_points_nearer_than_near_are_neither_drawn_nor_covered(shown):
    close = shown.state()["coverage"]
    shown.page.get_by_label("Metres around the eyes").fill("1,5")
    shown.page.keyboard.press("Enter")
    shown.drawn()
    assert shown.page.evaluate("window.near") == 1.5
    assert shown.state()["coverage"] < 0.9 * close
    shown.page.wait_for_function(f"Object.keys(editor.state().coverages).length === {FRAMES}")
    assert shown.state()["coverages"]["0"] == pytest.approx(shown.state()["coverage"], abs=0.02)


def test_numbers_typed_while_dragging(shown):
    before = key_at(shown, 0)["position"]
    shown.hold(4, -9, handle="up")
    shown.press(*"0.25")
    assert "0.25 m up" in shown.state()["message"]
    shown.press("Enter")
    shown.page.mouse.up()
    assert distance(key_at(shown, 0)["position"], before) == pytest.approx(0.25, abs=1e-9)
    shown.hold(4, -9, handle="up")
    shown.press(*"-0,5", "Backspace", *"25")
    shown.page.mouse.move(5, 5)  # the pointer counts no more
    shown.page.mouse.up()
    assert key_at(shown, 0)["position"] == pytest.approx(before, abs=1e-9)
    text = shown.page.evaluate("window.text")
    shown.hold(30, 0, handle="gaze")
    shown.press("Escape")
    shown.page.mouse.move(5, 5)
    shown.page.mouse.up()
    assert shown.state()["text"] == text
    assert key_at(shown, 0)["position"] == pytest.approx(before, abs=1e-9)
    yaw = shown.page.get_by_label("Degrees to the right")
    was = float(yaw.input_value())
    shown.hold(20, 0, **EGO)
    shown.press(*"15", "Enter")
    shown.page.mouse.up()
    assert float(yaw.input_value()) == pytest.approx(was + 15, abs=0.011)
    shown.hold(9, 0, key=0)
    shown.press("3", "Enter")
    shown.page.mouse.up()
    assert [key["frame"] for key in shown.state()["keyframes"]] == [3, 8]


def test_keys_of_other_programs(shown):
    shown.press("ArrowUp")
    assert shown.state()["frame"] == 8, "the next key"
    shown.press("ArrowDown", "Shift+ArrowRight")
    assert shown.state()["frame"] == FRAMES - 1
    shown.press("Shift+ArrowLeft")
    assert shown.state()["frame"] == 0
    before = key_at(shown, 0)["position"]
    shown.page.mouse.move(*shown.place(**EGO))
    for key in ("w", "d"):
        shown.page.keyboard.down(key)
        shown.page.wait_for_function(
            "(was) => editor.pose().position.some((v, i) => Math.abs(v - was[i]) > 0.01)", arg=before
        )
        shown.page.keyboard.up(key)
        shown.page.wait_for_function("!editor.flying")
        assert distance(key_at(shown, 0)["position"], before) > 0.01
        before = key_at(shown, 0)["position"]
    stored = shown.page.evaluate("JSON.parse(window.text).keyframes[0].position")
    assert stored == before, "letting go stores it"
    shown.page.mouse.move(*shown.place(**ORBIT))
    eye = shown.page.evaluate("editor.orbit.camera.axes().eye")
    shown.page.keyboard.down("w")
    shown.page.wait_for_function("(was) => editor.orbit.camera.axes().eye[2] !== was[2]", arg=eye)
    shown.page.keyboard.up("w")
    assert key_at(shown, 0)["position"] == before, "over the scene the viewer flies"


def test_every_key_is_in_the_list(shown):
    """Under ?, which names each key that does something."""
    listed = " ".join(shown.page.locator(".e2e-help kbd").all_text_contents()).upper()
    told = set(listed.replace(",", " ").replace("+", " ").split())
    assert told > set("WASDQEPLRHIOKFGXBVZC123?")


def test_f_comes_near_the_camera_and_g_shows_the_whole_scene(shown):
    axes = "editor.orbit.camera.axes().eye"
    far = distance(shown.page.evaluate(axes), key_at(shown, 0)["position"])
    shown.press("f")
    assert distance(shown.page.evaluate(axes), key_at(shown, 0)["position"]) < 0.8 * far
    seen = box(shown, "orbit")
    x, y = shown.place(handle="eyes")
    assert abs(x - seen["x"] - seen["width"] / 2) < seen["width"] / 4
    assert abs(y - seen["y"] - seen["height"] / 2) < seen["height"] / 4
    shown.press("g")
    assert distance(shown.page.evaluate(axes), key_at(shown, 0)["position"]) == pytest.approx(far, rel=1e-6)


def test_a_slow_processor_draws_less_while_something_is_dragged(shown):
    """What is drawn counts, and not how soon: the pace is held at its coarsest."""
    shown.page.evaluate("editor.pace.level = 3; editor.pace.note = () => {}")
    try:
        shown.hold(30, 0, **EGO)
        shown.frames(3)
        dragging = shown.state()
        badge = shown.page.locator(".e2e-badge").inner_text()
        shown.page.mouse.up()
        shown.drawn()
    finally:
        shown.page.evaluate("delete editor.pace.note; editor.pace.level = 1")
    assert dragging["egoRows"] == 112
    assert badge.startswith("covered about ")
    assert shown.state()["egoRows"] == 448
    assert shown.page.locator(".e2e-badge").inner_text() == f"covered {100 * shown.state()['coverage']:.1f} %"
    assert dragging["coverage"] == pytest.approx(shown.state()["coverage"], abs=0.15)


def test_the_strip_waits_while_something_is_dragged(shown):
    known = "Object.keys(editor.state().coverages).length"
    shown.page.evaluate(_EDIT_AND_DRAG)
    try:
        shown.frames(20)
        assert shown.page.evaluate(known) == 0
    finally:
        shown.page.evaluate("delete editor.settle; editor.settle()")
    shown.page.wait_for_function(f"{known} === {FRAMES}")


def test_little_ego_pictures_over_the_clip(shown):
    shown.page.wait_for_function(f"editor.timeline.coverage.pictures.size === {FRAMES}")
    shown.drawn()
    first, last = (shown.page.evaluate(_LITTLE, frame) for frame in (0, FRAMES - 1))
    assert first != last, "the camera goes on"
    full = shown.page.evaluate("Object.values(editor.state().coverages)")
    for share, picture in zip(full[:: FRAMES - 1], (first, last)):
        assert sum(value > 0 for value in picture) / len(picture) == pytest.approx(share, abs=0.03)
    y = 1 - (14 + 18) / box(shown, "timeline")["height"]
    x = shown.page.evaluate("editor.timeline.placeOf(4)[0] / editor.timeline.width")
    on_screen = shown.page.evaluate(_TIMELINE_PIXELS, [x, y])
    assert len(set(on_screen)) > 20, "the picture is on the screen"


# As if the next drag began before anything else was done.
_EDIT_AND_DRAG = """() => {
  editor.settle = () => {};
  editor.edit({ ...editor.shown, keyframes: [...editor.shown.keyframes] }, new Set());
  editor.draw();
  editor.moving = true;
}"""

# Buttons, fields and views that reach out of the editor.
_CUT_OFF = """() => {
  const whole = editor.root.getBoundingClientRect();
  return [...editor.root.querySelectorAll('button, input, select, .e2e-view')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && (box.right > whole.right || box.bottom > whole.bottom || box.left < whole.left);
  }).map((one) => one.outerHTML.slice(0, 80));
}"""

_BEGIN = """() => {
  Object.assign(editor.options, { front: 'orbit', largeFront: 'ego', overlay: 'none', curves: false });
  delete editor.root.requestFullscreen;
  window.near = 0;
  editor.edit(editor.scene.start, new Set());
  editor.goTo(0);
  editor.orbit.showAll();
}"""

_LITTLE = """(frame) => {
  const picture = editor.timeline.coverage.pictures.get(frame);
  const { data } = picture.getContext('2d').getImageData(0, 0, picture.width, picture.height);
  return Array.from({ length: data.length / 4 }, (_, i) => data[4 * i] + data[4 * i + 1] + data[4 * i + 2]);
}"""

_TIMELINE_PIXELS = """([x, y]) => {
  const { canvas, context } = editor.timeline;
  const { data } = context.getImageData(x * canvas.width - 8, y * canvas.height - 8, 16, 16);
  return Array.from({ length: 256 }, (_, i) => data[4 * i] + 256 * data[4 * i + 1] + 65536 * data[4 * i + 2]);
}"""
