"""Exo2EgoSyn by the command: every stage from its recipe to files that the nodes load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exo2ego.commands.main import main
from exo2ego.networks.components.metadata import Component
from exo2ego.networks.components.set import read_components
from support.syn_training import BASE, write_views_cache
from support.tiny_components import write_tiny_component
from support.tiny_wan import wan_state_dict

COMMON = """
[run]
method = "exo2egosyn {}"
out = "{}"
steps = 2
batch = 2
precision = "fp32"
[data]
held_out = ["clip_0"]
frames = 5
exo_size = [48, 32]
ego_size = [48, 32]
[samples]
steps = 2
cfg = 3.5
[release]
license = "CC0"
"""
ON_WAN = f"""
[model]
base = "{BASE}"
[lora]
rank = 4
alpha = 8.0
targets = ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o"]
"""
RECIPES = {
    "stage 0": '[exo2egosyn]\nviews = 2\ncategory = "bike"\n'
    + "[align]\ndim = 16\nheads = 2\ndim_head = 8\nnum_blocks = 1\n",
    "stage 1": ON_WAN + '[exo2egosyn]\nviews = 2\nalign = "tiny_align.safetensors"\n',
    "stage 2": ON_WAN
    + 'start = "tiny_lora.safetensors"\n[exo2egosyn]\nviews = 2\nalign = "tiny_align.safetensors"\npose_dim = 8\n'
    + 'multiexocon = "tiny_multiexocon.safetensors"\n',
    "vawan": ON_WAN + '[exo2egosyn]\nviews = 2\nfirst_frame = "true"\n[vawan]\npose = "ac3d"\npose_width = 128\n',
}
FILES = {
    "stage 0": {Component.ALIGN: "mine.safetensors"},
    "stage 1": {Component.MULTIEXOCON: "mine_multiexocon.safetensors", Component.LORA: "mine_lora.safetensors"},
    "stage 2": {Component.POSEINJ: "mine_poseinj.safetensors", Component.LORA: "mine_lora.safetensors"},
    "vawan": {Component.VAWAN: "mine.safetensors"},
}
CHECKED = {
    "stage 0": ("trained: EgoExo-Align, 1",),
    "stage 1": ("trained: cross-attention, exo patch embedding and LoRA of rank 4", "low-noise expert", "10% of the"),
    "stage 2": ("trained: PoseInj and LoRA of rank 4", "noise levels 0 to 1"),
    "vawan": ("trained: patch embedding, poses by ac3d and LoRA of rank 4", "first frame: true, then gray"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("syn")
    save_file(wan_state_dict("i2v_2.2"), folder / BASE)
    for component in (Component.ALIGN, Component.MULTIEXOCON, Component.LORA):
        write_tiny_component(folder, component)
    write_views_cache(folder / "cache")
    return folder


def run(*words):
    return main(["training", *map(str, words)])


@pytest.mark.parametrize("name", RECIPES)
def test_from_recipe_to_components(folder, capfd, name):
    recipe, out = folder / f"{name}.toml", folder / name
    recipe.write_text(COMMON.format(name, name) + RECIPES[name])
    assert run("check", recipe) == 0
    told = capfd.readouterr().out
    assert [words for words in (*CHECKED[name], "2 to train on, 1 held out", "2 views") if words not in told] == []
    assert run("train", recipe, "--cpu") == 0
    assert "done: 2 steps" in capfd.readouterr().out
    assert run("sample", recipe, "--cpu") == 0
    sample = load_file(capfd.readouterr().out.strip())
    assert sample["ego"].shape == sample["truth"].shape
    assert sample["ego"].isfinite().all()
    assert run("export", recipe, "--out", out / "mine.safetensors") == 0
    assert "after step 2" in capfd.readouterr().out
    read = read_components({component: out / file for component, file in FILES[name].items()})
    for part in read.parts.values():
        metadata = part.metadata
        assert (metadata.step, metadata.num_views, metadata.license) == (2, 2, "CC0")
        assert (metadata.num_frames, metadata.image_size, metadata.frame_stride) == (5, (48, 32), 4)
        assert metadata.stage == (None if name == "vawan" else int(name[-1]))
        assert metadata.category == ("bike" if name == "stage 0" else "")
        guided = part.component in (Component.MULTIEXOCON, Component.VAWAN)
        assert not guided or (metadata.cond_dropout, metadata.guidance, metadata.cond_tail) == (0.1, 3.5, "gray")
        assert any(tensor.any() for key, tensor in part.state_dict.items() if "lora_B" in key or "lora" not in key)
    assert run("export", recipe, "--out", out / "mine.safetensors") == 1
    assert "--force overwrites it" in capfd.readouterr().err
    assert run("export", recipe, "--out", out / "mine.safetensors", "--force") == 0


def test_a_folder_of_another_stage_is_refused(folder, capfd):
    recipe = folder / "first.toml"
    recipe.write_text(COMMON.format("stage 0", "shared") + RECIPES["stage 0"])
    assert run("train", recipe, "--cpu") == 0
    recipe.write_text(COMMON.format("vawan", "shared") + RECIPES["vawan"])
    assert run("train", recipe, "--cpu") == 1
    told = capfd.readouterr().err
    assert "was trained with [" in told
    assert "choose another folder" in told


def test_weights_that_are_not_finite_are_not_exported(folder, capfd):
    recipe = folder / "broken.toml"
    recipe.write_text(COMMON.format("stage 0", "broken") + RECIPES["stage 0"])
    assert run("train", recipe, "--cpu") == 0
    (checkpoint,) = (folder / "broken" / "checkpoints").iterdir()
    from safetensors import safe_open

    with safe_open(str(checkpoint), framework="pt") as file:
        strings = file.metadata()
    tensors = load_file(checkpoint)
    tensors["trained.align.head.bias"][0] = torch.nan
    save_file(tensors, checkpoint, strings)
    assert run("export", recipe, "--out", Path(folder) / "broken.safetensors") == 1
    assert "head.bias holds values that are not finite: take an earlier checkpoint" in capfd.readouterr().err
    assert not (folder / "broken.safetensors").exists()
