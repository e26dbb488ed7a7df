"""Name the members of Wan's family, by what tells them apart in a network and in a file's header alike.

The tensors asked for are those by which ComfyUI itself tells the models apart (comfy/model_detection.py). Neither
ComfyUI nor torch is imported, so that commands without them can ask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from ...common.wan_grid import I2V_CHANNELS, LATENT_CHANNELS
from .headers import Shaped

WAN21_I2V = "Wan 2.1 I2V (it takes CLIP features)"
WAN22_I2V = "Wan 2.2 I2V A14B (it takes no CLIP features)"

WHAT_TO_LOAD_21 = (
    "EgoX needs Wan 2.1 I2V 14B (wan2.1_i2v_480p_14B, or its fp8 or GGUF version): load that with the EgoX loader, or "
    "with Load Diffusion Model and the EgoX LoRA."
)
WHAT_TO_LOAD_22 = (
    "Exo2EgoSyn needs Wan 2.2 I2V A14B, its low-noise expert (wan2.2_i2v_low_noise_14B, in fp16, fp8 or GGUF): load "
    "that with Load Diffusion Model or a GGUF loader."
)

_TI2V_CHANNELS = 48
_PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "model.")

# wan2.2_i2v_high_noise_14B_fp8_scaled, Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ, Wan2.2-I2V-A14B-HighNoise-Q4_K_M.
# "High" says something of its own before these words.
_EXPERT = r"(?<![a-z]){}(?:[-_. ]?noise)?(?![a-z])(?![-_. ]?(?:res|quality|motion))"


@dataclass(frozen=True)
class Relative:
    """A network of comfy.ldm.wan other than WanModel.

    Attributes:
        name: for people.
        network: its class.
        tensor: that no other of Wan's family has.
    """

    name: str
    network: str
    tensor: str


# In the order in which ComfyUI asks.
RELATIVES = (
    Relative("Wan VACE", "VaceWanModel", "vace_patch_embedding.weight"),
    Relative("Wan Fun Camera", "CameraWanModel", "control_adapter.conv.weight"),
    Relative("Wan 2.2 S2V (speech to video)", "WanModel_S2V", "casual_audio_encoder.encoder.final_linear.weight"),
    Relative("Wan HuMo", "HumoWanModel", "audio_proj.audio_proj_glob_1.layer.bias"),
    Relative("Wan 2.2 Animate", "AnimateWanModel", "face_adapter.fuser_blocks.0.k_norm.weight"),
)


class Expert(Enum):
    """Wan 2.2 A14B's two networks: one for noise levels from 0.9 up, one for those below."""

    HIGH_NOISE = "high"
    LOW_NOISE = "low"


def expert_of(file: str) -> Expert | None:
    """Return which expert a file holds by its name, or None where the name tells nothing or both.

    Nothing else tells it: both experts have the same tensors, trained on different noise, and no statistic of the
    weights separates them soundly (fine-tunes and quantised files move them all).
    """
    name = PurePosixPath(file.replace("\\", "/")).name.lower()
    found = {expert for expert in Expert if re.search(_EXPERT.format(expert.value), name)}
    return found.pop() if len(found) == 1 else None


def is_high_noise(file: str) -> bool:
    """Whether a file holds Wan 2.2's high-noise expert, by its name."""
    return expert_of(file) is Expert.HIGH_NOISE


def wan_name(channels: int, *, has_clip: bool, has_reference: bool, has_last_frame: bool) -> str:
    """Return the name of a WanModel, for people.

    Args:
        channels: of its input.
        has_clip: whether it takes CLIP features (`img_emb`).
        has_reference: whether it takes a reference image (`ref_conv`).
        has_last_frame: whether its CLIP features have positions, for a first and a last frame (`img_emb.emb_pos`).
    """
    if channels == LATENT_CHANNELS:
        return f"a Wan text-to-video model ({LATENT_CHANNELS} input channels, not {I2V_CHANNELS})"
    if channels == _TI2V_CHANNELS and not has_clip:
        return f"Wan 2.2 TI2V 5B ({_TI2V_CHANNELS} input channels, not {I2V_CHANNELS})"
    if channels != I2V_CHANNELS:
        return f"a Wan Fun Control model ({channels} input channels, not {I2V_CHANNELS})"
    if has_reference:
        return "a Wan Fun model with a reference image"
    if not has_clip:
        return WAN22_I2V
    return "Wan 2.1 FLF2V (first and last frame)" if has_last_frame else WAN21_I2V


def wan_kind(tensors: Mapping[str, Shaped]) -> str | None:
    """Return the name of the model that a file's tensors make; None if it is not a transformer of Wan's family."""
    prefix = wan_prefix(tensors)
    patches = None if prefix is None else tensors.get(f"{prefix}patch_embedding.weight")
    if patches is None or len(patches.shape) < 2:
        return None
    names = {name.removeprefix(prefix or "") for name in tensors}
    relative = next((relative.name for relative in RELATIVES if relative.tensor in names), None)
    return relative or wan_name(
        patches.shape[1],
        has_clip="img_emb.proj.0.bias" in names,
        has_reference="ref_conv.weight" in names,
        has_last_frame="img_emb.emb_pos" in names,
    )


def wan_prefix(tensors: Mapping[str, Shaped]) -> str | None:
    """Return what stands before the names of a Wan transformer's tensors; None if there is none."""
    return next((prefix for prefix in _PREFIXES if f"{prefix}head.modulation" in tensors), None)


def wan_size(tensors: Mapping[str, Shaped]) -> tuple[int, int] | None:
    """Return width and number of blocks of a Wan transformer; None if there is none."""
    prefix = wan_prefix(tensors)
    if prefix is None:
        return None
    if not tensors[f"{prefix}head.modulation"].shape:
        return None
    block = re.compile(re.escape(prefix) + r"blocks\.(\d+)\.")
    blocks = {match[1] for match in map(block.match, tensors) if match}
    return tensors[f"{prefix}head.modulation"].shape[-1], len(blocks)
