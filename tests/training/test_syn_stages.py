"""Exo2EgoSyn's stages: what trains, what stays, what is left out at times, and how a run goes on."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from exo2ego.networks.components.metadata import Component
from exo2ego.training.data.cache import write_shard
from exo2ego.training.data.clips import ViewsBatch
from exo2ego.training.methods import method_of
from exo2ego.training.network.transformer import WanSize
from exo2ego.training.noise import Draws, LevelSettings, draw
from exo2ego.training.session import open_trainer
from exo2ego.training.state import checkpoint_files, read_checkpoint
from exo2ego.training.toml_file import recipe_of
from support.syn_training import (
    BASE,
    ON_WAN,
    RECIPES,
    denoising_wan,
    made_up_weights,
    parts_of,
    syn_recipe,
    views_clip,
    write_views_cache,
)
from support.tiny_components import write_tiny_component
from support.tiny_wan import wan_state_dict
from support.training import small_clip

LORA = r"transformer\.blocks\.\d+\.attn1\.(to_[qkv]|to_out\.0)\.lora_[AB]\.default\.weight"
CROSS = r"transformer\.blocks\.\d+\.attn2\.((to_[qkv]|to_out\.0)\.(weight|bias)|norm_[qk]\.weight)"
ENCODER = r"(stem|down1|down2|out)\.(weight|bias)"
LIGHT = rf"vawan_pose\.({ENCODER}|blocks\.\d+\.(down|q|k|v|o|ff_in|ff_out|up)\.(weight|bias))"
PATCHES = r"transformer\.patch_embedding\.(weight|bias)|channels\.embed\.weight"
# What the specification lets train, and how many tensors that is on two blocks.
TRAINS = {
    "stage 0": (r"align\..*", 33),
    "stage 0, maps too": (r"align\..*", 33),
    "stage 1": (rf"{LORA}|{CROSS}|tokenizer\.exo_patch_embed\.(weight|bias)", 16 + 20 + 2),
    "stage 1, positions": (rf"{LORA}|{CROSS}|tokenizer\..*", 16 + 20 + 4),
    "stage 2": (rf"{LORA}|pose\.({ENCODER}|fuse\.delta_x\.weight|fuse\.pose\.(weight|bias))", 16 + 8 + 3),
    "stage 2, additive": (rf"{LORA}|pose\.({ENCODER}|fuse\.pose\.(weight|bias))", 16 + 8 + 2),
    "vawan": (rf"{LORA}|{PATCHES}", 16 + 3),
    "vawan, ac3d": (rf"{LORA}|{PATCHES}|{LIGHT}", 16 + 3 + 8 + 2 * 16),
    "vawan, ac3d wider": (rf"{LORA}|{PATCHES}|{LIGHT}", 16 + 3 + 8 + 2 * 16),
    "vawan, ac3d shared": (rf"{LORA}|{PATCHES}|{LIGHT}", 16 + 3 + 8 + 16),
    "vawan, time and pose": (rf"{LORA}|{PATCHES}|vawan_pose\.proj_(in|out)\.(weight|bias)", 16 + 3 + 4),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with what the stages go on from, and a cache."""
    folder = tmp_path_factory.mktemp("syn")
    write_views_cache(folder / "cache")
    return folder


def opened(recipe):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # a process has one precision else
    return open_trainer(recipe, recipe.data.cache.parent, on_cpu=True)


def losses_of(method, network, chances=(0.5, 0.9)):
    clips = method.batch([views_clip(1), views_clip(2)], "cpu")
    noise = torch.randn(clips.ego.shape, generator=torch.Generator().manual_seed(1))
    return method.losses(network, clips, Draws(noise, torch.tensor([0.3, 0.8]), torch.tensor(chances)))


