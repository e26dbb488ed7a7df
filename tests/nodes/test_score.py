"""Score over HTTP: its figures, its sheet, what it says without a truth, and cancelling."""

from __future__ import annotations

import pytest

from exo2ego.commands.comfyui.errors import ExecutionFailedError, ExecutionInterruptedError
from exo2ego.evaluation import score_clips
from exo2ego.takes.egox.read import read_take
from support.graphs import SMALL_TAKE as TAKE
from support.graphs import api_graph, node_id, only_outputs, with_inputs, with_node

SCORE = "Score of the prior"


def score_graph(**inputs):
    """The small take's prior, or what is given, scored against the take's truth."""
    graph = with_inputs(api_graph("ego_prior"), "Take", take=TAKE)
    graph = with_inputs(graph, SCORE, **inputs) if inputs else graph
    key = node_id(graph, SCORE)
    graph = with_node(graph, "901", "PreviewAny", "Report", source=[key, 3])
    return with_node(graph, "902", "PreviewAny", "PSNR", source=[key, 0])


def test_the_prior_s_scores_are_the_library_s(comfy_client, small_take):
    graph = only_outputs(score_graph(), SCORE, "Report", "PSNR", "Save ego prior")
    run = comfy_client.run(graph)
    (scores,) = run.outputs[node_id(graph, SCORE)]["scores"]
    assert scores["protocol"] == "EgoX"
    assert 5 < scores["psnr"] < 40
    assert float(run.outputs["902"]["text"][0]) == pytest.approx(scores["psnr"], abs=1e-6)
    report = run.outputs["901"]["text"][0]
    assert f"PSNR {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}" in report
    assert f"Unseen by the exo camera ({scores['unseen_percent']:.1f} %)" in report
    assert "published figures are of 448 x 448, these of 64 x 64" in report
    percent = run.outputs[node_id(graph, "Ego prior")]["coverage_percent"]
    assert 100 - scores["unseen_percent"] == pytest.approx(sum(percent) / len(percent), abs=0.01)
    assert run.outputs[node_id(graph, SCORE)]["images"]


def test_the_truth_against_itself_and_against_another_view(comfy_client, small_take):
    graph = score_graph(protocol="Exo2EgoSyn", times=2)
    take_node = node_id(graph, "Take")
    same = with_inputs(graph, SCORE, ego=[take_node, 6], ego_prior=[take_node, 6], coverage=None)
    run = comfy_client.run(only_outputs(same, SCORE))
    (scores,) = run.outputs[node_id(graph, SCORE)]["scores"]
    assert (scores["psnr"], scores["ssim"]) == (120, 1)
    other = with_inputs(graph, SCORE, ego=[take_node, 0], coverage=None)
    run = comfy_client.run(only_outputs(other, SCORE))
    (scores,) = run.outputs[node_id(graph, SCORE)]["scores"]
    take = read_take(small_take)
    expected = score_clips(take.exo, take.ego_truth, protocol="Exo2EgoSyn").means
    assert scores["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)
    assert scores["ssim"] == pytest.approx(expected["ssim"], abs=1e-4)
    assert "psnr_seen" not in scores


def test_without_a_truth_it_says_so_and_nothing_after_it_runs(comfy_server, comfy_client, small_take):
    graph = score_graph(ego_truth=None)
    run = comfy_client.run(only_outputs(graph, SCORE, "Report", "PSNR"))
    assert "ego_truth got nothing" in run.outputs["901"]["text"][0]
    assert "902" not in run.outputs
    assert "Exo2EgoScore: There is no true ego view" in comfy_server.log.read_text()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"ego": ["900", 0], "coverage": None}, "The scored video has 2 frames, and the true ego view 5. Cut both"),
        ({"ego": ["903", 0]}, "The scored video is 64 x 32, and the ego truth 64 x 64.*does not resize"),
        ({"ego_prior": ["903", 0], "coverage": None}, "Give the prior of the same camera"),
    ],
)
def test_what_does_not_fit_is_told(comfy_client, small_take, inputs, message):
    graph = score_graph()
    take_node = node_id(graph, "Take")
    graph = with_node(graph, "900", "ImageFromBatch", "Two", image=[take_node, 6], batch_index=0, length=2)
    scaled = {"upscale_method": "area", "width": 64, "height": 32, "crop": "disabled"}
    graph = with_node(graph, "903", "ImageScale", "Flat", image=[take_node, 6], **scaled)
    graph = with_inputs(graph, SCORE, **inputs)
    with pytest.raises(ExecutionFailedError, match=message):
        comfy_client.run(only_outputs(graph, SCORE))


def test_cancel(comfy_client, small_take):
    graph = score_graph()
    large = {"upscale_method": "nearest-exact", "width": 1024, "height": 1024, "crop": "disabled"}
    for key, source in (("910", ["3", 0]), ("911", ["1", 6])):
        graph = with_node(graph, key, "ImageScale", f"Large {key}", image=source, **large)
    graph = with_inputs(graph, SCORE, ego=["910", 0], ego_truth=["911", 0], coverage=None)
    seen = []

    def interrupt(progress) -> None:
        if progress.title == SCORE:
            seen.append(progress.done)
            if len(seen) == 2:
                comfy_client.interrupt()

    with pytest.raises(ExecutionInterruptedError, match=SCORE):
        comfy_client.run(only_outputs(graph, SCORE), on_progress=interrupt)
    assert comfy_client.get("/queue") == {"queue_running": [], "queue_pending": []}
