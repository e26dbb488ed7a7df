"""Curves, several keys at once, thinning and the trajectory as text in the camera editor, by mouse and keyboard."""

from __future__ import annotations

import json
import math
import time
import urllib.request

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset
from exo2ego.geometry.cameras.rotations import matrices_to_quaternions
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.cameras.trajectory import Keyframe, Trajectory
from exo2ego.geometry.cameras.trajectory_json import trajectory_from_json, trajectory_to_json
from support.camera_editor import CLASSIC, VUE, CameraEditor

CLIP = 49


@pytest.fixture
def focused(fresh):
    """The focus is in the editor, at its first frame."""
    fresh.click({"view": "timeline", "at": [0.001, 0.2]})
    return fresh


def frames_of(shown: CameraEditor) -> list[int]:
    return [key["frame"] for key in shown.state()["keyframes"]]


def copy_text(shown: CameraEditor, text: str) -> None:
    """Put a text onto the clipboard as another program does."""
    shown.page.evaluate("(text) => navigator.clipboard.writeText(text)", text)


def copied_text(shown: CameraEditor) -> str:
    return shown.page.evaluate("navigator.clipboard.readText()")


def show_alone(shown: CameraEditor, channel: str) -> None:
    """Show one curve alone: others may lie over it."""
    shown.page.get_by_role("button", name=channel, exact=True).filter(visible=True).click(modifiers=["Alt"])
    shown.page.wait_for_timeout(200)


def keys_at(*frames: int) -> Trajectory:
    """Return keys that go aside and look around."""
    keys = []
    for frame in frames:
        pose = pose_from_angles((0.02 * frame, -0.1, 0.3), (2.0 * frame, -5, 0)).inverse()
        keys.append(Keyframe(frame, tuple(pose[:3, 3].tolist()), _quaternion(pose[:3, :3])))
    return Trajectory(tuple(keys), LensPreset.PINHOLE, 320, 320)


def _quaternion(rotation: torch.Tensor) -> tuple[float, ...]:
    return tuple(matrices_to_quaternions(rotation[None])[0].tolist())


def head_poses() -> Camera:
    """Return 49 poses of somebody who looks around at work."""
    t = torch.linspace(0, 1, CLIP, dtype=torch.float64).tolist()
    places = [(0.3 * math.sin(4 * x) - 0.2, 0.03 * math.sin(9 * x), 1 + 0.2 * x) for x in t]
    angles = [(50 * math.sin(4 * x), 25 * math.sin(5 * x) - 5, 0.0) for x in t]
    poses = torch.stack([pose_from_angles(place, turned) for place, turned in zip(places, angles)])
    return Camera(keys_at(0).lens_in_pixels, 320, 320, poses)


