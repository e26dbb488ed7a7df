from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from exo2ego.wan.egox.lora import LoraForm, apply_lora, read_lora
from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox
from support.egox_witness import sample
from support.lora_names import SPELLINGS, in_comfyui_names, spelled
from support.quantised_bases import load_base, stored
from support.tiny_wan import DIM, FFN, LAYERS, egox_lora_state_dict, wan_state_dict
from support.wan_witnesses import comfyui_predict, diffusers_predict, diffusers_wan

RANK = 4


@pytest.fixture
def saved(tmp_path):
    """Save tensors as a safetensors file and return its path."""

    def save(tensors, name="some_lora.safetensors", metadata=None):
        path = tmp_path / name
        save_file(tensors, path, metadata)
        return path

    return save


@pytest.fixture(scope="module")
def peft_network():
    """diffusers' transformer with a LoRA made by peft, twice as strong as its factors say (alpha 8, rank 4)."""
    from peft import LoraConfig

    network = diffusers_wan(wan_state_dict(), dim=DIM, ffn=FFN, layers=LAYERS)
    torch.manual_seed(7)
    targets = ["to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj", "ffn.net.0.proj", "ffn.net.2"]
    network.add_adapter(LoraConfig(r=RANK, lora_alpha=2 * RANK, init_lora_weights=False, target_modules=targets))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
                parameter.copy_(parameter.bfloat16())  # as factors are read
    return network


def peft_output(network, clip):
    return sample(diffusers_predict(network), clip, noise_of(clip), steps=STEPS, shift=SHIFT, cfg=5.0)


def test_file_of_diffusers_and_peft_gives_pefts_output(model, clip, peft_network, tmp_path):
    """The header of the file carries alpha."""
    from diffusers import WanPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from peft import get_peft_model_state_dict

    WanPipeline.save_lora_weights(
        tmp_path,
        transformer_lora_layers=get_peft_model_state_dict(peft_network),
        **_collate_lora_metadata({"transformer": peft_network}),
    )
    lora = read_lora(tmp_path / "pytorch_lora_weights.safetensors")
    assert lora.describe() == "rank 4, 24 layers in 2 blocks, alpha 8"
    expected = peft_output(peft_network, clip)
    got = run_graph(with_egox(apply_lora(model, lora), clip), clip)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    assert (got - run_graph(with_egox(model, clip), clip)).abs().max() > 0.05


def test_file_without_alpha_has_scale_one(model, clip, peft_network, tmp_path):
    """As the released file: rank and alpha were equal in training, and none is saved."""
    from diffusers import WanPipeline
    from peft import get_peft_model_state_dict

    WanPipeline.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(peft_network))
    lora = read_lora(tmp_path / "pytorch_lora_weights.safetensors")
    assert lora.describe() == "rank 4, 24 layers in 2 blocks, no alpha stored (scale 1)"
    doubled = run_graph(with_egox(apply_lora(model, lora, strength=2.0), clip), clip)
    torch.testing.assert_close(doubled, peft_output(peft_network, clip), rtol=0, atol=1e-4)


def test_strength_zero_changes_nothing(model, tiny_files, clip):
    off = run_graph(with_egox(apply_lora(model, read_lora(tiny_files["lora"]), 0.0), clip), clip)
    assert torch.equal(off, run_graph(with_egox(model, clip), clip))


def test_it_stays_a_patch(model, tiny_files):
    weights = {name: value.clone() for name, value in model.model.state_dict().items()}
    patched = apply_lora(model, read_lora(tiny_files["lora"]))
    assert len(patched.patches) == 16
    assert not model.patches
    assert all(torch.equal(value, weights[name]) for name, value in model.model.state_dict().items())


def share_rounded(held, wanted):
    """The share of values that are `wanted`, rounded up or down to float8's three bits after the leading one."""
    step = torch.exp2(wanted.abs().log2().floor().clamp(min=-6) - 3)
    return ((held - wanted).abs() <= step).float().mean()


