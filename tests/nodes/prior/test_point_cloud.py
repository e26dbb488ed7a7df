"""Point Cloud and Render Ego Prior over HTTP: sizes, masks, what is said of moving parts, the chart."""

from __future__ import annotations

import json
import shutil

import pytest

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from support.graphs import SMALL_TAKE, Graph, egox_graph, node_id, prior_graph, with_inputs, with_node

CAMERA = {"lens": "pinhole", "fov": 60.0, "x": 0.0, "y": 0.0, "z": 0.0, "yaw": 0.0, "pitch": 0.0, "roll": 0.0}


def masked(value: float, n_frames: int = 5, **points: object) -> Graph:
    """The prior's graph with a mask of one value over the whole picture."""
    color = round(255 * value) * 0x010101
    size = {"width": 128, "height": 64, "batch_size": n_frames, "color": color}
    graph = with_node(prior_graph(), "950", "EmptyImage", "Plain", **size)
    graph = with_node(graph, "951", "ImageToMask", "Mask", image=["950", 0], channel="red")
    return with_inputs(graph, "Point cloud", moving=["951", 0], **points)


@pytest.fixture
def said(comfy_server, comfy_client, small_take):
    """Run a graph; returns what Point Cloud wrote into the log meanwhile."""

    def run(graph: Graph) -> str:
        before = len(comfy_server.log.read_text())
        comfy_client.run(graph)
        lines = comfy_server.log.read_text()[before:].splitlines()
        return "\n".join(line for line in lines if "Exo2EgoPointCloud" in line)

    return run


@pytest.mark.parametrize("points", [{"background": "per frame"}, {"moving_parts": "none"}], ids=str)
def test_a_mask_without_effect_is_said_and_checked(said, comfy_client, points):
    assert "no effect" in said(masked(0.0, **points))
    with pytest.raises(ExecutionFailedError, match="mask has 3 frames and the clip 5"):
        comfy_client.run(masked(0.0, n_frames=3, **points))


def test_a_mask_of_nearly_everything_draws_a_warning(said):
    assert said(masked(0.0, stride=3)) == ""
    assert "not inverted" in said(masked(1.0))


@pytest.fixture
def ego_exo4d_take(comfy_server, small_take):
    """The small take with an exo camera that stands in a world of its own, as Ego-Exo4D's."""
    name = "as_ego_exo4d"
    folder = shutil.copytree(small_take, comfy_server.base / "input" / name)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["camera_extrinsics"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    meta["camera_extrinsics"][0][3] = 0.5  # exo_camera.json beside it keeps the pose, so the picture is the same
    (folder / "meta.json").write_text(json.dumps(meta))
    yield name
    shutil.rmtree(folder)


def coverage(comfy_client, take: str, radius: float, **points: object) -> list[float]:
    """What the ego prior covers."""
    graph = with_inputs(prior_graph(take, radius=radius), "Point cloud", **points)
    if "moving_points" not in points:
        graph[node_id(graph, "Point cloud")]["inputs"].pop("moving_points", None)
    return comfy_client.run(graph).outputs[node_id(graph, "Ego prior")]["coverage_percent"]


def test_a_take_tells_whether_moving_points_are_drawn(comfy_client, small_take, ego_exo4d_take):
    drawn = coverage(comfy_client, SMALL_TAKE, 2.1, keep_moving=True)
    left_out = coverage(comfy_client, SMALL_TAKE, 2.1, keep_moving=False)
    background = coverage(comfy_client, SMALL_TAKE, 2.1, keep_moving=False, moving_parts="none")
    assert len({tuple(drawn), tuple(left_out), tuple(background)}) == 3, "the small take has nothing that moves"
    by_take = {"keep_moving": True, "moving_points": "by the take"}
    assert coverage(comfy_client, SMALL_TAKE, 2.1, **by_take) == drawn
    assert coverage(comfy_client, ego_exo4d_take, 2.1, **by_take) == background
    # Switched off by hand is off; as before where the input is not there, or says so.
    assert coverage(comfy_client, SMALL_TAKE, 2.1, keep_moving=False, moving_points="by the take") == left_out
    assert coverage(comfy_client, ego_exo4d_take, 2.1, keep_moving=True) == drawn
    assert coverage(comfy_client, ego_exo4d_take, 2.1, keep_moving=True, moving_points="by keep_moving") == drawn


def test_a_rule_that_is_not_there(comfy_client, small_take):
    with pytest.raises(PromptRejectedError, match=r"'moving_points' takes one of 'by the take', 'by keep_moving'"):
        comfy_client.run(with_inputs(prior_graph(), "Point cloud", moving_points="by nobody"))


def test_the_rule_that_overrules_keep_moving_is_said(said, small_take, ego_exo4d_take):
    by_take = {"moving_points": "by the take", "stride": 3}
    rule = said(with_inputs(prior_graph(ego_exo4d_take), "Point cloud", **by_take))
    assert "moving points left out, by the take: Ego-Exo4D" in rule
    assert said(with_inputs(prior_graph(), "Point cloud", **by_take)) == ""


def test_images_of_another_size_or_shape_than_depth_and_camera(comfy_client, small_take):
    def resized(width: int, height: int) -> Graph:
        graph = prior_graph()
        options = {"upscale_method": "area", "width": width, "height": height, "crop": "disabled"}
        graph = with_node(graph, "952", "ImageScale", "Resize", image=[node_id(graph, "Take"), 0], **options)
        return with_inputs(graph, "Point cloud", images=["952", 0])

    graph = resized(64, 32)
    assert comfy_client.run(graph).files(node_id(graph, "Save ego prior"))
    with pytest.raises(ExecutionFailedError, match=r"depth 128 x 64.*Bring the video to 128 x 64"):
        comfy_client.run(resized(96, 64))


@pytest.mark.parametrize(("graph", "node", "name"), [
    (prior_graph, "Point cloud", "camera"),
    (egox_graph, "Geometry-guided attention", "exo_camera"),
], ids=["points", "GGA"])  # fmt: skip
def test_a_camera_of_another_shape_is_refused(comfy_client, small_take, graph, node, name):
    wide = with_node(graph(), "953", "Exo2EgoCamera", "Square", width=640, height=480, **CAMERA)
    with pytest.raises(ExecutionFailedError, match=r"640 x 480.*128 x 64.*[Cc]rop"):
        comfy_client.run(with_inputs(wide, node, **{name: ["953", 0]}))


def test_the_coverage_chart_is_a_picture(comfy_client, small_take):
    graph = prior_graph()
    graph = with_node(graph, "954", "PreviewImage", "Chart", images=[node_id(graph, "Ego prior"), 3])
    assert len(comfy_client.run(graph).files("954")) == 1


def test_gga_reports_its_directions(comfy_client, small_take):
    seen = []
    graph = egox_graph(steps=3)
    graph = with_inputs(graph, "Geometry-guided attention", strength=2.5)  # a run of its own
    comfy_client.run(graph, on_progress=lambda progress: seen.append((progress.title, progress.done, progress.total)))
    assert ("Sampler", 2, 2) in seen, "two latent frames"
    assert ("Sampler", 3, 3) in seen, "three steps"
