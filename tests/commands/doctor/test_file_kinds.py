"""The header tells the same as the network that ComfyUI makes of the file."""

from __future__ import annotations

import pytest

from exo2ego.networks.weights.file_kinds import IMAGE_ENCODER, LORA, TEXT_ENCODER, VAE, kind_of
from exo2ego.networks.weights.headers import Entry, Header, read_header
from exo2ego.networks.weights.wan_kinds import WAN21_I2V, WAN22_I2V
from exo2ego.wan.shared.base_model import what_it_is
from support.comfyui import import_comfyui
from support.tiny_gguf import write_gguf
from support.tiny_models import WRONG_BASES, write_wrong_bases
from support.tiny_wan import wan_state_dict

from .conftest import BASE, BASE_22
from .conftest import LORA as LORA_FILE

import_comfyui()


@pytest.fixture(scope="module")
def wrong_bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    return {kind: folder / "diffusion_models" / name for kind, name in write_wrong_bases(folder).items()}


def header(*names, **shaped):
    """A header with these tensors."""
    tensors = {name: Entry((4,), "F32") for name in names} | {key: Entry(shape, "F32") for key, shape in shaped.items()}
    return Header(tensors, {}, 0)


@pytest.mark.parametrize("kind", WRONG_BASES)
def test_as_comfyui_has_it(wrong_bases, kind):
    import comfy.sd

    network = comfy.sd.load_diffusion_model(str(wrong_bases[kind])).model.diffusion_model
    assert kind_of(read_header(wrong_bases[kind])) == what_it_is(network)


def test_the_right_ones(tiny_files):
    expected = {
        ("diffusion_models", BASE): WAN21_I2V,
        ("diffusion_models", BASE_22): WAN22_I2V,
        ("vae", "wan_2.1_vae.safetensors"): VAE,
        ("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"): TEXT_ENCODER,
        ("clip_vision", "clip_vision_h.safetensors"): IMAGE_ENCODER,
        ("loras", LORA_FILE): LORA,
    }
    assert {key: kind_of(read_header(tiny_files[key])) for key in expected} == expected


def test_gguf_and_prefixes(tmp_path):
    path = write_gguf(tmp_path / "wan.gguf", wan_state_dict("i2v_2.2"))
    assert kind_of(read_header(path)) == WAN22_I2V
    tensors = {f"model.diffusion_model.{name}": Entry(tuple(t.shape), "F32") for name, t in wan_state_dict().items()}
    assert kind_of(Header(tensors, {}, 0)) == WAN21_I2V


def test_relatives_of_encoders():
    assert kind_of(
        header("decoder.middle.0.residual.0.gamma", "decoder.upsamples.0.upsamples.0.residual.2.weight")
    ) == ("Wan 2.2's VAE (for the 5B model)")
    feed_forward = "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"
    bias = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"
    assert "Wan was not trained with" in kind_of(header(**{feed_forward: (10240, 4096)}))
    assert kind_of(header(bias, **{feed_forward: (10240, 4096)})) == TEXT_ENCODER
    assert "width 1024" in kind_of(header(**{"vision_model.embeddings.class_embedding": (1024,)}))
    assert kind_of(header("decoder.conv_in.weight")) == "a VAE of another model"
    assert kind_of(header("double_blocks.0.img_attn.qkv.weight")) is None


def test_a_lora_of_another_model_is_none_for_wan():
    assert kind_of(header("lora_unet_down_blocks_0_attentions_0_to_q.lora_up.weight")) is None
