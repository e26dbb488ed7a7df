"""Bad input of Exo2EgoSyn over HTTP: a clear error before the first step."""

from __future__ import annotations

import os
import shutil

import pytest
from safetensors.torch import load_file, save_file

from exo2ego.commands.comfyui.errors import ExecutionFailedError
from exo2ego.networks.components.metadata import Component
from support.egosyn_api import BASE, NONE, SIZE, egosyn_graph, vawan_file
from support.graphs import node_id, with_inputs, with_node
from support.tiny_components import write_tiny_component
from support.tiny_models import FILES


def resized(graph, width, height):
    """Exo video 2 resized."""
    scale = {"upscale_method": "area", "width": width, "height": height, "crop": "disabled"}
    graph = with_node(graph, "910", "ImageScale", "Resize", image=[node_id(graph, "Take"), 1], **scale)
    return with_inputs(graph, "Exo views", exo_2=["910", 0])


def shortened(graph, name, frames):
    """An exo video of fewer frames."""
    cut = {"batch_index": 0, "length": frames}
    graph = with_node(graph, "911", "ImageFromBatch", "Cut", image=[node_id(graph, "Take"), 0], **cut)
    return with_inputs(graph, "Exo views", **{name: ["911", 0]})


# Views and poses ------------------------------------------------------------------------------------------------------


def test_views_of_different_size(refuse):
    text = refuse(resized(egosyn_graph(), 48, SIZE))
    assert "All exo videos must have one size, got exo 1 32 x 32, exo 2 48 x 32" in text


def test_views_of_different_length(refuse):
    text = refuse(shortened(egosyn_graph(), "exo_3", 1))
    assert "lengths must agree; got exo 1 5, exo 2 5, exo 3 1, exo 4 5 frames" in text


def test_frames_that_are_not_4n_plus_1(refuse):
    graph = egosyn_graph()
    for number in (2, 3, 4):
        graph = with_inputs(graph, "Exo views", **{f"exo_{number}": None})
    assert "4n+1 frames, got 4" in refuse(shortened(graph, "exo_1", 4))


def test_five_views(refuse):
    graph = egosyn_graph()
    text = refuse(with_inputs(graph, "Exo views", exo_5=[node_id(graph, "Take"), 0]))
    assert "Multi Exo Tokens has no input 'exo_5'; it has vae, exo_1, exo_2, exo_3, exo_4" in text


def test_a_missing_camera(refuse):
    text = refuse(with_inputs(egosyn_graph(), "First ego frame", exo_3_camera=None))
    assert "got the views exo 1, exo 2, exo 3, exo 4 and the cameras of exo 1, exo 2, exo 4" in text


def test_the_camera_of_another_view(refuse):
    """As many cameras as views, but exo 3's in the place of exo 4's."""
    graph = with_inputs(egosyn_graph(), "Exo views", exo_3=None)
    text = refuse(with_inputs(graph, "First ego frame", exo_4_camera=None))
    assert "got the views exo 1, exo 2, exo 4 and the cameras of exo 1, exo 2, exo 3" in text


def test_a_missing_ego_camera(refuse):
    text = refuse(with_inputs(egosyn_graph(), "First ego frame", ego_camera=None))
    assert "connect the ego camera too" in text


def test_missing_views(refuse):
    text = refuse(with_inputs(egosyn_graph(), "Exo2EgoSyn", views=None))
    assert "MultiExoCon is loaded, and no exo views are connected" in text


def test_a_missing_path(refuse):
    text = refuse(with_inputs(egosyn_graph(), "Exo2EgoSyn", plucker=None))
    assert "PoseInj is loaded, and the ego camera's path is missing" in text


@pytest.mark.parametrize(("poses", "name"), [("ac3d", "AC3D"), ("time and pose", "Time&Pose")])
def test_a_missing_path_for_vawan(refuse, poses, name):
    graph = egosyn_graph("vawan", parts={"vawan": vawan_file(poses)})
    text = refuse(with_inputs(graph, "Exo2EgoSyn", plucker=None))
    assert f"VAWAN with {name} is loaded, and the ego camera's path is missing: connect Pluecker Maps" in text


def test_a_path_relative_to_itself(refuse):
    text = refuse(with_inputs(egosyn_graph(), "Ego camera's path", exo_camera=None))
    assert "connect exo camera 1 to Pluecker Maps" in text


def test_rays_of_another_kind_reach_the_log(comfy_server, comfy_client):
    graph = with_inputs(egosyn_graph(seed=21), "Take", ego_view="as recorded, fisheye rays")
    comfy_client.run(graph)
    assert "Exo2EgoSynApply: tiny_poseinj.safetensors was trained on rays of the kind pinhole" in (
        comfy_server.log.read_text()
    )


def test_a_path_with_too_few_poses(refuse):
    text = refuse(with_inputs(egosyn_graph(), "Ego camera's path", frames=1))
    assert "a pose of the ego camera for each of the 5 sampled frames, and the Pluecker maps have 1" in text


def test_a_path_of_another_size(refuse):
    text = refuse(with_inputs(egosyn_graph(), "Ego camera's path", width=64))
    assert "maps are 64 x 32 pixels, and the sampled video is 32 x 32" in text


def test_no_first_frame(refuse):
    text = refuse(egosyn_graph(parts={"align": "none"}))
    assert "choose an align file in Exo2EgoSyn Loader, or connect a real first frame" in text


def test_no_text_without_multiexocon(refuse):
    graph = with_inputs(egosyn_graph(parts={"multiexocon": "none"}), "Conditioning", positive=None, negative=None)
    assert "Without MultiExoCon the model reads text" in refuse(graph)


