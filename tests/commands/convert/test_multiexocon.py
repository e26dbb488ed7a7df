"""The cross-attention of a fine-tuned Wan, in three namings, beside its base."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from exo2ego.commands.convert.wan_names import wan_names
from exo2ego.networks.components.files import read_component
from exo2ego.networks.components.metadata import Component
from support.egosyn_witness import embedded_text, wan
from support.tiny_egosyn import tiny_component
from support.tiny_wan import DIM, FFN, LAYERS, wan_state_dict

TRAINED = tiny_component(Component.MULTIEXOCON).tensors


def fine_tuned() -> dict[str, torch.Tensor]:
    """The tiny Wan 2.2 with a trained cross-attention, and the exo patch embedding."""
    return {**wan_state_dict("i2v_2.2"), **TRAINED}


def diffusers_wan(**config):
    from diffusers import WanTransformer3DModel

    torch.manual_seed(3)
    settings = {"num_attention_heads": DIM // 128, "attention_head_dim": 128, "in_channels": 36, "out_channels": 16}
    return WanTransformer3DModel(**settings, ffn_dim=FFN, num_layers=LAYERS, text_dim=4096, **config).eval()


def same_as_trained(path, expected=TRAINED):
    loaded = read_component(path, Component.MULTIEXOCON)
    assert set(loaded.state_dict) == set(expected)
    assert all(torch.equal(loaded.state_dict[key], value) for key, value in expected.items())
    return loaded


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "_orig_mod.module.", "pipe.dit."])
def test_in_wans_own_names_and_what_wraps_them(convert, tmp_path, prefix):
    save_file({prefix + key: value for key, value in fine_tuned().items()}, tmp_path / "tuned.safetensors")
    save_file(wan_state_dict("i2v_2.2"), tmp_path / "base.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    options = ("--base", tmp_path / "base.safetensors", "--num-views", "3", "--cond-dropout", "0.1")
    done = convert("multiexocon", tmp_path / "tuned.safetensors", "--out", out, *options, "--cond-tail", "pixel")
    assert done.code == 0, done.error
    metadata = same_as_trained(out).metadata
    assert (metadata.num_views, metadata.cond_dropout, metadata.cond_tail, metadata.stage) == (3, 0.1, "pixel", None)
    assert "Cross-attention: 20 of 20 tensors differ from base.safetensors." in done.text
    assert "49 other tensors equal those of base.safetensors." in done.text
    assert "Not kept" not in done.text
    assert "CFG 1" not in done.text


def test_names_of_diffusers_against_diffusers_itself():
    """The forward of diffusers' own model, from its weights under the other names, in a formula of its own."""
    model = diffusers_wan()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name:
                value.add_(0.1 * torch.randn(value.shape))
    names = wan_names(list(model.state_dict()))
    weights = {names[key]: value for key, value in model.state_dict().items()}
    assert set(weights) == set(wan_state_dict("i2v_2.2"))
    random = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 36, 2, 4, 6, generator=random), torch.randn(1, 512, 4096, generator=random)
    time = torch.tensor([700.0])
    with torch.no_grad():
        expected = model(hidden_states=x, timestep=time, encoder_hidden_states=text, return_dict=False)[0]
        got = wan(weights, x, time, embedded_text(weights, text))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_in_diffusers_names_with_a_folder_of_shards(convert, tmp_path):
    tuned, base = diffusers_wan().state_dict(), diffusers_wan().state_dict()
    tuned = {key: value + 0.01 if ".attn2." in key else value for key, value in tuned.items()}
    half = len(tuned) // 2
    shards = [dict(list(tuned.items())[:half]), dict(list(tuned.items())[half:])]
    folder, stem = tmp_path / "transformer", "diffusion_pytorch_model"
    folder.mkdir()
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        name = f"{stem}-{number:05d}-of-00002.safetensors"
        save_file(shard, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, name)
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    save_file(base, tmp_path / "base.safetensors")
    own = {f"embedder.{kind}": TRAINED[f"exo_patch_embed.{kind}"] for kind in ("weight", "bias")}
    save_file(own, tmp_path / "exo.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    options = ("--base", tmp_path / "base.safetensors", "--exo-patch-embed", tmp_path / "exo.safetensors")
    done = convert("multiexocon", folder, "--out", out, *options, "--exo-name", "embedder")
    assert done.code == 0, done.error
    letters = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0", "norm_q": "norm_q", "norm_k": "norm_k"}
    expected = {key: value for key, value in TRAINED.items() if "cross_attn" not in key}
    for key in TRAINED:
        if "cross_attn" in key:
            block, _, layer, kind = key.removeprefix("blocks.").split(".")
            expected[key] = tuned[f"blocks.{block}.attn2.{letters[layer]}.{kind}"]
    same_as_trained(out, expected)
    assert "Cross-attention: 20 of 20" in done.text
    assert "does not" not in done.error
    assert "CFG 1 is advised" in done.text


def test_what_else_was_trained_is_said_and_not_kept(convert, tmp_path):
    base = wan_state_dict("i2v_2.2")
    tuned = fine_tuned()
    tuned["blocks.0.self_attn.q.weight"] = tuned["blocks.0.self_attn.q.weight"] + 1e-3
    tuned["blocks.1.self_attn.q.weight"] = tuned["blocks.1.self_attn.q.weight"] + 1e-3
    tuned["blocks.1.norm3.bias"] = tuned["blocks.1.norm3.bias"] * 1.1
    tuned["view_head.weight"] = torch.ones(2)
    tuned["blocks.0.self_attn.q.lora_A.default.weight"] = torch.ones(4, DIM)
    save_file(tuned, tmp_path / "tuned.safetensors")
    save_file(base, tmp_path / "base.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    done = convert("multiexocon", tmp_path / "tuned.safetensors", "--base", tmp_path / "base.safetensors", "--out", out)
    assert done.code == 0, done.error
    same_as_trained(out)
    assert "Not kept: 3 other tensors differ" in done.text
    assert "blocks.*.self_attn.q.weight, blocks.*.norm3.bias" in done.text
    assert "Not kept: 1 tensors that base.safetensors does not have (view_head.weight)" in done.text
    assert "1 tensors of a LoRA are not kept here" in done.text


@pytest.mark.parametrize(("tuned_as", "base_as"), [("bfloat16", "float32"), ("bfloat16", "float16")])
def test_the_rounding_of_a_file_is_no_training(convert, tmp_path, tuned_as, base_as):
    tuned, base = (getattr(torch, name) for name in (tuned_as, base_as))
    save_file({key: value.to(tuned) for key, value in fine_tuned().items()}, tmp_path / "tuned.safetensors")
    save_file({key: value.to(base) for key, value in wan_state_dict("i2v_2.2").items()}, tmp_path / "base.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    done = convert("multiexocon", tmp_path / "tuned.safetensors", "--base", tmp_path / "base.safetensors", "--out", out)
    assert "49 other tensors equal those of base.safetensors." in done.text
    assert "20 of 20 tensors differ" in done.text
    assert read_component(out).metadata.dtype == "bfloat16"


def test_an_untrained_cross_attention_is_said(convert, tmp_path):
    base = wan_state_dict("i2v_2.2")
    exo = {key: value for key, value in TRAINED.items() if key.startswith("exo")}
    save_file({**base, **exo}, tmp_path / "tuned.safetensors")
    save_file(base, tmp_path / "base.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    done = convert("multiexocon", tmp_path / "tuned.safetensors", "--base", tmp_path / "base.safetensors", "--out", out)
    assert "0 of 20 tensors differ from base.safetensors. It is the base model's own: nothing was trained" in done.text


def test_types_in_the_file(convert, tmp_path):
    """`--dtype` concerns the blocks; the exo patch embedding stays float32."""
    tensors = tiny_component(Component.MULTIEXOCON, exo_pos="learned").tensors
    save_file(tensors, tmp_path / "tuned.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    done = convert("multiexocon", tmp_path / "tuned.safetensors", "--out", out, "--dtype", "bfloat16")
    assert "Without --base it is not checked" in done.text
    loaded = read_component(out)
    assert loaded.config.exo_pos == "learned"
    assert loaded.metadata.dtype == "bfloat16"
    for key, value in tensors.items():
        stored = loaded.state_dict[key]
        assert stored.dtype == (torch.bfloat16 if "cross_attn" in key else torch.float32)
        assert torch.equal(stored, value.to(stored.dtype))


def test_a_file_without_the_rest_of_the_model(convert, tmp_path):
    """A trainer may save the cross-attention alone."""
    save_file(TRAINED, tmp_path / "tuned.safetensors")
    save_file(wan_state_dict("i2v_2.2"), tmp_path / "base.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    done = convert("multiexocon", tmp_path / "tuned.safetensors", "--base", tmp_path / "base.safetensors", "--out", out)
    assert done.code == 0, done.error
    assert "0 other tensors equal" in done.text


def broken(change: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    tuned, base = fine_tuned(), wan_state_dict("i2v_2.2")
    if change == "no embedding":
        del tuned["exo_patch_embed.weight"], tuned["exo_patch_embed.bias"]
    elif change == "no cross-attention":
        tuned = {key: value for key, value in tuned.items() if "cross_attn" not in key}
    elif change == "half":
        tuned = {key: value for key, value in tuned.items() if "blocks.1.cross_attn.k" not in key}
    elif change == "wan 2.1":
        tuned = {**tuned, **wan_state_dict("i2v"), **TRAINED}
    elif change == "fp8":
        tuned["blocks.0.cross_attn.k.weight"] = tuned["blocks.0.cross_attn.k.weight"].to(torch.float8_e4m3fn)
    elif change == "fp8 base":
        base["blocks.0.ffn.0.weight"] = base["blocks.0.ffn.0.weight"].to(torch.float8_e4m3fn)
    elif change == "not finite":
        tuned["blocks.0.cross_attn.k.bias"] = torch.full_like(tuned["blocks.0.cross_attn.k.bias"], torch.inf)
    elif change == "another base":
        base = wan_state_dict("i2v_2.2", dim=128)
    elif change == "another embedding":
        tuned["exo_patch_embed.weight"] = torch.zeros(DIM, 64, 1, 2, 2)
    elif change == "twice":
        tuned["model.blocks.0.cross_attn.k.bias"] = tuned["blocks.0.cross_attn.k.bias"].clone()
    return tuned, base


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no embedding", "lacks the exo patch embedding (exo_patch_embed.weight)"),
        ("no cross-attention", "no cross-attention of Wan"),
        ("half", "2 tensors of the cross-attention are missing (blocks.1.cross_attn.k.bias"),
        ("wan 2.1", "that Wan 2.2 I2V A14B does not have (blocks.0.cross_attn.k_img.bias"),
        ("fp8", "stored as torch.float8_e4m3fn. Convert a file in 16 or 32 bits"),
        ("fp8 base", "base.safetensors stores blocks.0.ffn.0.weight as torch.float8_e4m3fn: give the base model in"),
        ("not finite", "blocks.0.cross_attn.k.bias holds values that are not finite"),
        ("another base", "base.safetensors is not the base model of tuned.safetensors"),
        ("another embedding", "exo_patch_embed.weight is expected as [256, 16, 1, 2, 2], got [256, 64, 1, 2, 2]"),
        ("twice", "are both blocks.0.cross_attn.k.bias"),
    ],
)
def test_other_models_are_refused(convert, tmp_path, change, message):
    tuned, base = broken(change)
    save_file(tuned, tmp_path / "tuned.safetensors")
    save_file(base, tmp_path / "base.safetensors")
    out = tmp_path / "multiexocon.safetensors"
    done = convert("multiexocon", tmp_path / "tuned.safetensors", "--base", tmp_path / "base.safetensors", "--out", out)
    assert done.code == 1
    assert message in done.error
    assert sorted(file.name for file in tmp_path.iterdir()) == ["base.safetensors", "tuned.safetensors"]
