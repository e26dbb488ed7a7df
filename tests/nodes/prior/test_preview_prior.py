"""Preview Ego Prior over HTTP: against the real prior, its warnings, and cancelling."""

from __future__ import annotations

import pytest

from exo2ego.commands.comfyui.errors import ExecutionInterruptedError
from support.graphs import node_id, only_outputs, prior_graph, with_inputs, with_node

SETTINGS = {"size": 64, "warn_below": 5.0, "times": 3}


def preview_graph(**settings):
    graph = prior_graph()
    take, cloud = node_id(graph, "Take"), node_id(graph, "Point cloud")
    links = {"points": [cloud, 0], "camera": [take, 3], "images": [take, 0]}
    graph = with_node(graph, "900", "Exo2EgoPreviewPrior", "Quick look", **{**SETTINGS, **links, **settings})
    return with_node(graph, "901", "PreviewAny", "Report", source=["900", 4])


def test_coverage_as_the_real_prior_has_it(comfy_client, small_take):
    graph = with_inputs(preview_graph(), "Ego prior", radius=5.0, points_per_pixel=19)  # a run of its own
    run = comfy_client.run(graph)
    quick, real = (run.outputs[key]["coverage_percent"] for key in ("900", node_id(graph, "Ego prior")))
    assert len(quick) == 5
    assert quick == pytest.approx(real, abs=3)
    assert run.outputs["900"]["images"]
    assert "less than" not in run.outputs["901"]["text"][0]


def test_frames_that_see_little_are_named(comfy_server, comfy_client, small_take):
    run = comfy_client.run(only_outputs(preview_graph(warn_below=99.0), "Quick look", "Report"))
    assert "Frames 0-4 see less than 99% of the scene" in run.outputs["901"]["text"][0]
    assert "Frames 0-4 see less than 99% of the scene" in comfy_server.log.read_text()


def test_a_camera_that_sees_nothing(comfy_client, small_take):
    lost = {"lens": "pinhole", "width": 64, "height": 64, "fov": 60.0, "x": 0.0, "y": -500.0, "z": 0.0}
    graph = with_node(preview_graph(), "902", "Exo2EgoCamera", "Lost", **lost, yaw=0.0, pitch=90.0, roll=0.0)
    run = comfy_client.run(only_outputs(with_inputs(graph, "Quick look", camera=["902", 0]), "Quick look", "Report"))
    assert "looks away from every point" in run.outputs["901"]["text"][0]
    assert run.outputs["900"]["coverage_percent"] == [0.0] * 5


def test_the_sheet_has_as_many_moments_as_asked(comfy_client, small_take):
    graph = with_node(preview_graph(times=2), "903", "GetImageSize", "Size", image=["900", 1])
    graph = with_node(graph, "904", "PreviewAny", "Width", source=["903", 0])
    narrow = int(comfy_client.run(only_outputs(graph, "Width")).outputs["904"]["text"][0])
    graph = with_inputs(graph, "Quick look", times=4)
    wide = int(comfy_client.run(only_outputs(graph, "Width")).outputs["904"]["text"][0])
    assert wide > 1.8 * narrow


def test_cancel(comfy_client, small_take):
    numbers = {"lens": "pinhole", "width": 1024, "height": 1024, "fov": 90.0, "x": 0.0, "y": 0.0, "z": 0.0}
    graph = with_node(preview_graph(size=1024), "905", "Exo2EgoCamera", "Wide", **numbers, yaw=0.0, pitch=0.0, roll=0.0)
    graph = only_outputs(with_inputs(graph, "Quick look", camera=["905", 0]), "Quick look")
    seen = []

    def interrupt(progress) -> None:
        if progress.title == "Quick look":
            seen.append(progress.done)
            if len(seen) == 2:
                comfy_client.interrupt()

    with pytest.raises(ExecutionInterruptedError, match="Quick look"):
        comfy_client.run(graph, on_progress=interrupt)
    assert comfy_client.get("/queue") == {"queue_running": [], "queue_pending": []}
    comfy_client.run(only_outputs(preview_graph(), "Quick look"))
