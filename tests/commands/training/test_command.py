"""The command, in this process and in one of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exo2ego.commands.main import main
from exo2ego.training.data.cache import write_negative, write_shard
from exo2ego.training.toml_file import read_recipe
from exo2ego.wan.egox.lora import read_lora
from support.egox_witness import made_up_clip
from support.tiny_wan import wan_state_dict
from support.training import SIZES, training_clip

ROOT = Path(__file__).resolve().parents[3]
RECIPE = """
[run]
steps = 2
batch = 2
precision = "fp32"
[model]
base = "wan.safetensors"
[lora]
rank = 4
alpha = 4.0
[data]
held_out = ["clip_0"]
frames = 5
exo_size = [32, 32]
ego_size = [32, 32]
[samples]
steps = 2
[release]
license = "CC0"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    save_file(wan_state_dict(), folder / "wan.safetensors")
    for number in range(3):
        clip = training_clip(made_up_clip(seed=number, **SIZES))
        write_shard(folder / "cache", {f"clip_{number}": (clip, {"geometry": "as released", "frames": "5"})})
    write_negative(folder / "cache", torch.zeros(512, 4096))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def run(*words):
    return main(["training", *map(str, words)])


def test_from_recipe_to_lora(folder, capfd):
    recipe = folder / "recipe.toml"
    assert run("check", recipe) == 0
    told = capfd.readouterr().out
    assert "LoRA of rank 4, 32,768 parameters" in told
    assert "2 to train on, 1 held out" in told
    assert "GGA: release, lambda 3, directions as released" in told
    assert run("export", recipe, "--out", folder / "lora.safetensors") == 1
    assert "run `training train` first" in capfd.readouterr().err
    assert run("train", recipe, "--cpu") == 0
    told = capfd.readouterr().out
    assert told.startswith("memory: weights ")
    assert "done: 2 steps" in told
    assert run("sample", recipe, "--cpu") == 0
    sample = load_file(capfd.readouterr().out.strip())
    assert sample["ego"].shape == sample["truth"].shape
    assert run("export", recipe, "--out", folder / "lora.safetensors") == 0
    assert "a LoRA of rank 4 on 16 layers, after step 2" in capfd.readouterr().out
    lora = read_lora(folder / "lora.safetensors")
    assert (lora.header.base_model, lora.header.license, lora.header.exo_size) == ("wan", "CC0", "32x32")
    assert any(update.up.any() for update in lora.layers.values())
    assert run("export", recipe, "--out", folder / "lora.safetensors") == 1
    assert "--force overwrites it" in capfd.readouterr().err
    assert run("export", recipe, "--out", folder / "for_diffusers.safetensors", "--format", "diffusers") == 0
    assert "on 16 layers in diffusers' names, after step 2" in capfd.readouterr().out
    named = load_file(folder / "for_diffusers.safetensors")
    assert "transformer.blocks.0.attn1.to_out.0.lora_A.weight" in named
    other = read_lora(folder / "for_diffusers.safetensors")
    assert all(torch.equal(update.up, other.layers[layer].up) for layer, update in lora.layers.items())


def test_a_whole_model_loads_in_comfyui(folder, capfd):
    import comfy.sd

    from exo2ego.training.session import build_network

    recipe = folder / "whole.toml"
    text = RECIPE.replace('base = "wan.safetensors"', 'base = "wan.safetensors"\ntrained = "all"')
    recipe.write_text(text.replace("steps = 2\nbatch", 'steps = 1\nout = "whole"\nbatch'))
    assert run("train", recipe, "--cpu") == 0
    assert run("export", recipe, "--out", folder / "model.safetensors") == 0
    model = comfy.sd.load_diffusion_model(str(folder / "model.safetensors"))
    weights = model.model.diffusion_model.state_dict()
    assert run("export", recipe, "--out", folder / "other.safetensors", "--format", "diffusers") == 1
    assert "has no form for diffusers: leave --format out" in capfd.readouterr().err
    assert weights.keys() == wan_state_dict().keys()
    before = dict(build_network(read_recipe(recipe)).named_parameters())
    moved = weights["blocks.0.self_attn.q.weight"].float() - before["transformer.blocks.0.attn1.to_q.weight"]
    assert 0 < moved.abs().max() < 1e-2


