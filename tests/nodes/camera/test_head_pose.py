"""Head Pose and Load Keypoints over HTTP: the example's figure, files, other packs' keypoints, and what is refused."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.rotations import vectors_to_matrices
from exo2ego.geometry.head.model import HEAD_POINTS
from exo2ego.geometry.head.openpose import openpose_frames
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.example.keypoints import example_keypoints
from exo2ego.takes.example.room import ExampleRoom
from support.graphs import SMALL_TAKE, with_inputs, with_node
from support.people import direction_errors

FRAMES = 5
SIZE = (448, 256)


@pytest.fixture(scope="module")
def room() -> ExampleRoom:
    return ExampleRoom(FRAMES)


@pytest.fixture
def files(comfy_server, room):
    """A folder below the input folder with the figure's exo camera, depth, and its keypoints in several forms."""
    folder = comfy_server.base / "input" / "head"
    (folder / "frames").mkdir(parents=True)
    camera = room.exo_camera(*SIZE)
    (folder / "exo_camera.json").write_text(camera.to_json())
    np.save(folder / "depth.npy", room.geometry(camera)[0].float().numpy())
    frames = openpose_frames(example_keypoints(room, camera), *SIZE)
    (folder / "dwpose.json").write_text(json.dumps(frames))
    for index, frame in enumerate(frames):
        content = {"version": 1.3, "people": frame["people"]}
        name = f"clip_{index + 8}_keypoints.json"  # 8, 9, 10: text order is not the order of frames
        (folder / "frames" / name).write_text(json.dumps(content))
    yield folder
    shutil.rmtree(folder)


def head_graph(**keypoints):
    """Keypoints, depth and exo camera from files, to a camera that is written as JSON."""
    loaded = {"file": "head/dwpose.json", "max_frames": FRAMES, "width": 0, "height": 0} | keypoints
    settings = {"person": "largest", "number": 0, "tilt_degrees": 20.0, "smoothing": 0.0, "lens": "pinhole"}
    graph = with_node({}, "1", "Exo2EgoLoadKeypoints", "Keypoints", **loaded)
    depth = {"meaning": "metric depth", "file": "head/depth.npy", "near": 0.0, "far": 0.0}
    graph = with_node(graph, "2", "Exo2EgoDepth", "Depth", **depth)
    exo = {"file": "head/exo_camera.json", "role": "exo", "lens": "pinhole", "width": 0, "height": 0}
    graph = with_node(graph, "3", "Exo2EgoCameraFile", "Exo camera", **exo)
    links = {"keypoints": ["1", 0], "depth": ["2", 0], "exo_camera": ["3", 0]}
    graph = with_node(graph, "4", "Exo2EgoHeadPose", "Head", width=64, height=64, **settings, **links)
    graph = with_node(graph, "5", "Exo2EgoCameraExport", "Export", **EXPORT, camera=["4", 0])
    return with_node(graph, "6", "PreviewAny", "Report", source=["4", 3])


EXPORT = {"format": "JSON", "filename_prefix": "head/ego", "frame": 0, "fps": 16.0}


def exported(comfy_server) -> Camera:
    newest = max((comfy_server.base / "output" / "head").glob("ego*.json"), key=lambda path: path.stat().st_mtime_ns)
    return Camera.from_json(newest.read_text())


@pytest.mark.parametrize(
    "keypoints",
    [
        {},
        {"file": "head/frames", "width": SIZE[0], "height": SIZE[1]},
        {"file": "example room"},
    ],
    ids=["DWPose's file", "OpenPose's files", "example room"],
)
def test_the_figures_head(comfy_server, comfy_client, files, room, keypoints):
    run = comfy_client.run(head_graph(**keypoints))
    found = exported(comfy_server)
    truth = room.ego_camera(found.lens, 64, 64)
    distance = (found.centers - truth.centers).norm(dim=-1)
    angles = direction_errors(found.rotations.mT, truth.rotations.mT)
    print(f"{100 * distance.median():.1f} cm, {angles.median():.1f} degrees")
    assert found.n_frames == FRAMES
    assert distance.median() < 0.08  # a round head: its joints lie under the surface
    assert angles.median() < 12
    assert "filled from their neighbours: none" in run.outputs["6"]["text"][0]
    assert run.outputs["4"]["images"]


def mhr_frames(room) -> list[list[dict]]:
    """The figure as SAM 3D Body would give it: 70 keypoints in the picture, and in 3D before a translation."""
    camera = room.exo_camera(*SIZE)
    raised = vectors_to_matrices(torch.tensor([math.radians(20), 0.0, 0.0], dtype=torch.float64))
    frames = []
    for joints in room.joints(HEAD_POINTS @ raised.T):
        solid = torch.zeros(70, 3, dtype=torch.float64)
        solid[[0, 1, 2, 3, 4, 69, 5, 6, 9, 10]] = joints - joints[0]
        pixels = camera.project(solid + joints[0])[0]
        person = {"pred_keypoints_2d": pixels, "pred_keypoints_3d": solid, "pred_cam_t": joints[0]}
        frames.append([{key: value.tolist() for key, value in person.items()}])
    return frames


