"""LoRAs in every trainer's names become one component."""

from __future__ import annotations

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from exo2ego.networks.components.files import read_component
from exo2ego.networks.components.metadata import Component
from support.tiny_egosyn import ALPHA, RANK, tiny_component
from support.tiny_wan import DIM, LAYERS

DIFFUSERS = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}


def factors() -> dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]]:
    """(A, B) by block and letter, as the component's own file has them."""
    tensors, found = tiny_component(Component.LORA).tensors, {}
    for block in range(LAYERS):
        for letter in DIFFUSERS:
            name = f"diffusion_model.blocks.{block}.self_attn.{letter}"
            found[block, letter] = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
    return found


def spelled(kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str] | None]:
    """The same LoRA as a trainer writes it, and what its header says."""
    tensors, header = {}, None
    for (block, letter), (down, up) in factors().items():
        if kind == "diffusers":
            name = f"transformer.blocks.{block}.attn1.{DIFFUSERS[letter]}"
            tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
            header = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": ALPHA, "transformer.r": RANK})}
        elif kind == "peft":
            name = f"base_model.model.blocks.{block}.self_attn.{letter}"
            tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        elif kind == "diffsynth":
            name = f"blocks.{block}.self_attn.{letter}"
            tensors |= {f"{name}.lora_A.default.weight": down, f"{name}.lora_B.default.weight": up}
        elif kind == "kohya":
            name = f"lora_unet_blocks_{block}_self_attn_{letter}"
            tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
            tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
        else:
            name = f"diffusion_model.blocks.{block}.self_attn.{letter}"
            tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
            tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return {key: value.clone() for key, value in tensors.items()}, header


@pytest.mark.parametrize("kind", ["diffusers", "peft", "diffsynth", "kohya", "comfyui"])
def test_five_spellings_give_one_component(convert, tmp_path, kind):
    tensors, header = spelled(kind)
    save_file(tensors, tmp_path / "theirs.safetensors", header)
    told = [] if kind in ("diffusers", "kohya", "comfyui") else ["--alpha", ALPHA]
    out = tmp_path / "lora.safetensors"
    done = convert("lora", tmp_path / "theirs.safetensors", "--out", out, "--stage", "2", *told)
    assert done.code == 0, done.error
    got, expected = load_file(out), tiny_component(Component.LORA).tensors
    assert set(got) == set(expected)
    assert all(torch.equal(got[key], expected[key]) for key in expected)
    loaded = read_component(out, Component.LORA)
    assert (loaded.metadata.rank, loaded.metadata.alpha, loaded.metadata.stage) == (RANK, ALPHA, 2)


def test_what_peft_saves(convert, tmp_path):
    """peft itself: the alpha lies in the settings beside the file."""

    class SelfAttention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for letter in DIFFUSERS:
                setattr(self, letter, torch.nn.Linear(DIM, DIM))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.self_attn = SelfAttention()

    class Wan(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList(Block() for _ in range(LAYERS))

    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=list(DIFFUSERS), init_lora_weights=False)
    model = peft.get_peft_model(Wan(), config)
    model.save_pretrained(tmp_path / "adapter")
    out = tmp_path / "lora.safetensors"
    done = convert("lora", tmp_path / "adapter", "--out", out)
    assert done.code == 0, done.error
    assert "alpha 6, from adapter_config.json" in done.text
    got = load_file(out)
    layer = model.base_model.model.blocks[1].self_attn.k
    name = "diffusion_model.blocks.1.self_attn.k"
    update = float(got[f"{name}.alpha"]) / 4 * got[f"{name}.lora_B.weight"] @ got[f"{name}.lora_A.weight"]
    torch.testing.assert_close(update, layer.get_delta_weight("default"))
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**settings, "use_rslora": True}))
    assert "trained with use_rslora" in convert("lora", tmp_path / "adapter", "--out", tmp_path / "b.safetensors").error


def test_without_an_alpha_the_scale_is_one(convert, tmp_path):
    save_file(spelled("peft")[0], tmp_path / "theirs.safetensors")
    done = convert("lora", tmp_path / "theirs.safetensors", "--out", tmp_path / "lora.safetensors")
    assert f"the scale is 1 (alpha {RANK}, the rank)" in done.text
    assert read_component(tmp_path / "lora.safetensors").config.alpha == RANK


def broken(change: str) -> dict[str, torch.Tensor]:
    tensors = spelled("comfyui")[0]
    if change == "cross-attention":
        tensors |= {k.replace("self_attn", "cross_attn"): v.clone() for k, v in tensors.items()}
    elif change == "another model":
        tensors["double_blocks.0.img_attn.qkv.lora_A.weight"] = torch.zeros(4, 4)
    elif change == "a factor missing":
        del tensors["diffusion_model.blocks.1.self_attn.v.lora_B.weight"]
    elif change == "a block missing":
        tensors = {key: value for key, value in tensors.items() if "blocks.0.self_attn.q" not in key}
    elif change == "several alphas":
        tensors["diffusion_model.blocks.1.self_attn.v.alpha"] = torch.tensor(1.0)
    elif change == "twice":
        tensors["blocks.0.self_attn.q.lora_A.weight"] = torch.zeros(4, DIM)
    return tensors


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("cross-attention", (), "also updates 8 layers beside the self-attention (blocks.0.cross_attn.k"),
        ("another model", (), "1 of 25 tensors are not a LoRA on Wan's blocks (double_blocks.0"),
        ("a factor missing", (), "1 tensors are missing (diffusion_model.blocks.1.self_attn.v.lora_B.weight)"),
        ("a block missing", (), "lacks the tensor diffusion_model.blocks.0.self_attn.q"),
        ("several alphas", (), "alpha is 1, 8 in 8 of 8 layers"),
        ("twice", (), "holds the factor down of blocks.0.self_attn.q twice"),
        ("nothing", ("--alpha", "3"), "alpha is 8 in the tensors of theirs.safetensors, 3 in --alpha: which?"),
        ("nothing", ("--stage", "two"), "stage is 'two', expected a whole number"),
        ("nothing", ("--rays", "fisheye"), "rays is fisheye, and this version reads pinhole or raymap"),
    ],
)
def test_what_is_no_such_lora_is_refused(convert, tmp_path, change, options, message):
    save_file(broken(change), tmp_path / "theirs.safetensors")
    done = convert("lora", tmp_path / "theirs.safetensors", "--out", tmp_path / "lora.safetensors", *options)
    assert done.code == 1
    assert message in done.error
    assert not (tmp_path / "lora.safetensors").exists()