def gradients(network):
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("name", RECIPES)
def test_gradients_reach_what_trains_and_nothing_else(files, name):
    method = method_of(syn_recipe(files, name))
    network = method.network()
    made_up_weights(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    losses_of(method, network).mean().backward()
    met = gradients(network)
    pattern, count = TRAINS[name]
    assert [key for key in met if not re.fullmatch(pattern, key)] == []
    assert len(met) == count
    assert [key for key, gradient in met.items() if not gradient.abs().max() > 0] == []
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["stage 0", "stage 1", "stage 2", "vawan, ac3d", "vawan, time and pose"])
def test_what_is_frozen_is_bit_equal_after_training(files, tmp_path, name):
    recipe = syn_recipe(files, name, run={"out": str(tmp_path / "run")})
    before = {key: value.clone() for key, value in method_of(recipe).network().state_dict().items()}
    trainer = opened(recipe)
    assert trainer.run() == "done: 3 steps"
    moved = {key for key, value in trainer._bare.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == set(trainer.parameters)
    assert len(moved) == TRAINS[name][1]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("stage 0", {"align": {"dim": 512, "heads": 8, "dim_head": 64, "num_blocks": 8}}, 50_671_880),
        ("stage 1", {}, 4_405_580_800),
        ("stage 2", {}, 241_179_648),
        ("vawan, ac3d", {"vawan": {"pose_width": 512}}, 211_768_320 + 338_577_408),
    ],
)
def test_parameters_at_full_size(files, name, settings, expected):
    """Those of the specification, on the meta device."""
    full = {"exo2egosyn": {"views": 4, "pose_dim": 512}, "lora": {"rank": 128, "alpha": 128.0}}
    network = method_of(syn_recipe(files, name, **{**full, **settings})).empty_network(WanSize(image=0))
    assert sum(value.numel() for value in network.parameters() if value.requires_grad) == expected
    if name != "stage 0":
        base = sum(v.numel() for k, v in network.transformer.named_parameters() if "lora_" not in k)
        assert base == 14_288_901_184


def test_full_size_by_default(files):
    recipe = recipe_of({"run": {"method": "exo2egosyn stage 0"}}, files / "recipe.toml")
    network = method_of(recipe).empty_network(None)
    assert sum(value.numel() for value in network.parameters()) == 50_671_880


@torch.no_grad()
def test_stage_2_begins_where_stage_1_ended(files):
    """PoseInj is zero, the LoRA goes on."""
    tables = {"exo2egosyn": {"multiexocon": str(files / "tiny_multiexocon.safetensors")}}
    second = method_of(syn_recipe(files, "stage 2"))
    first = method_of(syn_recipe(files, "stage 1", **tables, lora={"start": str(files / "tiny_lora.safetensors")}))
    assert torch.equal(losses_of(second, second.network()), losses_of(first, first.network()))
    bare = method_of(syn_recipe(files, "stage 1", **tables))
    assert not torch.equal(losses_of(bare, bare.network()), losses_of(first, first.network()))


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in ON_WAN if name.startswith("vawan")])
def test_vawan_begins_as_wan(files, name):
    """Exo views and poses count for nothing yet."""
    method = method_of(syn_recipe(files, name, exo2egosyn={"first_frame": "true"}))
    network = method.network()
    other = replace(views_clip(1), **{part: views_clip(3).tensors()[part] for part in ("exo", "plucker", "poses")})
    noisy, level = torch.randn(1, 16, 2, 4, 6), torch.tensor([0.5])
    one, two = (network(ViewsBatch.of([clip]), noisy, level) for clip in (views_clip(1), other))
    assert torch.equal(one, two)


@torch.no_grad()
@pytest.mark.parametrize("name", ["stage 1", "vawan"])
def test_exo_views_are_left_out_by_chance(files, name):
    method = method_of(syn_recipe(files, name, exo2egosyn={"first_frame": "true", "exo_dropout": 0.25}))
    network = method.network()
    made_up_weights(network)
    seen, half = losses_of(method, network), losses_of(method, network, chances=(0.25, 0.24))
    assert torch.equal(half[0], seen[0])
    assert abs(half[1] - seen[1]) > 1e-4
    drawn = torch.cat([draw((1,), LevelSettings(), 0, step, range(4)).chances for step in range(500)])
    assert (drawn < 0.25).float().mean() == pytest.approx(0.25, abs=0.03)


