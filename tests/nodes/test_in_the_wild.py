"""The in-the-wild graph over HTTP: a video file, DepthPro, cameras, prompt, sampling; and its parts."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest
import torch

from exo2ego.geometry.cameras.trajectory import Keyframe, Trajectory
from exo2ego.geometry.cameras.trajectory_json import trajectory_to_json
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.video import read_video
from support.depth_files import write_exr
from support.graphs import FILES, api_graph, node_id, only_outputs, with_inputs, with_models, with_node
from support.tiny_depth_pro import save_tiny_depth_pro


@pytest.fixture(scope="module")
def depth_pro(comfy_server) -> str:
    folder = comfy_server.base / "models" / "depth_pro" / "tiny"
    folder.mkdir(parents=True)
    return save_tiny_depth_pro(folder).name


@pytest.fixture
def graph(small_take, depth_pro):
    graph = with_models(api_graph("egox"), {role: name for role, (_, name) in FILES.items()}, stand_ins=True)
    clip = {"file": f"{small_take.name}/exo.mp4", "frames": 5, "frame_rate": 0, "width": 128, "height": 64}
    graph = with_inputs(graph, "Exo video", **clip)
    graph = with_inputs(graph, "DepthPro", weights=depth_pro)
    graph = with_inputs(graph, "Point cloud", reliability=10.0)  # random weights give rough depth
    # Random weights find no head: the camera stands where the exo camera does.
    stands = trajectory_to_json(Trajectory((Keyframe(0, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),), width=64, height=64))
    graph = with_inputs(graph, "Camera editor", trajectory=stands, start_camera=None)
    graph = with_inputs(graph, "Describe clip", weights="none", ego_action="Both hands move over a table.")
    return with_inputs(graph, "Sampler", steps=1)


def test_from_a_video_file_to_an_ego_video(comfy_client, graph, tmp_path):
    run = comfy_client.run(graph)
    (saved,) = run.files(node_id(graph, "Save ego video"))
    path = tmp_path / "ego.mp4"
    path.write_bytes(comfy_client.fetch(saved))
    assert read_video(path)[0].shape == (5, 64, 64, 3)
    for title in ("Save ego prior", "Save side by side", "Save contact sheet", "Align depth", "Compare views"):
        assert run.files(node_id(graph, title)), title


def test_a_known_field_of_view_is_handed_on(comfy_client, graph):
    graph = only_outputs(with_inputs(graph, "DepthPro", known_fov=66.0), "DepthPro")
    graph = with_node(graph, "940", "PreviewAny", "Show", source=[node_id(graph, "DepthPro"), 1])
    run = comfy_client.run(graph)
    assert run.outputs["940"]["text"] == ["66.0"]


# Marked points of a long clip of 1920 x 1080: color, depth in metres, place in the first frame, pixels a frame.
MARKS = (
    ((230, 30, 30), 2.0, (700, 300), (0.5, 0.0)),
    ((30, 220, 30), 3.0, (1300, 420), (0.0, 0.6)),
    ((40, 60, 230), 4.5, (900, 760), (0.4, -0.3)),
)
WALL, HALF, CLIP, RATE = 8.0, 40, (1920, 1080), 60  # metres; half a mark's width; pixels; frames a second
START, FOV, ASIDE = 2.0, 60.0, 0.2  # seconds, degrees, metres


def mark_at(place, way, number):
    return place[0] + way[0] * number, place[1] + way[1] * number


def write_marked(folder, n_frames=300):
    """Write a clip whose marks move before a wall, and its depth at half the size, one EXR a frame."""
    with av.open(str(folder / "long.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "12"})
        stream.width, stream.height, stream.pix_fmt = *CLIP, "yuv420p"
        for number in range(n_frames):
            picture, depth = np.full((CLIP[1], CLIP[0], 3), 90, np.uint8), np.full((540, 960), WALL, np.float32)
            for color, metres, place, way in MARKS:
                x, y = mark_at(place, way, number)
                left, top = round(x - HALF), round(y - HALF)
                picture[top : top + 2 * HALF, left : left + 2 * HALF] = color
                # The depth's pixels whose centers lie in the mark.
                area = np.s_[-(-top // 2) : (top + 2 * HALF) // 2, -(-left // 2) : (left + 2 * HALF) // 2]
                depth[area] = metres
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            write_exr(folder / "long_depth" / f"depth_{number + 1:04d}.exr", {"Z": depth}, "zip")
        file.mux(stream.encode(None))


def center_of(image, color):
    """Return where a color is in a picture [H, W, 3] in [0, 1]: the middle of what it covers, (x, y)."""
    near = np.abs(np.asarray(image) * 255 - np.array(color)).sum(axis=-1) < 120
    assert near.sum() > 100, f"{color} is not in the picture"
    rows, columns = near.nonzero()
    return (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2


def test_a_long_clip_with_depth_of_half_its_size_reaches_the_prior_with_every_pixel_in_place(
    comfy_server, comfy_client, tmp_path
):
    """No depth model is there or asked. From a camera aside, each mark moves by what its own depth makes of it."""
    write_marked(comfy_server.base / "input")
    graph = with_inputs(api_graph("egox"), "Exo video", file="long.mp4", start=START, frames=25)
    assert [graph[node_id(graph, "Exo video")]["inputs"][name] for name in ("width", "height")] == [784, 448]
    graph = with_inputs(graph, "Metric depth", file="long_depth")
    torn = comfy_server.base / "models" / "depth_pro" / "torn"  # it would stop the run
    torn.mkdir(parents=True)
    (torn / "config.json").write_text('{"model_type": "depth_pro"}')
    graph = with_inputs(graph, "DepthPro", weights=torn.name, known_fov=FOV)
    graph = with_inputs(graph, "Exo camera", known_fov=FOV)
    graph = with_inputs(graph, "Point cloud", background="per frame")
    graph = with_inputs(graph, "Ego prior", points_per_pixel=4)
    focal = 784 / 2 / math.tan(math.radians(FOV / 2))
    aside = Trajectory(
        (Keyframe(0, (ASIDE, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),), Pinhole(focal, focal, 392.0, 224.0), 784, 448
    )
    graph = with_inputs(graph, "Camera editor", trajectory=trajectory_to_json(aside), start_camera=None)
    run = comfy_client.run(only_outputs(graph, "Save ego prior"))
    (saved,) = run.files(node_id(graph, "Save ego prior"))
    path = tmp_path / "prior.mp4"
    path.write_bytes(comfy_client.fetch(saved))
    prior, fps = read_video(path)[:2]
    assert len(prior) == 25
    assert fps == 30
    scale = 448 / CLIP[1]
    cut_off = (CLIP[0] * scale - 784) / 2
    for frame in (0, 12, 24):
        number = round(START * RATE) + 2 * frame  # 60 frames a second, handed out at 30
        for color, metres, place, way in MARKS:
            x, y = mark_at(place, way, number)
            expected = x * scale - cut_off - focal * ASIDE / metres, y * scale
            assert center_of(prior[frame], color) == pytest.approx(expected, abs=1.5), (frame, color)


@pytest.mark.parametrize(
    ("meaning", "near", "far", "warning"),
    [("metric depth", 0.0, 0.0, True), ("normalised inverse depth", 0.5, 10.0, False)],
)
def test_depth_pictures_say_what_they_mean(comfy_server, comfy_client, graph, meaning, near, far, warning):
    """A grey picture declared as metres draws a warning; declared as what it is, it draws none."""
    size = {"width": 64, "height": 64}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {**size, "batch_size": 1, "color": 0}, "_meta": {"title": "A"}}
    }
    graph = with_node(graph, "2", "EmptyImage", "B", **size, batch_size=1, color=0xFFFFFF)
    join = {"image1": ["1", 0], "image2": ["2", 0], "direction": "right", "match_image_size": True}
    join |= {"spacing_width": 0, "spacing_color": "white"}
    graph = with_node(graph, "3", "ImageStitch", "Join", **join)
    graph = with_node(
        graph, "4", "Exo2EgoDepth", "Depth", meaning=meaning, file="none", near=near, far=far, images=["3", 0]
    )
    graph = with_node(graph, "5", "PreviewAny", "Show", source=["4", 0])
    before = comfy_server.log.read_text().count("Exo2EgoDepth:")
    comfy_client.run(graph)
    assert (comfy_server.log.read_text().count("Exo2EgoDepth:") > before) == warning


def test_the_tiny_depth_pro_is_alive(depth_pro, comfy_server):
    """The run above means something: the depth differs from pixel to pixel."""
    from exo2ego.networks.depth_pro import estimate_depth

    images = torch.rand(1, 64, 128, 3, generator=torch.Generator().manual_seed(0))
    depth = estimate_depth(images, comfy_server.base / "models" / "depth_pro" / depth_pro).depth
    assert depth.std() > 0.01
