"""Playing, number fields and fine dragging in the camera editor, by mouse and keyboard."""

from __future__ import annotations

from itertools import pairwise

import pytest


def test_a_loop_at_the_clips_own_pace_and_the_frame_field(fresh):
    field = fresh.page.get_by_label("Frame", exact=True)
    field.fill("3")
    fresh.press("Enter")
    assert fresh.state()["frame"] == 3
    fresh.press("i", "ArrowRight", "ArrowRight", "o")
    assert fresh.state()["loop"] == [3, 5]
    fresh.press("Home", " ")
    seen = []
    while not {3, 4, 5} <= set(seen) or sum(after < before for before, after in pairwise(seen)) < 2:  # twice anew
        seen += [frame for frame in [int(field.input_value())] if seen or frame]
    fresh.press(" ")
    assert set(seen) == {3, 4, 5}
    fresh.page.evaluate(
        "app.graph._nodes.find((n) => n.exo2egoEditor).widgets.find((w) => w.name === 'fps').value = 7.5"
    )
    assert fresh.state()["fps"] == 16
    fresh.page.evaluate("app.queuePrompt(0)")
    fresh.wait("fps === 7.5")
    fresh.reload()
    fresh.wait("hasCloud")
    fresh.wait("fps === 7.5")
    assert fresh.state()["loop"] == [3, 5]


def test_decimal_commas_and_a_tenth_of_the_way_with_ctrl(fresh):
    fresh.click({"view": "timeline", "at": [0.01, 0.2]})
    field = fresh.page.get_by_label("Position of the eyes in the world, metres: x")
    field.fill("0,25")
    fresh.press("Enter")
    assert fresh.state()["keyframes"][0]["position"][0] == 0.25
    field.focus()
    fresh.press("ArrowUp")
    assert float(field.input_value()) == pytest.approx(0.3)
    fresh.press("Control+ArrowUp", "Shift+ArrowDown")
    assert fresh.state()["keyframes"][0]["position"][0] == pytest.approx(0.3 + 0.005 - 0.5)
    yaw = fresh.page.get_by_label("Degrees to the right")
    before = float(yaw.input_value())
    fresh.drag({"view": "ego", "at": [0.5, 0.5]}, 60, 0)
    far = before - float(yaw.input_value())
    before = float(yaw.input_value())
    fresh.drag({"view": "ego", "at": [0.5, 0.5]}, 60, 0, keys="Control")
    near = before - float(yaw.input_value())
    assert far > 3
    assert near == pytest.approx(far / 10, rel=0.15)
