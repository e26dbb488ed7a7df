"""Bad input over HTTP: a clear error before the first step, nothing left running or half-written."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from support.graphs import SMALL_TAKE, egox_graph, node_id, only_outputs, prior_graph, with_inputs, with_node
from support.tiny_models import WRONG_BASES


@pytest.fixture
def take_copy(comfy_server, small_take):
    """A copy of the small take that a test may spoil."""
    folder = comfy_server.base / "input" / "spoilt"
    shutil.copytree(small_take, folder)
    yield folder
    shutil.rmtree(folder)


def edit_meta(folder: Path, change) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    change(meta)
    (folder / "meta.json").write_text(json.dumps(meta))


def depth_array(folder: Path) -> np.ndarray:
    return np.load(folder / "depth_f16.npz")["depth"].astype(np.float32)


# Frames and sizes ---------------------------------------------------------------------------------------------------


def test_frames_that_are_not_4n_plus_1(refuse, small_take):
    text = refuse(with_inputs(egox_graph(), "Take", max_frames=4))
    assert "4n+1 frames, got 4" in text
    assert "1 frames" in text


@pytest.mark.parametrize(("width", "height", "what"), [(120, 64, "exo width of 120"), (128, 56, "height")])
def test_sizes_that_are_no_multiples_of_16(refuse, small_take, width, height, what):
    graph = egox_graph()
    take = node_id(graph, "Take")
    graph = with_node(
        graph, "910", "ImageScale", "Resize", image=[take, 0], upscale_method="bilinear", width=width, height=height,
        crop="disabled",
    )  # fmt: skip
    text = refuse(with_inputs(graph, "EgoX conditioning", exo=["910", 0]))
    assert what in text


def test_an_exo_latent_of_odd_width(refuse, small_take):
    graph = egox_graph()
    scale = {"upscale_method": "bilinear", "width": 120, "height": 64, "crop": "disabled"}
    graph = with_node(graph, "910", "ImageScale", "Resize", image=[node_id(graph, "Take"), 0], **scale)
    graph = with_node(graph, "911", "VAEEncode", "Encode", pixels=["910", 0], vae=[node_id(graph, "VAE"), 0])
    text = refuse(with_inputs(graph, "EgoX Apply", exo_latent=["911", 0]))
    assert "odd" in text


def test_exo_and_depth_of_different_length(refuse, comfy_server, small_take):
    path = comfy_server.base / "input" / "short_depth.npy"
    np.save(path, depth_array(small_take)[:3])
    text = refuse(with_depth_file(prior_graph(), path.name))
    assert "3" in text
    assert "5" in text


# Depth --------------------------------------------------------------------------------------------------------------


def with_depth_file(graph, name: str):
    inputs = {"meaning": "metric depth", "file": name, "near": 0.0, "far": 0.0}
    graph = with_node(graph, "920", "Exo2EgoDepth", "Depth", **inputs)
    return with_inputs(graph, "Point cloud", depth=["920", 0])


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0, np.inf])
def test_depth_without_a_single_valid_pixel(refuse, comfy_server, small_take, value):
    path = comfy_server.base / "input" / "no_depth.npy"
    np.save(path, np.full_like(depth_array(small_take), value))
    text = refuse(with_depth_file(prior_graph(), path.name))
    assert "No depth of the 5 frames is a positive number" in text


def test_a_pickled_depth_file_is_never_opened(refuse, comfy_server, small_take, tmp_path):
    trap = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (trap,))

    path = comfy_server.base / "input" / "pickled.npy"
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    assert "pickle" in refuse(with_depth_file(prior_graph(), path.name))
    path.write_bytes(pickle.dumps(Trap()))
    assert "pickle" in refuse(with_depth_file(prior_graph(), path.name))
    assert not trap.exists()


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/passwd", "sub/../../outside.npy"])
def test_paths_that_leave_the_input_folder(refuse, comfy_server, small_take, name):
    (comfy_server.base / "outside.npy").write_bytes(b"")
    text = refuse(with_depth_file(prior_graph(), name))
    assert "outside its folder" in text or "leads out" in text
    text = refuse(with_inputs(prior_graph(), "Take", take=name))
    assert "outside its folder" in text or "leads out" in text


# Cameras and takes --------------------------------------------------------------------------------------------------


def spoilt_graph():
    return with_inputs(prior_graph(), "Take", take="spoilt")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda meta: meta["ego_extrinsics"].__setitem__(2, [[0.0] * 4] * 3), "singular"),
        (
            lambda meta: meta["ego_extrinsics"][1].__setitem__(0, [-x for x in meta["ego_extrinsics"][1][0]]),
            "reflected",
        ),
        (lambda meta: meta.pop("camera_intrinsics"), "camera_intrinsics"),
        (lambda meta: meta.pop("ego_extrinsics"), "meta.json"),
    ],
)
def test_spoilt_meta_files(refuse, take_copy, spoil, message):
    edit_meta(take_copy, spoil)
    assert message in refuse(spoilt_graph())


def test_a_corrupt_video(refuse, take_copy):
    video = take_copy / "exo.mp4"
    video.write_bytes(video.read_bytes()[:200])
    assert "exo.mp4" in refuse(spoilt_graph())


def test_a_camera_that_sees_nothing_is_a_warning(comfy_server, comfy_client, small_take):
    numbers = {"lens": "pinhole", "width": 64, "height": 64, "fov": 60.0, "x": 0.0, "y": -500.0, "z": 0.0}
    turns = {"yaw": 0.0, "pitch": 90.0, "roll": 0.0}
    graph = with_node(prior_graph(), "930", "Exo2EgoCamera", "Lost", **numbers, **turns)
    graph = with_inputs(graph, "Ego prior", camera=["930", 0])
    run = comfy_client.run(graph)
    assert run.outputs[node_id(graph, "Ego prior")]["coverage_percent"] == [0.0] * 5
    assert "The ego camera sees no" in comfy_server.log.read_text()


# Models -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRONG_BASES)
def test_wrong_base_models(refuse, small_take, kind):
    text = refuse(with_inputs(egox_graph(), "Base model", unet_name=f"tiny_wan_{kind}.safetensors"))
    assert "EgoX needs Wan 2.1 I2V" in text


def test_a_lora_of_another_model(refuse, comfy_server, small_take):
    import torch

    path = comfy_server.base / "models" / "loras" / "foreign.safetensors"
    save_file({"lora_unet_down_blocks_0.lora_down.weight": torch.zeros(4, 4)}, path)
    text = refuse(with_inputs(egox_graph(), "EgoX LoRA", lora_name=path.name))
    assert "foreign.safetensors" in text


def test_a_torn_lora(refuse, comfy_server, small_take):
    loras = comfy_server.base / "models" / "loras"
    whole = (loras / "tiny_egox_lora.safetensors").read_bytes()
    (loras / "torn.safetensors").write_bytes(whole[: len(whole) // 2])
    text = refuse(with_inputs(egox_graph(), "EgoX LoRA", lora_name="torn.safetensors"))
    assert "torn.safetensors" in text


def test_gga_without_egox(refuse, small_take):
    graph = egox_graph()
    graph = with_inputs(graph, "Geometry-guided attention", model=[node_id(graph, "Shift"), 0])
    assert "EgoX" in refuse(only_outputs(graph, "Save ego video"))


def test_the_take_is_still_good(comfy_client, small_take):
    """The graphs above fail for what was spoilt, not for the small take itself."""
    assert small_take.name == SMALL_TAKE
    comfy_client.run(egox_graph())
