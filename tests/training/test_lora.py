"""The trainer's LoRA: what trains, its file in ComfyUI, and sampling with it on both sides."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from safetensors import safe_open

from exo2ego.attention.bias import GGABias
from exo2ego.networks.weights.egox_lora import EgoXLoraHeader
from exo2ego.training.data.clips import ClipBatch
from exo2ego.training.network.egox import EgoX, noised, velocity_losses
from exo2ego.training.network.guided_processor import Guidance
from exo2ego.training.network.lora import LoraSettings, add_lora, lora_factors, read_lora_into, write_lora
from exo2ego.training.network.sampling import SampleSettings, sample
from exo2ego.training.network.transformer import transformer_of
from exo2ego.wan.egox.lora import LoraForm, apply_lora, read_lora
from support.egox_graph import run_graph, with_egox, with_gga
from support.egox_witness import made_up_clip
from support.quantised_bases import load_base, stored
from support.training import in_model_scale, tiny_transformer, training_clip

RANK, ALPHA = 4, 8.0
HEADER = EgoXLoraHeader(base_model="tiny", match="released inference", gga="release", gga_strength="3", license="none")


def with_lora(seed=0, weights=None, **settings):
    network = tiny_transformer() if weights is None else transformer_of(weights, "stored")
    add_lora(network, LoraSettings(**{"rank": RANK, "alpha": ALPHA, **settings}), seed)
    return network


@torch.no_grad()
def made_up(network):
    """Give a LoRA factors of some size, of values that bfloat16 holds."""
    for index, parameter in enumerate(lora_factors(network).values()):
        values = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
        parameter.copy_((values * parameter.shape[1] ** -0.5).bfloat16())
    return network


def loss_of(network, clip, bias=None):
    batch = ClipBatch.of([training_clip(clip)])
    noise = torch.randn(batch.ego.shape, generator=torch.Generator().manual_seed(1))
    levels = torch.tensor([0.7])
    egox = EgoX(network, None if bias is None else Guidance(bias))
    return velocity_losses(egox(batch, noised(batch.ego, noise, levels), levels), batch.ego, noise).mean()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_lora_and_nothing_else(clip, checkpointing):
    network = made_up(with_lora())
    if checkpointing:
        network.enable_gradient_checkpointing()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loss_of(network, clip, GGABias()).backward()
    met = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert met == {name for name, _ in network.named_parameters() if "lora_" in name}
    assert len(met) == 2 * 2 * 8  # factors, blocks, layers
    assert all(parameter.grad.abs().max() > 0 for parameter in lora_factors(network).values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_checkpointing_leaves_gradients_as_they_are(clip):
    plain, saving = made_up(with_lora()), made_up(with_lora())
    saving.enable_gradient_checkpointing()
    for network in (plain, saving):
        loss_of(network, clip, GGABias()).backward()
    for mine, theirs in zip(lora_factors(saving).values(), lora_factors(plain).values()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-8)


def test_targets_are_chosen(clip):
    network = with_lora(targets=("self_attn.q", "ffn.0"))
    assert {layer for layer, _ in lora_factors(network)} == {
        f"blocks.{block}.{layer}" for block in (0, 1) for layer in ("self_attn.q", "ffn.0")
    }


def test_an_untrained_lora_changes_nothing(clip):
    assert torch.equal(loss_of(with_lora(), clip), loss_of(tiny_transformer(), clip))


def test_defaults_are_the_paper_s():
    settings = LoraSettings()
    assert (settings.rank, settings.alpha, len(settings.targets)) == (256, 256.0, 8)


@pytest.mark.parametrize("settings", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}, {"targets": ("attn1.to_q",)}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"rank from 1 up|has no layer 'attn1.to_q'"):
        LoraSettings(**settings)


# Its file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    network = made_up(with_lora())
    path = tmp_path / "mine.safetensors"
    write_lora(path, lora_factors(network), LoraSettings(RANK, ALPHA), HEADER)
    return network, path


def test_names_of_the_file(saved):
    with safe_open(saved[1], framework="pt") as file:
        names = set(file.keys())
    parts = ("lora_A.weight", "lora_B.weight", "alpha")
    assert names == {
        f"diffusion_model.blocks.{block}.{attention}.{layer}.{part}"
        for block in (0, 1)
        for attention in ("self_attn", "cross_attn")
        for layer in "qkvo"
        for part in parts
    }


@pytest.mark.parametrize("bias", [None, GGABias()], ids=["off", "release"])
@pytest.mark.parametrize("loader", ["ours", "core"])
def test_comfyui_samples_what_the_trainer_samples(model, clip, saved, bias, loader):
    network, path = saved
    if loader == "ours":
        patched = apply_lora(model, read_lora(path))
    else:
        import comfy.sd
        from safetensors.torch import load_file

        patched, _ = comfy.sd.load_lora_for_models(model, None, load_file(path), 1.0, 0.0)
        assert len(patched.patches) == 16
    patched = with_egox(patched, clip)
    patched = patched if bias is None else with_gga(patched, clip)
    expected = in_model_scale(run_graph(patched, clip, cfg=3.0))
    batch = ClipBatch.of([training_clip(clip)])
    settings = SampleSettings(steps=3, shift=8.0, cfg=3.0, seed=5)
    negative = clip.negative[0]
    guidance = None if bias is None else Guidance(bias)
    torch.testing.assert_close(sample(EgoX(network, guidance), batch, negative, settings), expected, rtol=0, atol=1e-4)
    bare = sample(EgoX(tiny_transformer(), guidance), batch, negative, settings)
    assert (bare - expected).abs().max() > 0.05


def test_the_loader_reads_how_it_was_trained(saved):
    lora = read_lora(saved[1])
    assert lora.header == HEADER
    assert lora.describe().startswith("rank 4, 16 layers in 2 blocks, alpha 8; trained with match: released inference")


def test_training_goes_on_from_a_file(saved, clip):
    network, path = saved
    other = with_lora(seed=1)
    read_lora_into(other, path, LoraSettings(RANK, ALPHA))
    assert torch.equal(loss_of(other, clip), loss_of(network, clip))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 2}, "set the rank"),
        ({"alpha": 4.0}, "set alpha = 8 under"),
        ({"targets": ("self_attn.q",)}, "updates 16 layers and the LoRA to be trained 2"),
    ],
)
def test_a_file_of_another_lora_is_refused(saved, settings, message):
    with pytest.raises(ValueError, match=message):
        read_lora_into(with_lora(**settings), saved[1], LoraSettings(**{"rank": RANK, "alpha": ALPHA, **settings}))


def test_a_file_is_written_whole_or_not_at_all(saved, monkeypatch):
    network, path = saved
    before = path.read_bytes()
    next(iter(lora_factors(network).values())).data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="take an earlier checkpoint"):
        write_lora(path, lora_factors(network), LoraSettings(RANK, ALPHA), HEADER)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# For diffusers, and with the patch embedding -----------------------------------------------------------------------


@pytest.mark.parametrize("patch_embedding", [False, True])
def test_diffusers_predicts_the_same_with_its_own_loader(clip, tmp_path, patch_embedding):
    """`load_lora_weights` of its pipeline, and ours reads that file too."""
    from diffusers import WanImageToVideoPipeline

    network = made_up(with_lora(patch_embedding=patch_embedding))
    path = tmp_path / "for_diffusers.safetensors"
    settings = LoraSettings(RANK, ALPHA, patch_embedding=patch_embedding)
    write_lora(path, lora_factors(network), settings, HEADER, dtype=torch.float32, names="diffusers")
    other = tiny_transformer()
    parts = {"tokenizer": None, "text_encoder": None, "image_encoder": None, "image_processor": None}
    pipeline = WanImageToVideoPipeline(transformer=other, vae=None, scheduler=None, **parts)
    pipeline.load_lora_weights(tmp_path, weight_name=path.name)
    torch.testing.assert_close(loss_of(other, clip), loss_of(network, clip), rtol=1e-5, atol=0)
    assert (loss_of(tiny_transformer(), clip) - loss_of(network, clip)).abs() > 1e-3
    lora = read_lora(path)
    assert len(lora.layers) == 16 + patch_embedding
    assert {update.alpha for update in lora.layers.values()} == {ALPHA}
    assert lora.header == HEADER


FORMS = {"gguf": "auto", "fp8": "auto"}


@pytest.mark.parametrize("loader", ["merge", "beside the weights", "core", "gguf", "fp8"])
def test_the_patch_embedding_goes_along(clip, tmp_path, loader):
    """Trained, exported, and in ComfyUI what the trainer predicts, by every loader and on quantised base models."""
    import comfy.sd
    from safetensors.torch import load_file

    network = made_up(with_lora(patch_embedding=True))
    settings = LoraSettings(RANK, ALPHA, patch_embedding=True)
    loss_of(network, clip).backward()
    met = {
        name for name, parameter in network.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert {name for name in met if "patch" in name} == {
        f"patch_embedding.lora_{factor}.default.weight" for factor in "AB"
    }
    assert len(met) == 2 * (16 + 1)
    path = tmp_path / "patch.safetensors"
    write_lora(path, lora_factors(network), settings, HEADER)
    model = load_base(loader if loader in FORMS else "fp32")
    if loader == "core":
        patched, _ = comfy.sd.load_lora_for_models(model, None, load_file(path), 1.0, 0.0)
        assert len(patched.patches) == 17
    else:
        lora = read_lora(path)
        assert "16 layers in 2 blocks and the patch embedding" in lora.describe()
        patched = apply_lora(model, lora, form=LoraForm(FORMS.get(loader, loader)))
    if loader in FORMS:
        network = made_up(with_lora(weights=stored(loader), patch_embedding=True))
    expected = in_model_scale(run_graph(with_egox(patched, clip), clip, cfg=1.0))
    batch = ClipBatch.of([training_clip(clip)])
    sampled = SampleSettings(steps=3, shift=8.0, cfg=1.0, seed=5)
    torch.testing.assert_close(sample(EgoX(network, None), batch, None, sampled), expected, rtol=0, atol=1e-4)
    with torch.no_grad():
        network.patch_embedding.lora_B["default"].weight.zero_()
    assert (sample(EgoX(network, None), batch, None, sampled) - expected).abs().max() > 0.05


def test_a_lora_with_the_patch_embedding_is_continued_as_such(clip, tmp_path):
    network = made_up(with_lora(patch_embedding=True))
    settings = LoraSettings(RANK, ALPHA, patch_embedding=True)
    write_lora(tmp_path / "patch.safetensors", lora_factors(network), settings, HEADER)
    other = with_lora(seed=1, patch_embedding=True)
    read_lora_into(other, tmp_path / "patch.safetensors", settings)
    assert torch.equal(loss_of(other, clip), loss_of(network, clip))
    with pytest.raises(ValueError, match=r"updates 17 layers and the LoRA to be trained 16; patch_embedding is in one"):
        read_lora_into(with_lora(), tmp_path / "patch.safetensors", LoraSettings(RANK, ALPHA))


def test_cfg_takes_the_negative_text():
    batch = ClipBatch.of([training_clip(made_up_clip())])
    with pytest.raises(ValueError, match="negative text"):
        sample(EgoX(tiny_transformer(), None), batch, None, SampleSettings(steps=1))


def test_weights_of_cells(clip):
    plain, weighed = training_clip(clip), training_clip(clip)
    shape = plain.ego.shape[1:]
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    weighed = replace(weighed, weights=weights)
    batch = ClipBatch.of([plain, weighed])
    assert torch.equal(batch.weights, torch.stack([torch.ones(shape), weights]))
    assert ClipBatch.of([plain]).weights is None
    generator = torch.Generator().manual_seed(4)
    velocity, noise = (torch.randn(batch.ego.shape, generator=generator) for _ in range(2))
    errors = (velocity - (noise - batch.ego)).square()
    of_weighed = sum(float(weights[t, y, x] * errors[1, :, t, y, x].mean()) for t, y, x in product(*map(range, shape)))
    losses = velocity_losses(velocity, batch.ego, noise, batch.weights)
    assert losses[0] == pytest.approx(float(errors[0].mean()), rel=1e-5)
    assert losses[1] == pytest.approx(of_weighed / float(weights.sum()), rel=1e-5)
    with pytest.raises(ValueError, match="one for each cell"):
        replace(plain, weights=weights[:1, :1])
