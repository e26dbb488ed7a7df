"""The in-the-wild graph over HTTP: a video file, DepthPro, cameras, prompt, sampling; and its parts."""

from __future__ import annotations

import pytest
import torch

from exo2ego.takes.video import read_video
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
    clip = {"file": f"{small_take.name}/exo.mp4", "frames": 5, "width": 128, "height": 64}
    graph = with_inputs(graph, "Exo video", **clip)
    graph = with_inputs(graph, "DepthPro", weights=depth_pro)
    graph = with_inputs(graph, "Point cloud", reliability=10.0)  # random weights give rough depth
    graph = with_inputs(graph, "Ego camera", file=f"{small_take.name}/ego_camera.json")
    return with_inputs(graph, "Sampler", steps=1)


def test_from_a_video_file_to_an_ego_video(comfy_client, graph, tmp_path):
    run = comfy_client.run(graph)
    (saved,) = run.files(node_id(graph, "Save ego video"))
    path = tmp_path / "ego.mp4"
    path.write_bytes(comfy_client.fetch(saved))
    assert read_video(path)[0].shape == (5, 64, 64, 3)
    for title in ("Save ego prior", "Save contact sheet", "Align depth", "Compare views"):
        assert run.files(node_id(graph, title)), title


def test_a_known_field_of_view_is_handed_on(comfy_client, graph):
    graph = only_outputs(with_inputs(graph, "DepthPro", known_fov=66.0), "DepthPro")
    graph = with_node(graph, "940", "PreviewAny", "Show", source=[node_id(graph, "DepthPro"), 1])
    run = comfy_client.run(graph)
    assert run.outputs["940"]["text"] == ["66.0"]


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
