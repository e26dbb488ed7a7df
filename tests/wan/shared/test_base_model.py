from __future__ import annotations

import pytest

from exo2ego.wan.egox.lora import apply_lora, read_lora
from exo2ego.wan.shared.base_model import require_wan21_i2v, require_wan_i2v
from support.egox_graph import with_egox, with_gga

NAMES = {
    "t2v": "a Wan text-to-video model",
    "i2v_2.2": "Wan 2.2 I2V A14B",
    "fun_control": "a Wan Fun Control model",
    "vace": "Wan VACE",
    "camera": "Wan Fun Camera",
    "flf2v": "Wan 2.1 FLF2V",
}


def test_wan21_i2v_passes(model):
    assert require_wan21_i2v(model) is model.model.diffusion_model
    assert require_wan21_i2v(model.clone()) is model.model.diffusion_model


@pytest.mark.parametrize("kind", NAMES)
def test_other_wans_are_named_and_the_right_one_is_told(wrong_bases, tiny_files, clip, kind):
    import comfy.sd

    wrong = comfy.sd.load_diffusion_model(str(wrong_bases[kind]))
    uses = (
        require_wan21_i2v,
        lambda model: with_egox(model, clip),
        lambda model: with_gga(model, clip),
        lambda model: apply_lora(model, read_lora(tiny_files["lora"])),
    )
    for use in uses:
        with pytest.raises(ValueError, match=f"This model is {NAMES[kind]}.*needs Wan 2.1 I2V 14B"):
            use(wrong)


def test_either_methods_wan_passes_where_both_may(model, wrong_bases):
    import comfy.sd

    assert require_wan_i2v(model) is model.model.diffusion_model
    wan22 = comfy.sd.load_diffusion_model(str(wrong_bases["i2v_2.2"]))
    assert require_wan_i2v(wan22) is wan22.model.diffusion_model
    vace = comfy.sd.load_diffusion_model(str(wrong_bases["vace"]))
    with pytest.raises(ValueError, match=r"This model is Wan VACE.*needs Wan 2\.1 I2V 14B.*needs Wan 2\.2 I2V A14B"):
        require_wan_i2v(vace)


def test_other_families_are_named():
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models
    import torch

    config = {"image_model": "hunyuan3d2", "in_channels": 4, "context_in_dim": 8, "hidden_size": 8, "mlp_ratio": 1.0}
    config |= {"num_heads": 1, "depth": 1, "depth_single_blocks": 1, "qkv_bias": True, "guidance_embed": False}
    settings = comfy.supported_models.Hunyuan3Dv2(config)
    settings.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    other = comfy.model_patcher.ModelPatcher(settings.get_model({}), cpu, cpu)
    with pytest.raises(ValueError, match=r"not a Wan model \(its network is Hunyuan3Dv2\)"):
        require_wan21_i2v(other)


def test_a_compiled_network_in_its_place_passes(model):
    import torch

    compiled = model.clone()
    compiled.add_object_patch("diffusion_model", torch.compile(model.model.diffusion_model, backend="eager"))
    assert require_wan21_i2v(compiled) is model.model.diffusion_model


def test_float8_weights_pass(tiny_files):
    import comfy.sd
    import torch

    model = comfy.sd.load_diffusion_model(str(tiny_files["unet"]), model_options={"dtype": torch.float8_e4m3fn})
    require_wan21_i2v(model)