def test_mistakes_are_one_line(folder, capfd):
    recipe = folder / "wrong.toml"
    recipe.write_text(RECIPE.replace("rank", "rnak"))
    assert run("check", recipe) == 1
    told = capfd.readouterr().err
    assert told.startswith("error: ")
    assert "did you mean rank?" in told
    recipe.write_text(RECIPE + '[egox]\ngeometry = "physical"\n')
    assert run("train", recipe, "--cpu") == 1
    assert "is stale (geometry was as released, is physical)" in capfd.readouterr().err
    recipe.write_text(RECIPE)
    assert run("cache", recipe) == 1
    assert "[data] takes names no take" in capfd.readouterr().err
    save_file({"a": torch.zeros(1)}, folder / "other.safetensors")
    recipe.write_text(RECIPE.replace("wan.safetensors", "other.safetensors"))
    assert run("check", recipe) == 1
    assert "other.safetensors is not a Wan transformer" in capfd.readouterr().err


def test_takes_are_screened(folder, capfd):
    recipe = folder / "screened.toml"
    recipe.write_text(RECIPE)
    assert run("screen", recipe) == 1
    assert "[data] takes names no take to look at" in capfd.readouterr().err
    (folder / "takes" / "bare").mkdir(parents=True)
    recipe.write_text(RECIPE.replace("[data]", '[data]\ntakes = ["takes/bare"]\nscreened = "list.json"'))
    assert run("screen", recipe) == 0
    told = capfd.readouterr().out
    assert "1/1 bare: There is no file" in told
    assert f"0 of 1 takes are kept, 1 rejected: {folder / 'index.html'}" in told
    assert run("cache", recipe) == 1
    assert "list.json rejects all 1 takes: look at its report" in capfd.readouterr().err
    assert run("screen", recipe, "--out", folder / "there") == 0
    assert (folder / "there" / "list.json").is_file()


@pytest.mark.parametrize("missing", ["text_embedding.0.weight", "blocks.1.self_attn.q.weight", "blocks.0.ffn.0.weight"])
def test_a_base_that_is_not_whole_or_of_another_kind(folder, capfd, missing):
    """Told by `check` before anything runs, and by `train` before anything is written."""
    recipe = folder / "lacking.toml"
    recipe.write_text(
        RECIPE.replace("wan.safetensors", "lacking.safetensors").replace("steps", 'out = "lacking"\nsteps', 1)
    )
    weights = wan_state_dict(dim=128, ffn=32)
    save_file({name: value for name, value in weights.items() if name != missing}, folder / "lacking.safetensors")
    for words in (("check", recipe), ("train", recipe, "--cpu")):
        assert run(*words) == 1
        told = capfd.readouterr().err
        assert "lacking.safetensors is not whole" in told
        assert missing in told
    save_file(wan_state_dict("i2v_2.2", dim=128, ffn=32), folder / "lacking.safetensors")
    for words in (("check", recipe), ("train", recipe, "--cpu")):
        assert run(*words) == 1
        assert "lacking.safetensors is Wan 2.2" in capfd.readouterr().err
    assert not (folder / "lacking").exists()


def test_sigterm_ends_the_run_with_a_checkpoint(folder):
    recipe = folder / "long.toml"
    text = RECIPE.replace("steps = 2\nbatch", 'steps = 100000\nout = "long"\nbatch')
    recipe.write_text(text + "[checkpoints]\nlog_every = 1\n")
    command = [sys.executable, str(ROOT), "training", "train", str(recipe), "--cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("step 1/"):
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 0, lines
    assert "as asked; the same command goes on from there" in lines[-1]
    assert len(list((folder / "long" / "checkpoints").glob("step-*.safetensors"))) == 1


def test_without_its_libraries_the_extra_is_named(folder, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert run("check", folder / "recipe.toml") == 2
    told = capfd.readouterr().err
    assert "training needs peft" in told
    assert "pip install 'comfyui-exo2ego[train]'" in told