def test_merged_into_float8_weights(tiny_files, clip):
    """Every patched weight is the sum, rounded up or down to one of float8's two nearest; half the LoRA is not."""
    model, lora = load_base("fp8"), read_lora(tiny_files["lora"])
    run_graph(with_egox(apply_lora(model, lora, form=LoraForm.MERGE), clip), clip)
    weights = stored("fp8")
    for layer, update in lora.layers.items():
        held = model.model.diffusion_model.get_submodule(layer).weight  # still loaded with the LoRA
        delta = update.up.float() @ update.down.float()
        assert held.dtype == torch.float8_e4m3fn
        assert share_rounded(held.float(), weights[f"{layer}.weight"] + delta) > 0.999
        assert share_rounded(held.float(), weights[f"{layer}.weight"] + 0.5 * delta) < 0.5


def renamed(tensors, rename):
    return {rename(key): value for key, value in tensors.items()}


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: key.removeprefix("transformer."),
        lambda key: key.replace("transformer.", "base_model.model."),
        lambda key: "base_model.model." + key,
        lambda key: key.replace("lora_A.weight", "lora_A.default.weight").replace("lora_B.w", "lora_B.default.w"),
    ],
    ids=["bare", "peft", "peft of a pipeline", "named adapter"],
)
def test_other_names_of_the_same_layers(saved, tiny_files, rename):
    expected = read_lora(tiny_files["lora"]).layers
    got = read_lora(saved(renamed(egox_lora_state_dict(), rename))).layers
    assert got.keys() == expected.keys()
    for layer, update in got.items():
        assert torch.equal(update.up, expected[layer].up)
        assert torch.equal(update.down, expected[layer].down)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_five_spellings_of_one_lora_give_equal_deltas(model, saved, spelling):
    """On the MODEL, as ComfyUI merges them, scale included."""
    import comfy.lora

    tensors = egox_lora_state_dict()
    lora = read_lora(saved(spelled(tensors, spelling, alpha=2.0)))
    patched = apply_lora(model, lora, form=LoraForm.MERGE)
    assert len(patched.patches) == len(tensors) // 2
    for key, down in tensors.items():
        if "lora_A" in key:
            name = f"{in_comfyui_names(key).rsplit('.lora_', 1)[0]}.weight"
            got = comfy.lora.calculate_weight(patched.patches[name], torch.zeros(DIM, DIM), name)
            expected = 2.0 / RANK * tensors[key.replace("lora_A", "lora_B")] @ down
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_that_maps_only_in_part_is_refused_by_name(saved, spelling):
    tensors = spelled(egox_lora_state_dict(), spelling, alpha=2.0)
    first = next(iter(tensors))
    odd = first.replace("attn", "bttn")
    refuses(saved({odd if key == first else key: value for key, value in tensors.items()}), rf"1 of .*\({odd}")


def test_factors_saved_as_float32_are_read_as_bfloat16(saved):
    for dtype, expected in ((torch.float32, torch.bfloat16), (torch.bfloat16,) * 2, (torch.float16,) * 2):
        tensors = {key: 1.001 * value for key, value in egox_lora_state_dict().items()}
        lora = read_lora(saved({key: value.to(dtype) for key, value in tensors.items()}))
        for layer in lora.layers.values():
            assert layer.up.dtype == layer.down.dtype == expected
        down = lora.layers["blocks.1.cross_attn.o"].down
        assert torch.equal(down, tensors["transformer.blocks.1.attn2.to_out.0.lora_A.weight"].to(dtype).to(expected))


def test_a_factor_that_is_there_twice(saved):
    extra = {"blocks.0.self_attn.q.lora_A.weight": torch.zeros(RANK, DIM)}
    refuses(saved({**egox_lora_state_dict(), **extra}), "holds the factor down of blocks.0.self_attn.q twice")


