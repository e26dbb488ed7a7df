"""LoRA keys and components, as the doctor sees them by headers and as the nodes' own readers see the files."""

from __future__ import annotations

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from support.comfyui import import_comfyui
from support.lora_names import SPELLINGS, spelled
from support.tiny_components import tiny_component, write_tiny_component
from support.tiny_wan import DIM, egox_lora_state_dict

from .conftest import BASE, LORA

EGOX = ("--workflow", "egox_take")
SYN = ("--workflow", "exo2egosyn")


def broken_lora(damage):
    tensors = egox_lora_state_dict()
    first = "transformer.blocks.0.attn1.to_q"
    if damage == "alien key":
        tensors["transformer.time_embedder.lora_A.weight"] = torch.ones(4, DIM)
    elif damage == "half a pair":
        for block in (0, 1):
            del tensors[f"transformer.blocks.{block}.attn1.to_q.lora_B.weight"]
    elif damage == "ranks differ":
        tensors[f"{first}.lora_A.weight"] = torch.ones(5, DIM)
    elif damage == "block lacks a layer":
        del tensors[f"{first}.lora_A.weight"], tensors[f"{first}.lora_B.weight"]
    elif damage == "another size":
        tensors = egox_lora_state_dict(dim=2 * DIM)
    elif damage == "more blocks":
        tensors = egox_lora_state_dict(layers=3)
    elif damage == "fewer blocks":
        tensors = egox_lora_state_dict(layers=1)
    elif damage == "other layers":
        for block in (0, 1):
            tensors[f"transformer.blocks.{block}.attn2.add_k_proj.lora_A.weight"] = torch.ones(4, DIM)
            tensors[f"transformer.blocks.{block}.attn2.add_k_proj.lora_B.weight"] = torch.ones(DIM // 2, 4)
    return tensors


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("alien key", "1 of 33 keys name no layer of Wan's blocks (transformer.time_embedder.lora_A.weight"),
        ("half a pair", "has only down (lora_A)"),
        ("ranks differ", "do not fit together"),
        ("block lacks a layer", "block 0 lacks self_attn.q"),
        ("another size", f"by {2 * DIM} x {2 * DIM}, and wan2.1_i2v_480p_14B_fp8_scaled.safetensors has one of {DIM}"),
        ("more blocks", "updates 3 blocks, and wan2.1_i2v_480p_14B_fp8_scaled.safetensors has 2"),
        ("fewer blocks", "updates 1 blocks"),
        ("other layers", "updates blocks.0.cross_attn.k_img"),
    ],
)
def test_a_lora_that_would_not_load(complete, damage, said):
    complete.save("loras", LORA, broken_lora(damage))
    (finding,) = complete.findings("lora keys", *EGOX)
    assert finding["severity"] == "error"
    assert said in finding["found"]
    assert "pytorch_lora_weights.safetensors of the release" in finding["remedy"]
    assert complete.visit(*EGOX)["exit"] == 1


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lora_in_every_spelling_that_the_loader_reads(complete, spelling):
    tensors = spelled(egox_lora_state_dict(), spelling, alpha=2.0)
    complete.save("loras", LORA, tensors)
    assert not complete.findings("lora keys", *EGOX)
    first = next(iter(tensors))
    odd = first.replace("attn", "bttn")
    complete.save("loras", LORA, {odd if key == first else key: value for key, value in tensors.items()})
    (finding,) = complete.findings("lora keys", *EGOX)
    assert odd in finding["found"]


def test_a_lora_whose_training_is_not_supported(complete):
    header = {"lora_adapter_metadata": '{"transformer.use_dora": true, "transformer.lora_alpha": 8}'}
    complete.save("loras", LORA, egox_lora_state_dict(), header)
    (finding,) = complete.findings("lora keys", *EGOX)
    assert "use_dora" in finding["found"]


def test_the_release_under_its_own_name_stands_in(complete):
    folder = complete.folder("loras")
    (folder / LORA).rename(folder / "pytorch_lora_weights.safetensors")
    report = complete.visit(*EGOX)
    assert report["exit"] == 0
    (note,) = [found for found in report["findings"] if found["check"] == "models"]
    assert note["severity"] == "note"
    assert "choose it in the node 'EgoX LoRA'" in note["remedy"]


