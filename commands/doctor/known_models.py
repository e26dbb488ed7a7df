"""Sizes of the models that the shipped workflows name: what a download page shows, so that a short file is seen.

Which models there are, and where each belongs, is read from the workflows; this table adds what they do not say. The
README's table of models is held against it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...networks.pretrained_files import CAPTION, DEPTH_PRO, DETECTOR, MASKS, POSE


@dataclass(frozen=True)
class KnownModel:
    """What the workflows' widgets do not say of a model.

    Attributes:
        gigabytes: size of the file, or of all shards and files, in 10^9 bytes.
        source: where it comes from, in words; its address where it can be downloaded under its very name. The
            workflows carry that address, too, so that the editor offers the download.
        optional: whether the workflow can be used without it.
        is_public: whether it can be had at all; otherwise only who trains it has it.
        license: of the file, where it is not that of the model it belongs to.
    """

    gigabytes: float
    source: str
    optional: bool = False
    is_public: bool = True
    license: str = ""


_HUB = "https://huggingface.co/"
_WAN_21 = f"{_HUB}Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/"
_WAN_22 = f"{_HUB}Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files/"
_LIGHTX2V = f"{_HUB}lightx2v/Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v/resolve/main/loras/"
_EXO2EGOSYN = "a training run of Exo2EgoSyn writes it; no weights are public yet"

# By file name without the number of a shard. Sizes of Exo2EgoSyn's parts: 2 bytes a parameter, align and poseinj 4.
KNOWN = {
    "wan2.1_i2v_480p_14B_fp8_scaled.safetensors": KnownModel(
        17, f"{_WAN_21}diffusion_models/wan2.1_i2v_480p_14B_fp8_scaled.safetensors"
    ),
    "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors": KnownModel(
        14, f"{_WAN_22}diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"
    ),
    "egox_lora_rank256.safetensors": KnownModel(
        1.7, "pytorch_lora_weights.safetensors of the EgoX release, under this name"
    ),
    "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors": KnownModel(
        0.74, f"{_LIGHTX2V}Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors", license="Apache 2.0"
    ),
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors": KnownModel(
        6.7, f"{_WAN_21}text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    ),
    "wan_2.1_vae.safetensors": KnownModel(0.25, f"{_WAN_21}vae/wan_2.1_vae.safetensors"),
    "clip_vision_h.safetensors": KnownModel(1.3, f"{_WAN_21}clip_vision/clip_vision_h.safetensors"),
    **{
        source.default: KnownModel(source.gigabytes, f"the files of {source.repository} (Hugging Face)", optional)
        for source, optional in ((DEPTH_PRO, True), (DETECTOR, False), (POSE, False), (MASKS, True), (CAPTION, True))
    },
    "exo2egosyn_align.safetensors": KnownModel(0.2, _EXO2EGOSYN, is_public=False),
    "exo2egosyn_multiexocon.safetensors": KnownModel(8.4, f"three shards; {_EXO2EGOSYN}", is_public=False),
    "exo2egosyn_poseinj.safetensors": KnownModel(0.13, _EXO2EGOSYN, is_public=False),
    "exo2egosyn_lora.safetensors": KnownModel(0.42, _EXO2EGOSYN, is_public=False),
    "exo2egosyn_vawan.safetensors": KnownModel(1.1, _EXO2EGOSYN, is_public=False),
}
