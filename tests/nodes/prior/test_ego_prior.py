"""The ego prior over HTTP: against the released priors and against the example room's truth."""

from __future__ import annotations

import shutil

import pytest
import torch

from exo2ego.takes.video import read_video
from support.agreement import prior_agreement
from support.graphs import node_id, prior_graph, with_inputs


def rendered(comfy_client, graph, tmp_path) -> torch.Tensor:
    run = comfy_client.run(graph)
    (saved,) = run.files(node_id(graph, "Save ego prior"))
    path = tmp_path / "prior.mp4"
    path.write_bytes(comfy_client.fetch(saved))
    return read_video(path)[0]


@pytest.mark.parametrize(
    ("take", "points", "iou", "psnr"),
    [
        ("joker", {"background": "per frame"}, 0.95, 28.0),
        (
            "iiith_cooking_57_2_2451_2499",
            {"background": "mean", "moving_parts": "none", "keep_moving": False},
            0.82,
            21.0,
        ),
    ],
)
def test_agrees_with_the_released_prior(comfy_server, comfy_client, shared_take, tmp_path, take, points, iou, psnr):
    source = shared_take(take)
    folder = comfy_server.base / "input" / take
    shutil.copytree(source, folder)
    try:
        graph = with_inputs(prior_graph(take), "Point cloud", **points)
        frames = rendered(comfy_client, graph, tmp_path)
    finally:
        shutil.rmtree(folder)
    released = read_video(source / "ego_Prior.mp4")[0][: len(frames)]
    assert len(frames) == 49
    agreement = prior_agreement(frames, released)
    print(f"{take}: IoU {agreement.mean_iou:.3f}, PSNR {agreement.mean_psnr:.2f} dB")
    assert agreement.mean_iou >= iou
    assert agreement.mean_psnr >= psnr


def test_reports_coverage_per_frame(comfy_client, small_take):
    graph = prior_graph(radius=4.5)  # a run of its own: nodes behind cached ones do not show again
    run = comfy_client.run(graph)
    percent = run.outputs[node_id(graph, "Ego prior")]["coverage_percent"]
    assert len(percent) == 5
    assert all(1 < value < 99 for value in percent)


def test_the_example_room_needs_no_files(comfy_client):
    graph = with_inputs(prior_graph("example room"), "Take", max_frames=1)
    run = comfy_client.run(graph)
    assert run.files(node_id(graph, "Save ego prior"))
