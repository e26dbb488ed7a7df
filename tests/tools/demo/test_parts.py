"""The demo's parts: its table of workflow titles, its search for weights, its scores."""

import json
import math
from pathlib import Path

import pytest
import torch
from demo import graph as graphs
from demo import models
from demo.job import Job
from demo.report import coverage, score_prior, score_views, seen_by_both
from demo.syn import check_components

from exo2ego.evaluation.scores import score_clips
from exo2ego.networks.pocket_files import COMPONENTS, component_file
from exo2ego.takes.example.room import PROMPT_PARTS, example_take
from exo2ego.takes.example.views import example_views
from exo2ego.takes.views import Clip

NAMES = {role: f"{role}.safetensors" for role in graphs.LOADERS}


@pytest.mark.parametrize("path", [graphs.CLIP_WORKFLOW, graphs.TAKE_WORKFLOW], ids=lambda path: path.stem)
def test_the_shipped_workflows_have_what_the_demo_edits(path):
    graph = graphs.with_models(graphs.load_graph(path), NAMES, stand_ins=True)
    for role, (title, name) in graphs.LOADERS.items():
        assert graph[graphs.node_id(graph, title)]["inputs"][name] == NAMES[role]
    types = {node["class_type"] for node in graph.values()}
    assert types.isdisjoint(graphs.STAND_IN_LOADERS)
    assert types.issuperset(graphs.STAND_IN_LOADERS.values())
    for title in (graphs.POINT_CLOUD, graphs.EGO_PRIOR, graphs.SAMPLER, graphs.SAVE_PRIOR, graphs.SAVE_EGO):
        assert graphs.node_id(graph, title)


def test_the_clip_workflow_takes_files():
    graph = graphs.load_graph(graphs.CLIP_WORKFLOW)
    edited = graphs.with_inputs(graph, graphs.METRIC_DEPTH, file="a.npz", images=None)
    inputs = edited[graphs.node_id(edited, graphs.METRIC_DEPTH)]["inputs"]
    assert inputs["file"] == "a.npz"
    assert "images" not in inputs
    assert "images" in graph[graphs.node_id(graph, graphs.METRIC_DEPTH)]["inputs"]  # the given graph is left alone
    prompt = graph[graphs.node_id(graph, graphs.PROMPT)]["inputs"]
    assert set(PROMPT_PARTS) <= set(prompt)


def test_only_encoders_are_replaced_and_only_by_stand_ins():
    graph = graphs.load_graph(graphs.TAKE_WORKFLOW)
    real = graphs.with_models(graph, NAMES, stand_ins=False)
    assert [node["class_type"] for node in real.values()] == [node["class_type"] for node in graph.values()]


@pytest.mark.parametrize("title", ["No such node", ""])
def test_a_title_that_is_gone(title):
    with pytest.raises(KeyError, match="expected one node"):
        graphs.with_inputs(graphs.load_graph(graphs.TAKE_WORKFLOW), title, x=1)


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


REAL_NAMES = (
    "diffusion_models/video/wan2.1_i2v_480p_14B_fp8_scaled.safetensors",
    "loras/egox_lora_rank256.safetensors",
    "vae/wan_2.1_vae.safetensors",
    "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    "clip_vision/clip_vision_h.safetensors",
)


def test_real_models_are_found_by_folder(tmp_path):
    _touch(tmp_path, *REAL_NAMES, "diffusion_models/wan2.1_i2v_720p_14B_bf16.safetensors", "vae/ae.safetensors")
    assert models.find_models(tmp_path) == {
        "unet": "video/wan2.1_i2v_480p_14B_fp8_scaled.safetensors",
        "lora": "egox_lora_rank256.safetensors",
        "vae": "wan_2.1_vae.safetensors",
        "clip": "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        "clip_vision": "clip_vision_h.safetensors",
    }


def test_old_folder_names_count_too(tmp_path):
    _touch(tmp_path, *REAL_NAMES[1:3], REAL_NAMES[4], "unet/wan2.1_i2v_720p.safetensors", "clip/umt5_xxl.safetensors")
    assert models.find_models(tmp_path)["unet"] == "wan2.1_i2v_720p.safetensors"
    models.write_model_paths(tmp_path, tmp_path / "paths.yaml")
    paths = json.loads((tmp_path / "paths.yaml").read_text())["demo"]
    assert paths["base_path"] == str(tmp_path)
    assert paths["diffusion_models"] == "unet"
    assert paths["text_encoders"] == "clip"