def test_no_text_is_fine_with_multiexocon(comfy_client):
    comfy_client.run(with_inputs(egosyn_graph(), "Conditioning", positive=None, negative=None))


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(comfy_server):
    return comfy_server.base / "models" / "exo2egosyn"


def test_a_half_written_file(refuse, folder):
    whole = (folder / "tiny_poseinj.safetensors").read_bytes()
    (folder / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    text = refuse(egosyn_graph(parts={"poseinj": "half.safetensors"}))
    assert "half.safetensors is truncated, corrupt" in text


def test_a_file_that_is_not_there(refuse):
    text = refuse(egosyn_graph(parts={"lora": "nowhere.safetensors"}))
    assert "no file nowhere.safetensors in models/exo2egosyn and models/loras" in text


def test_a_file_outside_the_folder(refuse, comfy_server, folder):
    shutil.copy(folder / "tiny_align.safetensors", comfy_server.base / "models" / "outside.safetensors")
    text = refuse(egosyn_graph(parts={"align": "../outside.safetensors"}))
    assert "There is no file ../outside.safetensors" in text


def test_the_file_of_another_part(refuse):
    text = refuse(egosyn_graph(parts={"align": "tiny_poseinj.safetensors"}))
    assert "tiny_poseinj.safetensors: it holds the component poseinj, and align belongs here" in text


def test_a_file_that_is_no_component(refuse, comfy_server):
    loras = comfy_server.base / "models" / "loras"
    assert (loras / "tiny_egox_lora.safetensors").is_file()
    text = refuse(egosyn_graph(parts={"lora": "tiny_egox_lora.safetensors"}))
    assert "tiny_egox_lora.safetensors: not a component of Exo2EgoSyn" in text


def test_a_component_of_another_base(refuse, folder):
    from safetensors import safe_open

    path = folder / "tiny_lora.safetensors"
    with safe_open(str(path), framework="pt") as file:
        header = file.metadata()
    save_file(load_file(path), folder / "other_base.safetensors", {**header, "base_model": "Wan2.1-I2V-14B"})
    text = refuse(egosyn_graph(parts={"lora": "other_base.safetensors"}))
    assert "trained on Wan2.1-I2V-14B" in text


def test_a_component_of_another_size(refuse, folder):
    write_tiny_component(folder, Component.LORA, "wide.safetensors", dim=384)
    text = refuse(egosyn_graph(parts={"lora": "wide.safetensors"}))
    assert "wide.safetensors is for a model of width 384, and this one has width 256" in text


def test_vawan_beside_multiexocon(refuse):
    text = refuse(egosyn_graph(parts={"vawan": "tiny_vawan.safetensors"}))
    assert "choose either vawan or multiexocon and lora" in text


# Models ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [FILES["unet"][1], "tiny_wan_t2v.safetensors", "tiny_wan_fun_control.safetensors"])
def test_wrong_base_models(refuse, name):
    text = refuse(with_inputs(egosyn_graph(), "Base model", unet_name=name))
    assert "Exo2EgoSyn needs Wan 2.2 I2V A14B, its low-noise expert" in text


@pytest.mark.parametrize("name", ["tiny_wan2.2_i2v_high_noise.safetensors"])
def test_the_high_noise_expert(refuse, comfy_server, name):
    """MODEL itself does not know its file in this ComfyUI: the loader upstream does."""
    models = comfy_server.base / "models" / "diffusion_models"
    shutil.copy(models / BASE, models / name)
    graph = with_inputs(egosyn_graph(), "Base model", unet_name=name)
    assert f"{name} is the high-noise expert of Wan 2.2, by its name" in refuse(graph)
    shifted = with_node(graph, "912", "ModelSamplingSD3", "Before", model=[node_id(graph, "Base model"), 0], shift=5.0)
    assert "high-noise expert" in refuse(with_inputs(shifted, "Exo2EgoSyn", model=["912", 0]))


def test_the_low_noise_expert_passes(comfy_server, comfy_client):
    models = comfy_server.base / "models" / "diffusion_models"
    shutil.copy(models / BASE, models / "tiny_wan2.2_i2v_low_noise.safetensors")
    graph = with_inputs(egosyn_graph(), "Base model", unet_name="tiny_wan2.2_i2v_low_noise.safetensors")
    comfy_client.run(graph)


def test_the_choices_hide_later_shards(comfy_client, folder):
    from exo2ego.networks.components.files import write_component
    from support.tiny_components import tiny_component

    part = tiny_component(Component.MULTIEXOCON)
    write_component(folder / "sharded.safetensors", part.metadata, part.state_dict, max_shard_bytes=10**6)
    info = comfy_client.get("/object_info/Exo2EgoSynLoader")["Exo2EgoSynLoader"]
    options = info["input"]["required"]["multiexocon"][1]["options"]
    shards = [name for name in options if name.startswith("sharded")]
    assert len(shards) == 1
    assert shards[0].startswith("sharded-00001-of-")
    assert options[0] == "none"
    graph = egosyn_graph(parts={**NONE, "multiexocon": shards[0]})
    graph = with_inputs(graph, "First ego frame", first_frame=[node_id(graph, "Take"), 9])
    comfy_client.run(graph)
    assert "Components" not in comfy_client.run(graph).seconds
    later = folder / shards[0].replace("-00001-of-", "-00002-of-")
    os.utime(later, ns=(1, 1))  # as another download would
    assert "Components" in comfy_client.run(graph).seconds
    later.unlink()
    with pytest.raises(ExecutionFailedError, match=f"1 of [0-9]+ shards missing .*{later.name}"):
        comfy_client.run(graph)