def test_checkpointing_leaves_gradients_as_they_are(files):
    found = []
    for saving in (False, True):
        method = method_of(syn_recipe(files, "vawan, ac3d", run={"gradient_checkpointing": saving}))
        network = method.network()
        made_up_weights(network)
        losses_of(method, network.train()).mean().backward()
        found.append(gradients(network))
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["stage 1", "stage 2", "vawan, time and pose"])
def test_in_bfloat16_what_trains_is_float32(files, tmp_path, name):
    """Where the base model is in bfloat16, small updates would be lost in it."""
    recipe = syn_recipe(files, name, run={"out": str(tmp_path), "precision": "bf16", "steps": 1})
    trainer = opened(recipe)
    assert {value.dtype for value in trainer.parameters.values()} == {torch.float32}
    assert trainer._bare.transformer.blocks[0].ffn.net[2].weight.dtype == torch.bfloat16
    assert trainer.run() == "done: 1 steps"


def test_rates_of_stage_1_and_a_run_that_goes_on(files, tmp_path):
    """The cross-attention has a rate of its own, and goes on to the weights of an undisturbed run, bit by bit."""
    ends = []
    for out in ("whole", "disturbed"):
        optimizer = {"schedule": "cosine", "lr_end": 1e-5}
        recipe = syn_recipe(files, "stage 1", run={"out": str(tmp_path / out)}, optimizer=optimizer)
        trainer = opened(recipe)
        rates = {group["peak"]: group["params"] for group in trainer.optimizer.param_groups}
        assert list(rates) == [2e-5, 1e-3]
        assert [len(some) for some in rates.values()] == [20, 18]
        if out == "disturbed":
            with pytest.raises(KeyboardInterrupt):
                trainer.run(_interrupt)
            trainer = opened(recipe)
            assert trainer.step == 2
        trainer.run()
        ends.append(read_checkpoint(checkpoint_files(trainer.folder)[-1]).tensors)
    for kind, tensors in ends[0].items():
        assert all(torch.equal(value, ends[1][kind][name]) for name, value in tensors.items())


def _interrupt(report):
    if report.step == 3:
        raise KeyboardInterrupt


@pytest.mark.parametrize(("name", "lr"), [("stage 0", 2e-2), ("stage 1", 2e-3), ("stage 2", 2e-3), ("vawan", 2e-3)])
def test_one_clip_is_learnt(tmp_path, name, lr):
    """To less than a tenth of the loss at the start, near pure noise, on a Wan that takes all data for zero."""
    save_file(denoising_wan(), tmp_path / BASE)
    write_shard(tmp_path / "cache", {"only": (views_clip(0, frames=1, height=2, width=2), {})})
    recipe = syn_recipe(
        tmp_path,
        name,
        run={"steps": 40, "batch": 4},
        data={"held_out": []},
        exo2egosyn={"cross_attention_lr": lr},
        noise={"lowest": 0.9},
        optimizer={"lr": lr, "warmup": 5, "weight_decay": 0.0, "schedule": "cosine"},
        checkpoints={"every": 1000},
    )
    losses = []
    opened(recipe).run(lambda report: losses.append(report.loss))
    assert min(losses[-5:]) < 0.1 * losses[0], losses


# Mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tables", "message"),
    [
        ("stage 1", {"lora": {"targets": ["ffn.0"]}}, r"\[lora\]: Exo2EgoSyn's LoRA is on self-attention alone"),
        ("vawan", {"lora": {"patch_embedding": True}}, r"\[lora\]: .* and leave patch_embedding out"),
        ("stage 1", {"model": {"trained": "all"}}, r"\[model\]: trained is lora for exo2egosyn stage 1"),
        ("stage 1", {"exo2egosyn": {"exo_dropout": 0}}, r"\[samples\]: without exo_dropout .* set cfg = 1"),
        ("stage 1", {"exo2egosyn": {"cond_tail": "pixel"}}, r"\[exo2egosyn\]: cond_tail \"pixel\" encodes"),
        ("stage 1", {"exo2egosyn": {"views": 5}}, r"\[exo2egosyn\]: views are 1 to 4"),
        ("stage 0", {"align": {"plucker_weight": -1.0}}, r"\[align\]: plucker_weight is from 0 up"),
        ("vawan", {"vawan": {"pose": "ac4d"}}, r"\[vawan\]: pose is one of none, ac3d, time_pose"),
        ("vawan", {"run": {"method": "vawan"}}, r"\[run\]: method is one of egox, exo2egosyn stage 0"),
    ],
)
def test_settings_that_do_not_go_together(files, name, tables, message):
    with pytest.raises(ValueError, match=message) as caught:
        syn_recipe(files, name, **tables)
    assert "recipe.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ("model", "base", r"\[model\]: exo2egosyn stage 2 is trained on Wan 2.2 I2V A14B, low noise"),
        ("exo2egosyn", "align", r"\[exo2egosyn\]: first frames are predicted by EgoExo-Align: name its file"),
        ("exo2egosyn", "multiexocon", r"\[exo2egosyn\]: stage 2 goes on from stage 1"),
        ("lora", "start", r"\[exo2egosyn\]: stage 2 goes on from stage 1"),
    ],
)
def test_files_that_a_stage_goes_on_from(files, table, key, message):
    recipe = syn_recipe(files, "stage 2")
    with pytest.raises(ValueError, match=message):
        replace(recipe, **{table: replace(getattr(recipe, table), **{key: None})})


def test_the_high_noise_expert_is_refused(files):
    recipe = syn_recipe(files, "stage 1")
    base = files / BASE.replace("low", "high")
    with pytest.raises(ValueError, match=r"high_noise_tiny.safetensors is Wan 2.2's high-noise expert by its name"):
        method_of(replace(recipe, model=replace(recipe.model, base=base)))


def test_wan_21_is_refused(files):
    save_file(wan_state_dict(), files / "wan21.safetensors")
    recipe = syn_recipe(files, "stage 1", model={"base": str(files / "wan21.safetensors")})
    with pytest.raises(ValueError, match=r"wan21.safetensors is Wan 2.1 I2V .*low-noise expert of Wan 2.2"):
        method_of(recipe).network()


def test_components_of_another_kind_or_size_are_refused(files, tmp_path):
    align = files / "tiny_align.safetensors"
    with pytest.raises(ValueError, match=r"it holds the component align, and multiexocon belongs here"):
        method_of(syn_recipe(files, "stage 2", exo2egosyn={"multiexocon": str(align)})).network()
    deeper = write_tiny_component(tmp_path, Component.MULTIEXOCON, blocks=3)
    with pytest.raises(ValueError, match=r"for a base model of 3 blocks of width 256, and this one has 2 of 256"):
        method_of(syn_recipe(files, "stage 2", exo2egosyn={"multiexocon": str(deeper)})).network()


def test_clips_of_another_method_or_layout_are_named(files, tmp_path):
    write_shard(tmp_path, {"clip_0": (small_clip(0), {})})
    with pytest.raises(
        ValueError, match=r"clip_0 in .* was encoded for egox, and \[run\] method is exo2egosyn stage 0"
    ):
        opened(syn_recipe(files, "stage 0", data={"cache": str(tmp_path)}))
    with pytest.raises(ValueError, match=r"clip_0 in .* has 2 exo views, and \[exo2egosyn\] views is 4"):
        opened(syn_recipe(files, "stage 0", exo2egosyn={"views": 4}))
    wide = views_clip(0, width=8)
    parts = {part: parts_of(wide)[part] for part in ("ego", "gray", "first_then_gray", "plucker")}
    write_shard(tmp_path / "wide", {"clip_0": (replace(views_clip(0), **parts), {})})
    with pytest.raises(ValueError, match=r"exo latents of 6 x 4 and an ego latent of 8 x 4"):
        opened(syn_recipe(files, "vawan", data={"cache": str(tmp_path / "wide")}))


def test_vawan_needs_the_empty_prompt(files):
    method = method_of(syn_recipe(files, "vawan"))
    clips = method.batch([replace(views_clip(0), text=None)], "cpu")
    with pytest.raises(ValueError, match=r"a clip of the cache has no text: run `training cache` with a text encoder"):
        method.network()(clips, clips.ego, torch.tensor([0.5]))