def test_saved_alphas_scale_the_update(model, saved, clip):
    tensors = egox_lora_state_dict()
    layers = {key.split(".lora_")[0] for key in tensors}
    with_alpha = read_lora(saved({**tensors, **{f"{layer}.alpha": torch.tensor(2.0) for layer in layers}}))
    assert with_alpha.describe() == "rank 4, 16 layers in 2 blocks, alpha 2"
    plain = read_lora(saved(tensors, "plain.safetensors"))
    got = run_graph(with_egox(apply_lora(model, with_alpha), clip), clip)
    half = run_graph(with_egox(apply_lora(model, plain, 0.5), clip), clip)
    torch.testing.assert_close(got, half, rtol=0, atol=1e-5)


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", ["lora_A", "lora_B"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_factors_that_are_not_finite(saved, factor, value):
    key = f"transformer.blocks.1.attn2.to_out.0.{factor}.weight"
    tensors = egox_lora_state_dict()
    tensors[key] = tensors[key].clone()
    tensors[key][1, 2] = value
    refuses(saved(tensors), f"{key} holds values that are not finite")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.uint8])
def test_integers_without_a_scale(saved, dtype):
    tensors = {key: (8 * tensor).to(dtype) for key, tensor in egox_lora_state_dict().items()}
    refuses(saved(tensors), f"holds {str(dtype).removeprefix('torch.')} numbers without a scale")


@pytest.mark.parametrize(
    ("alpha", "message"),
    [(torch.tensor(torch.nan), "alpha holds values that are not finite"), (torch.ones(3), r"one number, got .* \[3\]")],
)
def test_alphas_that_are_no_number(saved, alpha, message):
    tensors = egox_lora_state_dict()
    layers = {key.split(".lora_")[0] for key in tensors}
    refuses(saved({**tensors, **{f"{layer}.alpha": alpha.clone() for layer in layers}}), message)


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"transformer.lora_alpha": NaN}', '{"lora_alpha": "much"}'])
def test_headers_whose_alpha_cannot_be_read(saved, text):
    refuses(saved(egox_lora_state_dict(), metadata={"lora_adapter_metadata": text}), "in its header")


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_that_is_not_finite(model, saved, strength):
    lora = read_lora(saved(egox_lora_state_dict()))
    with pytest.raises(ValueError, match="strength of a LoRA"):
        apply_lora(model, lora, strength)


def refuses(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_lora(path)
    assert path.name in str(caught.value)


def test_torn_file(tiny_files, tmp_path):
    whole = tiny_files["lora"].read_bytes()
    for size in (4, 100, len(whole) // 2, len(whole) - 1):
        torn = tmp_path / "torn.safetensors"
        torn.write_bytes(whole[:size])
        refuses(torn, "truncated.*download it again")


@pytest.mark.parametrize("name", ["lora.pt", "lora.safetensors"])
@pytest.mark.parametrize("as_zip", [True, False])
def test_pickled_file_is_not_opened(tmp_path, name, as_zip):
    path = tmp_path / name
    torch.save(egox_lora_state_dict(), path, _use_new_zipfile_serialization=as_zip)
    refuses(path, "Pickled files .* are not opened")


def test_header_whose_length_looks_like_a_pickle(saved):
    """Its first byte is the one that pickles begin with; one file in 32 has such a header."""
    paths = [saved(egox_lora_state_dict(), f"{n}.safetensors", {"note": "x" * n}) for n in range(0, 256, 8)]
    assert 0x80 in {path.read_bytes()[0] for path in paths}
    assert {read_lora(path).n_blocks for path in paths} == {LAYERS}


def test_lora_of_another_model(saved):
    flux = {f"transformer.single_transformer_blocks.{i}.attn.to_q.lora_A.weight": torch.zeros(4, 8) for i in range(9)}
    refuses(saved(flux), "contains no LoRA for Wan: none of its 9 keys")


def test_half_mapped_keys(saved):
    extra = {"transformer.blocks.0.attn3.to_q.lora_A.weight": torch.zeros(4, DIM)}
    refuses(saved({**egox_lora_state_dict(), **extra}), "1 of 33 keys name no layer.*attn3")


def test_missing_factor_of_every_block(saved):
    tensors = {key: value for key, value in egox_lora_state_dict().items() if "attn1.to_k.lora_B" not in key}
    refuses(saved(tensors), r"not whole: blocks.0.self_attn.k has only down")


def test_missing_keys_of_one_block(saved):
    tensors = {key: value for key, value in egox_lora_state_dict().items() if "blocks.1.attn2.to_v" not in key}
    refuses(saved(tensors), r"block 1 lacks cross_attn.v \(down\), cross_attn.v \(up\)")


def test_missing_block(saved):
    tensors = {key: value for key, value in egox_lora_state_dict(layers=3).items() if "blocks.1." not in key}
    refuses(saved(tensors), "block 1 lacks")


def test_factors_of_different_rank(saved):
    tensors = egox_lora_state_dict()
    tensors["transformer.blocks.0.attn1.to_q.lora_A.weight"] = torch.zeros(RANK + 1, DIM)
    refuses(saved(tensors), r"blocks.0.self_attn.q do not fit together.*\[5, 256\] and \[256, 4\]")


@pytest.mark.parametrize("special", [{"alpha_pattern": {"to_q": 2}}, {"use_rslora": True}, {"use_dora": True}])
def test_kinds_of_lora_that_are_not_supported(saved, special):
    config = {f"transformer.{key}": value for key, value in {"lora_alpha": 4, **special}.items()}
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    refuses(saved(egox_lora_state_dict(), metadata=metadata), "not supported: export a plain LoRA")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 384}, "384 x 384, and this model has one of 256 x 256"),
        ({"layers": 3}, "3 blocks, and this model has 2"),
    ],
)
def test_lora_of_another_size(model, saved, sizes, message):
    lora = read_lora(saved(egox_lora_state_dict(**sizes)))
    with pytest.raises(ValueError, match=message):
        apply_lora(model, lora)


