"""Find People over HTTP, with tiny random weights: into Head Pose, masks with and without SAM 2, what is not there."""

from __future__ import annotations

import re

import pytest

from exo2ego.commands.comfyui.errors import ExecutionFailedError
from support.tiny_people import save_tiny_detector, save_tiny_masks, save_tiny_pose

F = 5


@pytest.fixture(scope="module")
def weights(comfy_server) -> dict[str, str]:
    folder = comfy_server.base / "models" / "people"
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "detector": save_tiny_detector(folder / "tiny_detector").name,
        "pose": save_tiny_pose(folder / "tiny_pose").name,
        "masks": save_tiny_masks(folder / "tiny_masks").name,
    }


def graph(weights, small_take, **changed):
    """The take's clip with Find People, whose four outputs are looked at."""
    clip = {"file": f"{small_take.name}/exo.mp4", "start": 0, "frames": F, "frame_rate": 0, "width": 0, "height": 0}
    people = {"images": ["clip", 0], **weights, "person": 1, "confidence": 0.3, **changed}
    nodes = {
        "clip": ("Exo2EgoLoadClip", {**clip, "fit": "crop", "anchor": "center"}),
        "people": ("Exo2EgoFindPeople", people),
        "preview": ("PreviewImage", {"images": ["people", 1]}),
        "report": ("PreviewAny", {"source": ["people", 3]}),
        "keypoints": ("StandInLook", {"value_0": ["people", 0]}),
    }
    return {
        name: {"class_type": kind, "inputs": inputs, "_meta": {"title": name}} for name, (kind, inputs) in nodes.items()
    }


def with_mask(graph):
    added = {
        "image": ("MaskToImage", {"mask": ["people", 2]}),
        "mask": ("PreviewImage", {"images": ["image", 0]}),
    }
    return graph | {
        name: {"class_type": kind, "inputs": inputs, "_meta": {"title": name}} for name, (kind, inputs) in added.items()
    }


def test_people_with_joints_and_a_mask(comfy_client, weights, small_take):
    run = comfy_client.run(with_mask(graph(weights, small_take)))
    (report,) = run.outputs["report"]["text"]
    assert re.search(rf"\d+ (person|people) in {F} frames; person 1: frames 0 to {F - 1}", report), report
    assert "The mask of person 1 covers" in report
    assert len(run.outputs["preview"]["images"]) == F
    assert len(run.outputs["mask"]["images"]) == F


def test_without_sam_2_there_is_no_mask(comfy_client, refuse, weights, small_take):
    """Joints come all the same; what takes the mask stops, instead of getting an empty one."""
    without = graph({**weights, "masks": "none"}, small_take)
    (report,) = comfy_client.run(without).outputs["report"]["text"]
    assert "No mask: no SAM 2 weights are chosen." in report
    text = refuse(with_mask(graph({**weights, "masks": "none"}, small_take, confidence=0.35)))  # not kept from before
    assert "no SAM 2 weights are chosen. Choose them in its input 'masks'" in text


def test_head_pose_takes_the_keypoints(comfy_client, weights, small_take):
    """Random joints make no head, or a wild one; that they are read as POSE_KEYPOINT of this size is what counts."""
    with_head = graph(weights, small_take)
    take = {"take": small_take.name, "ego_lens": "EgoX release (Aria RGB)", "max_frames": F, "height": 0}
    head = {"depth": ["take", 2], "exo_camera": ["take", 1], "keypoints": ["people", 0], "images": ["clip", 0]}
    head |= {"person": "by number", "number": 0, "tilt_degrees": 20.0, "smoothing": 0.0, "width": 64, "height": 64}
    with_head["take"] = {"class_type": "Exo2EgoLoadTake", "inputs": take, "_meta": {"title": "take"}}
    with_head["head"] = {
        "class_type": "Exo2EgoHeadPose",
        "inputs": {**head, "lens": "EgoX release (Aria RGB)"},
        "_meta": {"title": "head"},
    }
    with_head["axes"] = {"class_type": "PreviewImage", "inputs": {"images": ["head", 1]}, "_meta": {"title": "axes"}}
    try:
        found = f"{len(comfy_client.run(with_head).outputs['axes']['images'])} frames"
    except ExecutionFailedError as error:
        found = str(error)
    assert re.search(rf"^{F} frames|The keypoints show too little of the head", found)


def test_who_is_not_there(refuse, weights, small_take):
    assert re.search(
        r"There is no person 99: \d+ found, numbered from 1", refuse(graph(weights, small_take, person=99))
    )
    text = refuse(graph(weights, small_take, confidence=0.95))
    assert f"Nobody was found in {F} frames with a confidence of 0.95. Lower confidence" in text


def test_weights_that_are_not_there(comfy_client, refuse, weights, small_take):
    options = comfy_client.get("/object_info/Exo2EgoFindPeople")["Exo2EgoFindPeople"]["input"]["required"]

    def listed(name):
        kind, more = options[name]
        return more["options"] if kind == "COMBO" else kind

    assert listed("detector") == ["tiny_detector"], "each list has its own network's folders"
    assert listed("pose") == ["tiny_pose"]
    assert listed("masks") == ["none", "tiny_masks"]
    text = refuse(graph({**weights, "pose": "tiny_detector"}, small_take))
    assert "The input 'pose' takes" in text