def test_missing_models_are_all_named(tmp_path):
    _touch(tmp_path, *REAL_NAMES[:1])
    with pytest.raises(ValueError, match=r"loras/\*egox\*(?s:.*)clip_vision/") as caught:
        models.find_models(tmp_path)
    assert "diffusion_models" not in str(caught.value)
    with pytest.raises(ValueError, match="no models folder"):
        models.find_models(tmp_path / "absent")


def test_scores():
    prior = torch.zeros(2, 4, 4, 3)
    prior[:, :2] = 0.5
    truth = torch.full_like(prior, 0.6)
    truth[:, 0] = 0.0  # hidden from the exo camera
    shared = torch.zeros(2, 4, 4, dtype=torch.bool)
    shared[:, 1:3] = True
    assert score_prior(prior, truth, None)["against_true_view"]["psnr_db"] < 10
    scores = score_prior(prior, truth, prior, shared)
    assert scores["against_true_view"] == {"psnr_db": 20.0, "iou": 0.333}
    assert scores["against_released_prior"]["iou"] == 1.0
    assert score_prior(prior, None, None) == {}
    assert score_prior(torch.zeros_like(prior), truth, None) == {"against_true_view": {"psnr_db": None}}


def test_coverage_summary():
    assert coverage([10.0, 20.0, 60.0]) == {"mean": 30.0, "lowest": 10.0, "per_frame": [10.0, 20.0, 60.0]}


def test_what_both_cameras_see():
    """The exo camera sees what it sees itself; the ego camera shares a good part of it, but not all."""
    take = example_take(2, exo_width=224, exo_height=128, ego_size=96)
    share = float(seen_by_both(take).float().mean())
    assert 0.3 < share < 0.8
    assert not math.isnan(share)


def test_the_pocket_of_exo2egosyn_has_what_the_demo_edits_and_reads():
    graph = graphs.load_graph(graphs.POCKET_SYN_WORKFLOW)
    for title in (graphs.TAKE, graphs.EXO_VIEWS, graphs.SAMPLER, graphs.SAVE_EGO):
        assert graphs.node_id(graph, title)
    job = Job(output=Path("output"), method="exo2egosyn")
    assert (job.workflow, job.n_frames, job.is_pocket) == (graphs.POCKET_SYN_WORKFLOW, 9, True)
    assert "not the authors' model" in job.notice
    chosen = graph[graphs.node_id(graph, "Components")]["inputs"]
    assert [chosen[name] for name in COMPONENTS] == [component_file(name).name for name in COMPONENTS]


@pytest.mark.parametrize("given", [{"take": "x"}, {"models": Path("x")}, {"stand_ins": True}, {"background": "mean"}])
def test_exo2egosyn_takes_the_pocket_model_alone(given):
    with pytest.raises(ValueError, match="leave TAKE, BACKGROUND, MODELS and STAND_INS out"):
        Job(output=Path("output"), method="exo2egosyn", **given)


def test_components_that_are_not_there(tmp_path):
    with pytest.raises(
        ValueError, match=r"4 components .* such as exo2ego_pocket_align.safetensors\. .* `make pocket`"
    ):
        check_components(tmp_path)
    for name in COMPONENTS:
        _touch(tmp_path, component_file(name, tmp_path).relative_to(tmp_path))
    check_components(tmp_path)


def test_scores_of_several_views():
    take = example_views(Clip(n_frames=1, size=32))
    exo = [view.frames for view in take.exo]
    scores = score_views(take.ego, take, exo)
    assert scores["ego_video"]["ssim"] == 1
    eye = take.ego_camera.centers[0]
    nearest = min(take.exo, key=lambda view: float((view.camera.centers[0] - eye).norm()))
    expected = score_clips(nearest.frames, take.ego, protocol="Exo2EgoSyn").means["psnr"]
    assert scores["nearest_exo_video"]["psnr"] == pytest.approx(expected, abs=1e-3)
    assert scores["nearest_exo_video"]["psnr"] != scores["mean_color_of_the_exo_videos"]["psnr"]
    assert score_views(take.ego[:, ::2], take, exo) == {}
