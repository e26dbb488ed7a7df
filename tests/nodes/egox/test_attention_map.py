"""The attention map over HTTP on tiny weights: pictures, numbers, the step's noise, what is refused."""

from __future__ import annotations

import pytest
import torch

from exo2ego.commands.comfyui.errors import ExecutionFailedError, ExecutionInterruptedError
from support.graphs import attention_map_graph, node_id, only_outputs, with_node

TITLE, KEY = "Attention map", "900"
OUTPUTS = {"exo with GGA": 0, "exo without GGA": 1, "ego with GGA": 2, "ego without GGA": 3, "sheet": 4}


def map_graph(*saved: str, **inputs):
    """The graph up to the attention map, with some of its outputs saved."""
    graph = attention_map_graph(**inputs)
    for place, name in enumerate(saved):
        images = {"images": [KEY, OUTPUTS[name]], "filename_prefix": "attention"}
        graph = with_node(graph, str(901 + place), "SaveImage", name, **images)
    return only_outputs(graph, TITLE, *saved)


def picture(comfy_client, entry) -> torch.Tensor:
    """Fetch a picture as [H, W, 3]."""
    from torchvision.io import ImageReadMode, decode_image

    data = torch.frombuffer(bytearray(comfy_client.fetch(entry)), dtype=torch.uint8)
    return decode_image(data, ImageReadMode.RGB).movedim(0, -1).float() / 255


@pytest.fixture
def run(comfy_client, small_take):
    """Run a graph; returns what the node shows, and the saved videos by title, [F, H, W, 3]."""

    def run(graph):
        done = comfy_client.run(graph)
        videos = {
            name: torch.stack([picture(comfy_client, entry) for entry in done.files(node_id(graph, name))])
            for name in OUTPUTS
            if any(node["_meta"]["title"] == name for node in graph.values()) and done.files(node_id(graph, name))
        }
        return done.outputs[KEY], videos

    return run


def test_one_picture_a_frame_of_both_views(run):
    shown, videos = run(map_graph(*OUTPUTS))
    assert {name: tuple(video.shape) for name, video in videos.items() if name != "sheet"} == {
        "exo with GGA": (5, 64, 128, 3),
        "exo without GGA": (5, 64, 128, 3),
        "ego with GGA": (5, 64, 64, 3),
        "ego without GGA": (5, 64, 64, 3),
    }
    assert (videos["exo with GGA"] - videos["exo without GGA"]).abs().max() > 0.1
    assert len(videos["sheet"]) == len(shown["images"]) == 1
    plain, guided = shown["attention"]
    assert 0 < plain["exo_share"] < 1
    assert 0 < guided["mean_angle"] < plain["mean_angle"] < 180


def test_frames_of_one_latent_frame_share_their_heat(run):
    """Over black, frames 1 to 4 (latent frame 1) are alike, and frame 0 is not."""
    graph = map_graph("ego without GGA")
    del graph[KEY]["inputs"]["ego"]
    _, videos = run(graph)
    frames = videos["ego without GGA"]
    assert torch.equal(frames[1], frames[4])
    assert (frames[0] - frames[1]).abs().max() > 0.05


def test_the_picker_gets_the_ego_frames_of_the_sheet(run, comfy_client):
    shown, _ = run(map_graph())
    (sent,) = shown["ego_frames"]
    assert sent["frames"] == [0, 3, 4]
    assert picture(comfy_client, sent).shape == (64, 3 * 64, 3)


def test_without_gga_the_guided_outputs_are_blocked(run):
    shown, videos = run(map_graph(*OUTPUTS, model="EgoX Apply"))
    assert set(videos) == {"exo without GGA", "ego without GGA", "sheet"}
    (only,) = shown["attention"]
    assert only["mean_angle"] is None


def test_another_point_runs_this_node_alone(run, comfy_client):
    """Changing the point costs one model call; the rest of the graph is cached."""
    before, _ = run(map_graph())
    done = comfy_client.run(map_graph(x=0.2))
    assert [title for title, seconds in done.seconds.items() if seconds > 0] == [TITLE]
    assert done.outputs[KEY]["attention"] != before["attention"]


def test_a_later_step_of_the_sampled_latent(run):
    first, second = (run(map_graph(latent="Sampler", steps=2, step=step))[0] for step in (0, 1))
    assert first["attention"] != second["attention"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"frame": 5}, "frames 0 to 4, got frame 5"),
        ({"step": 20}, "the steps 0 to 19, got 20"),
        ({"first_block": 7}, "none of the model's 0 to 1"),
        ({"exo": "Ego prior"}, "its part of the latent is 8 x 4 tokens"),
        ({"model": "EgoX LoRA"}, "EgoX Apply"),
    ],
)
def test_what_does_not_fit_is_refused(comfy_client, small_take, inputs, message):
    with pytest.raises(ExecutionFailedError, match=message) as failure:
        comfy_client.run(map_graph(**inputs))
    assert failure.value.node == TITLE


def test_progress_counts_the_blocks(comfy_client, small_take):
    seen = []
    comfy_client.run(
        map_graph(seed=13, first_block=1), on_progress=lambda at: seen.append((at.title, at.done, at.total))
    )
    assert (TITLE, 1, 1) in seen


def test_cancel(comfy_client, small_take):
    def interrupt(progress) -> None:
        if progress.title == TITLE and progress.done == 0:
            comfy_client.interrupt()

    with pytest.raises(ExecutionInterruptedError, match=TITLE):
        comfy_client.run(map_graph(seed=12), on_progress=interrupt)
    comfy_client.run(map_graph(seed=12))