def test_lora_moves_the_plain_loop_alike(model, clip, tiny_files):
    """The patched weights are those that the network then runs with."""
    patched = apply_lora(model, read_lora(tiny_files["lora"]))
    got = run_graph(with_egox(patched, clip), clip)
    predict = comfyui_predict(model.model.diffusion_model)  # still loaded with the LoRA
    expected = sample(predict, clip, noise_of(clip), steps=STEPS, shift=SHIFT, cfg=5.0)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


# The patch embedding ----------------------------------------------------------------------------------------------


def with_patch(up=(DIM, RANK, 1, 1, 1), down=(RANK, 36, 1, 2, 2), name="transformer.patch_embedding"):
    return {
        **egox_lora_state_dict(),
        f"{name}.lora_A.weight": torch.ones(down),
        f"{name}.lora_B.weight": torch.ones(up),
    }


@pytest.mark.parametrize("name", ["transformer.patch_embedding", "diffusion_model.patch_embedding", "patch_embedding"])
def test_the_patch_embedding_in_any_names(saved, name):
    lora = read_lora(saved(with_patch(name=name)))
    assert lora.describe().startswith("rank 4, 16 layers in 2 blocks and the patch embedding, no alpha")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"up": (DIM, RANK)}, r"patch_embedding do not fit together, expected \[rank, channels, 1, 2, 2\]"),
        ({"up": (DIM, RANK, 1, 2, 2)}, "patch_embedding do not fit together"),
        ({"down": (RANK + 1, 36, 1, 2, 2)}, "patch_embedding do not fit together"),
    ],
)
def test_factors_of_the_patch_embedding_that_do_not_fit(saved, shapes, message):
    refuses(saved(with_patch(**shapes)), message)


def test_the_patch_embedding_of_another_model(model, saved):
    with pytest.raises(ValueError, match=r"patch_embedding by 256 x 64, and this model has one of 256 x 144"):
        apply_lora(model, read_lora(saved(with_patch(down=(RANK, 16, 1, 2, 2)))))


def test_the_patch_embedding_alone_is_no_egox_lora(saved):
    alone = {key: value for key, value in with_patch().items() if "blocks" not in key}
    refuses(saved(alone), "updates the patch embedding alone")