@pytest.mark.parametrize("camera_editor", [CLASSIC, VUE], indirect=True)
def test_49_head_poses_are_thinned_edited_as_curves_and_sent(camera_editor, comfy_server):
    camera_editor.load(frames=CLIP, height=112)
    camera_editor.run()
    camera = head_poses()
    copy_text(camera_editor, trajectory_to_json(Trajectory.from_camera(camera)))
    camera_editor.click({"view": "timeline", "at": [0.001, 0.2]})
    camera_editor.press("Control+v")
    assert frames_of(camera_editor) == list(range(CLIP))
    camera_editor.press("c")
    camera_editor.command("thin")
    assert "49 keys became" in camera_editor.state()["message"]
    thin = frames_of(camera_editor)
    assert len(thin) <= 12
    shown = torch.tensor(camera_editor.poses(), dtype=torch.float64)
    assert float((Camera(camera.lens, 320, 320, shown).centers - camera.centers).norm(dim=-1).max()) <= 0.01 + 1e-6
    cosine = ((shown[:, :3, :3] @ camera.rotations.double().mT).diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    assert math.degrees(math.acos(float(cosine.min()))) <= 1.001
    camera_editor.screenshot("thinned")

    middle = thin[len(thin) // 2]
    before = camera_editor.state()["keyframes"]
    show_alone(camera_editor, "x")
    camera_editor.click({"curve": "x", "key": middle})
    camera_editor.drag({"curve": "x", "key": middle}, 0, -20)
    show_alone(camera_editor, "yaw")
    camera_editor.drag({"curve": "yaw", "key": middle, "side": "out"}, 0, 25)
    show_alone(camera_editor, "z")
    camera_editor.drag({"curve": "z", "key": middle, "side": "in"}, 0, -25, keys="Alt")
    after = camera_editor.state()["keyframes"]
    changed = [one for one, other in zip(before, after) if one != other]
    assert [key["frame"] for key in changed] == [middle]
    key = next(key for key in after if key["frame"] == middle)
    assert key["turn_in"] == key["turn_out"], "the curve has no bend"
    assert key["tangent_in"] != key["tangent_out"], "with Alt one side alone"
    camera_editor.screenshot("curves")

    camera_editor.page.evaluate("app.queuePrompt(0)")
    sent = finished_run(comfy_server.url, camera_editor.widget())
    received = trajectory_from_json(sent).to_camera(CLIP)
    shown = torch.tensor(camera_editor.poses(), dtype=torch.float64)
    assert float((received.world_to_camera - shown).abs().max()) < 1e-6


def finished_run(url: str, text: str) -> str:
    """Wait for the run that got a trajectory; return the text that the server has."""
    for _ in range(240):
        with urllib.request.urlopen(f"{url}/history?max_items=2") as answer:
            for run in json.load(answer).values():
                sent = [node["inputs"].get("trajectory") for node in run["prompt"][2].values()]
                if text in sent and run["status"]["completed"]:
                    return text
        time.sleep(0.5)
    raise AssertionError("the run did not end")


def test_several_keys_are_chosen_moved_scaled_copied_and_deleted(focused):
    copy_text(focused, trajectory_to_json(keys_at(0, 1, 2)))
    focused.press("Control+v")
    assert focused.state()["selected"] == [0, 1, 2], "what was pasted is chosen"
    step = focused.place({"key": 5})[0] - focused.place({"key": 4})[0]
    focused.drag({"key": 1}, 2 * step, 0)
    assert frames_of(focused) == [2, 3, 4]
    focused.drag({"end": "end"}, 2 * step, 0)
    assert frames_of(focused) == [2, 4, 6]
    focused.drag({"key": 4}, 2 * step, 0, keys="Alt")
    assert frames_of(focused) == [2, 4, 6, 8]
    focused.press("Escape")
    assert focused.state()["selected"] == []
    focused.page.keyboard.down("Shift")
    focused.click({"key": 2})
    focused.click({"key": 8})
    focused.page.keyboard.up("Shift")
    assert focused.state()["selected"] == [2, 8]
    focused.screenshot("keys_chosen")
    focused.press("Delete")
    assert frames_of(focused) == [4, 6]
    focused.press("Control+z", "Control+a")
    assert focused.state()["selected"] == [2, 4, 6, 8]
    x, y = focused.place({"key": 5})
    x, y = x - 1.5 * step, y
    focused.press("Escape")
    focused.page.keyboard.down("Shift")
    focused.page.mouse.move(x, y)
    focused.page.mouse.down()
    focused.page.mouse.move(x + 3 * step, y, steps=4)
    focused.page.mouse.up()
    focused.page.keyboard.up("Shift")
    assert focused.state()["selected"] == [4, 6]
    focused.press("Control+c")
    copied = trajectory_from_json(copied_text(focused))
    assert [key.frame for key in copied.keyframes] == [4, 6]
    focused.press("Home", "Control+v")
    assert frames_of(focused) == [0, 2, 4, 6, 8]


def test_the_trajectory_as_text_is_copied_and_replaced(focused):
    copy_text(focused, "a shopping list")
    focused.press("Control+v")
    assert "This text is not a trajectory as the camera editor copies it" in focused.state()["message"]
    assert focused.widget() == ""
    focused.press("k", "c")
    page = focused.page
    focused.command("asText")
    field = page.get_by_label("The trajectory as text").filter(visible=True)
    assert field.input_value() == focused.widget()
    field.fill('{"format": "something else"}')
    page.get_by_role("button", name="Use this text").filter(visible=True).click()
    assert 'with "format": "exo2ego.trajectory"' in page.locator(".e2e-fault").inner_text()
    focused.screenshot("text")
    given = keys_at(0, 5)
    field.fill(trajectory_to_json(given))
    page.get_by_role("button", name="Use this text").filter(visible=True).click()
    page.wait_for_timeout(300)
    assert trajectory_from_json(focused.widget()) == given
    focused.command("asText")
    page.get_by_role("button", name="Copy").filter(visible=True).last.click()
    page.wait_for_timeout(300)
    assert trajectory_from_json(copied_text(focused)) == given
    page.keyboard.press("Escape")
    assert not field.is_visible()


def test_slopes_by_buttons_and_curves_that_are_hidden(focused):
    copy_text(focused, trajectory_to_json(keys_at(0, 4, 8)))
    focused.press("Control+v", "c")
    focused.command("flatSlopes")
    assert all(key["tangent_out"] == key["turn_in"] == [0, 0, 0] for key in focused.state()["keyframes"])
    focused.command("smoothSlopes")
    first, middle, last = focused.state()["keyframes"]
    assert "turn_in" not in first
    assert middle["turn_in"] == middle["turn_out"] != [0, 0, 0]
    copy_text(focused, focused.widget())
    focused.command("plainSlopes")
    focused.press("Control+v")  # the text has them all
    names = ("tangent_in", "tangent_out", "turn_in", "turn_out")
    read = [[key.get(name) for name in names] for key in focused.state()["keyframes"]]
    assert read == [[key.get(name) for name in names] for key in (first, middle, last)]
    focused.command("plainSlopes")
    assert trajectory_from_json(focused.widget()).keyframes == keys_at(0, 4, 8).keyframes
    blank = focused.picture("curves")
    for name in ("x", "y", "z", "yaw", "pitch", "roll"):
        focused.page.get_by_role("button", name=name, exact=True).filter(visible=True).click()
    assert focused.picture("curves") != blank
    focused.click({"view": "timeline", "at": [0.5, 0.2]})
    focused.reload()
    focused.wait("options.curves")
    assert focused.state()["options"]["hiddenChannels"] == "x,y,z,yaw,pitch,roll"
