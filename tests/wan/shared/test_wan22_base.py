from __future__ import annotations

import pytest

from exo2ego.networks.weights.wan_kinds import Expert, expert_of
from exo2ego.wan.shared.base_model import files_upstream, require_wan22_i2v

NAMES = {
    "t2v": "a Wan text-to-video model",
    "i2v": "Wan 2.1 I2V",
    "fun_control": "a Wan Fun Control model",
    "vace": "Wan VACE",
    "camera": "Wan Fun Camera",
    "flf2v": "Wan 2.1 FLF2V",
}

HIGH = [
    "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
    "Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors",
    "Wan2.2-I2V-A14B-HighNoise-Q4_K_M.gguf",
    "low_vram/wan22.high.sft",
    "C:\\models\\low\\wan_high-noise.safetensors",
]
LOW = [
    "wan2.2_i2v_low_noise_14B_fp16.safetensors",
    "Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors",
    "Wan2.2-I2V-A14B-LowNoise-Q4_K_M.gguf",
]
UNKNOWN = [
    "wan.safetensors",
    "wan2.2_high_low_merged.safetensors",
    "wan_highres_finetune.safetensors",
    "wan_high-quality.gguf",
    "slow_motion.gguf",
]


def test_the_network_passes(wan22):
    network = wan22.model.diffusion_model
    assert require_wan22_i2v(wan22) is network
    assert require_wan22_i2v(wan22.clone(), ["somewhere/wan2.2_i2v_low_noise_14B.safetensors", "wan.gguf"]) is network


@pytest.mark.parametrize("kind", NAMES)
def test_other_wans_are_named_and_the_right_one_is_told(wrong_bases, tiny_files, kind):
    import comfy.sd

    path = tiny_files["unet"] if kind == "i2v" else wrong_bases[kind]
    with pytest.raises(ValueError, match=f"This model is {NAMES[kind]}.*Wan 2.2 I2V A14B.*low-noise.*load that with"):
        require_wan22_i2v(comfy.sd.load_diffusion_model(str(path)))


def test_float8_weights_pass(wrong_bases):
    import comfy.sd
    import torch

    options = {"dtype": torch.float8_e4m3fn}
    require_wan22_i2v(comfy.sd.load_diffusion_model(str(wrong_bases["i2v_2.2"]), model_options=options))


@pytest.mark.parametrize(
    ("names", "expert"), [(HIGH, Expert.HIGH_NOISE), (LOW, Expert.LOW_NOISE), (UNKNOWN, None)], ids=str
)
def test_experts_by_their_files_names(names, expert):
    assert {expert_of(name) for name in names} == {expert}


@pytest.mark.parametrize("name", HIGH)
def test_the_high_noise_expert_is_refused_where_a_name_tells_it(wan22, name):
    with pytest.raises(ValueError, match=r"high-noise expert of Wan 2\.2, by its name.*low_noise.*rename the file"):
        require_wan22_i2v(wan22, [name])
    wan22.cached_patcher_init = (require_wan22_i2v, (f"/models/{name}", {}))  # as newer versions of ComfyUI keep it
    with pytest.raises(ValueError, match="high-noise expert"):
        require_wan22_i2v(wan22)


def test_the_file_at_the_start_of_a_chain_of_models():
    def node(**inputs):
        return {"class_type": "Any", "inputs": inputs}

    prompt = {
        "1": node(unet_name="base_low_noise.gguf", weight_dtype="default"),
        "2": node(model=["1", 0], lora_name="light_high_noise.safetensors"),
        "3": node(model=["2", 0], shift=5.0),
        "9": node(diffusion=["3", 0], vae_name="other.safetensors"),
        "10": node(diffusion=0),
    }
    assert files_upstream(prompt, "9", "diffusion") == ("base_low_noise.gguf",)
    assert files_upstream(prompt, "3") == ("base_low_noise.gguf",)
    assert files_upstream(prompt, "10", "diffusion") == ()
    assert files_upstream(prompt, "1") == ()
    assert files_upstream(prompt, "77") == ()