def face_frames(room) -> list[list[dict]]:
    """The figure's face as MediaPipe's landmarker would give it: points in the picture, and the head's matrix."""
    flip, to_face = (torch.diag(torch.tensor(signs).double()) for signs in ([1, -1, -1, 1], [-1, -1, 1, 1]))
    raised = torch.eye(4, dtype=torch.float64)
    raised[:3, :3] = vectors_to_matrices(torch.tensor([math.radians(20), 0.0, 0.0], dtype=torch.float64))
    camera, frames = room.exo_camera(*SIZE), []
    for pose in room.ego_camera(Pinhole(1, 1, 1, 1), 2, 2).camera_to_world:
        head = pose @ raised
        nose, left, right = HEAD_POINTS[:3] @ head[:3, :3].T + head[:3, 3]
        points = torch.zeros(478, 3, dtype=torch.float64) + nose
        points[[33, 133]], points[[362, 263]] = right, left
        matrix = flip @ head @ to_face
        matrix[:3, 3] *= 100
        pixels = camera.project(points)[0]
        frames.append([{"landmarks_xy": pixels.tolist(), "transformation_matrix": matrix.tolist()}])
    return frames


@pytest.mark.parametrize(
    ("socket", "slot", "make", "beside"),
    [
        ("mhr_pose", 0, mhr_frames, False),
        ("face_landmarks", 1, face_frames, False),
        ("face_landmarks", 1, face_frames, True),
    ],
    ids=["SAM 3D Body", "MediaPipe", "MediaPipe beside OpenPose"],
)
def test_pose_data_of_newer_cores(comfy_server, comfy_client, files, room, socket, slot, make, beside):
    """What gives the head's axes is more exact than joints alone."""
    name = f"{socket}_{beside}.json"
    (files / name).write_text(json.dumps({"frames": make(room), "image_size": [SIZE[1], SIZE[0]]}))
    graph = with_node(head_graph(), "10", "StandInPoseData", "Pose data", filename=f"head/{name}")
    graph = with_inputs(graph, "Head", **{socket: ["10", slot]})
    if not beside:
        del graph["4"]["inputs"]["keypoints"]
    comfy_client.run(graph)
    found = exported(comfy_server)
    truth = room.ego_camera(found.lens, 64, 64)
    assert direction_errors(found.rotations.mT, truth.rotations.mT).median() < 4
    assert (found.centers - truth.centers).norm(dim=-1).median() < 0.12


def test_missing_frames_are_told(comfy_client, files):
    frames = json.loads((files / "dwpose.json").read_text())
    frames[2]["people"] = []
    (files / "gap.json").write_text(json.dumps(frames))
    run = comfy_client.run(head_graph(file="head/gap.json"))
    assert "4 of 5 frames seen" in run.outputs["6"]["text"][0]
    assert "filled from their neighbours: 2" in run.outputs["6"]["text"][0]


def refusal(comfy_client, graph) -> str:
    with pytest.raises((ExecutionFailedError, PromptRejectedError)) as failure:
        comfy_client.run(graph)
    return str(failure.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": None}, "Connect keypoints"),
        ({"person": "by number", "number": 3}, "There is no person 3: the clip shows 1"),
        ({"person": "the tallest"}, "person"),
    ],
)
def test_wrong_settings(comfy_client, files, changes, message):
    graph = head_graph()
    if changes.get("keypoints", "") is None:
        del graph["4"]["inputs"]["keypoints"]
        changes = {}
    assert message in refusal(comfy_client, with_inputs(graph, "Head", **changes))


def test_keypoints_that_do_not_fit(comfy_client, files):
    frames = json.loads((files / "dwpose.json").read_text())
    for name, content, message in (
        ("short", frames[:3], "keypoints have 3 frames and the depth 5"),
        ("nobody", [frame | {"people": []} for frame in frames], "nobody in any of the 5 frames"),
        ("square", [frame | {"canvas_width": 300, "canvas_height": 300} for frame in frames], "aspect ratios differ"),
        ("joints", [{"people": [{"pose_keypoints_2d": [1.0] * 51}]}], "17 body joints"),
        ("other", {"version": 4}, 'a list "people"'),
        ("size", [{"people": frame["people"]} for frame in frames], "canvas_width"),
    ):
        (files / f"{name}.json").write_text(json.dumps(content))
        assert message in refusal(comfy_client, head_graph(file=f"head/{name}.json")), name
    (files / "torn.json").write_text('[{"people": [')
    assert "not valid JSON" in refusal(comfy_client, head_graph(file="head/torn.json"))


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "head/nothing.json", "head/depth.npy", ""])
def test_names_that_are_refused(comfy_server, comfy_client, files, name):
    (comfy_server.base / "outside.json").write_text("[]")
    text = refusal(comfy_client, head_graph(file=name))
    assert any(part in text for part in ("outside", "leads out", "There is no", "is not a .json file", "empty one"))


def test_the_take_and_its_video(comfy_client, files, room, small_take):
    """The small take's own depth and video; a clip of another length is refused."""
    keypoints = example_keypoints(room, room.exo_camera(128, 64))
    (files / "small.json").write_text(json.dumps(openpose_frames(keypoints, 128, 64)))
    take = {"take": SMALL_TAKE, "ego_lens": "pinhole", "max_frames": FRAMES}
    graph = with_node(head_graph(file="head/small.json"), "7", "Exo2EgoLoadTake", "Take", **take)
    graph = with_inputs(graph, "Head", depth=["7", 2], exo_camera=["7", 1], images=["7", 0])
    graph = {key: node for key, node in graph.items() if key not in ("2", "3")}
    run = comfy_client.run(graph)
    assert "frames seen" in run.outputs["6"]["text"][0]
    short = with_node(graph, "8", "ImageFromBatch", "Two", image=["7", 0], batch_index=0, length=2)
    assert "2 frames and the keypoints 5" in refusal(comfy_client, with_inputs(short, "Head", images=["8", 0]))