def test_another_lora_on_demand(complete):
    complete.save("loras", "sdxl.safetensors", {"lora_unet_input_blocks_4_1_proj_in.lora_up.weight": torch.ones(2, 2)})
    assert complete.findings("lora keys", *EGOX) == []
    (finding,) = complete.findings("lora keys", *EGOX, "--lora", "sdxl.safetensors")
    assert "none of its 1 keys names a layer of Wan" in finding["found"]


def test_components_of_another_size(complete):
    folder = complete.folder("exo2egosyn")
    (folder / "exo2egosyn_lora.safetensors").unlink()
    write_tiny_component(folder, Component.LORA, "exo2egosyn_lora.safetensors", dim=2 * DIM)
    (finding,) = complete.findings("components", *SYN)
    assert finding["severity"] == "error"
    assert f"width {2 * DIM}" in finding["found"]
    assert finding["remedy"]


def test_a_component_with_a_tensor_too_few(complete):
    from safetensors.torch import save_file

    part = tiny_component(Component.POSEINJ)
    tensors = dict(part.state_dict)
    del tensors["fuse.pose.bias"]
    path = complete.folder("exo2egosyn") / "exo2egosyn_poseinj.safetensors"
    path.unlink()
    save_file(tensors, path, part.metadata.to_header())
    (finding,) = complete.findings("components", *SYN)
    assert "fuse.pose.bias" in finding["found"]
    assert finding["severity"] == "error"
    assert "export it again" in finding["remedy"].lower()


def test_a_component_in_anothers_place(complete, tiny_files):
    path = complete.folder("exo2egosyn") / "exo2egosyn_poseinj.safetensors"
    path.unlink()
    path.symlink_to(tiny_files["exo2egosyn", "exo2egosyn_align.safetensors"])
    (finding,) = complete.findings("models", *SYN)
    assert "is Exo2EgoSyn's align" in finding["found"]
    assert finding["expected"] == "Exo2EgoSyn's poseinj"


def test_a_missing_shard(complete):
    (complete.folder("exo2egosyn") / "exo2egosyn_multiexocon-00002-of-00003.safetensors").unlink()
    (finding,) = complete.findings("components", *SYN)
    assert "1 of 3 shards missing" in finding["found"]


def test_a_later_shard_does_not_stand_in_for_the_first(complete):
    (complete.folder("exo2egosyn") / "exo2egosyn_multiexocon-00001-of-00003.safetensors").unlink()
    (finding,) = complete.findings("models", *SYN)
    assert finding["severity"] == "error"
    assert "exo2egosyn_multiexocon-00001-of-00003.safetensors is missing" in finding["found"]


def test_loras_of_two_stages(complete):
    folder = complete.folder("exo2egosyn")
    (folder / "exo2egosyn_lora.safetensors").unlink()
    write_tiny_component(folder, Component.LORA, "exo2egosyn_lora.safetensors", told={"stage": 1})
    (finding,) = complete.findings("components", *SYN)
    assert finding["severity"] == "warning"
    assert "LoRA of stage 1" in finding["found"]


@pytest.mark.parametrize("damage", ["alien key", "half a pair", "ranks differ", "another size", "fewer blocks", None])
def test_the_doctor_refuses_what_the_loader_refuses(complete, damage):
    import_comfyui()
    import comfy.sd

    from exo2ego.wan.egox.lora import apply_lora, read_lora

    path = complete.save("loras", LORA, broken_lora(damage))
    model = comfy.sd.load_diffusion_model(str(complete.folder("diffusion_models") / BASE))
    if damage is None:
        assert apply_lora(model, read_lora(path)) is not model
    else:
        with pytest.raises(ValueError, match=LORA):
            apply_lora(model, read_lora(path))
    assert bool(complete.findings("lora keys", *EGOX)) is (damage is not None)


def test_a_lora_with_the_patch_embedding(complete):
    """As the loader: a convolution's factors fit by the size of a patch, or are told."""
    factors = {"lora_A": torch.ones(4, 36, 1, 2, 2), "lora_B": torch.ones(DIM, 4, 1, 1, 1)}
    tensors = {f"transformer.patch_embedding.{name}.weight": factor for name, factor in factors.items()}
    complete.save("loras", LORA, {**egox_lora_state_dict(), **tensors})
    assert complete.findings("lora keys", *EGOX) == []
    tensors["transformer.patch_embedding.lora_A.weight"] = torch.ones(4, 16, 1, 2, 2)
    complete.save("loras", LORA, {**egox_lora_state_dict(), **tensors})
    (finding,) = complete.findings("lora keys", *EGOX)
    assert f"updates patch_embedding by {DIM} x 64, and" in finding["found"]
