"""Tell which Wan a MODEL is, and check that it is the one EgoX was trained on: Wan 2.1 image-to-video.

Only the instantiated network is looked at, so files of any format (safetensors, GGUF, fp8) and precision pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

# 16 latent | 4 mask | 16 condition
IN_CHANNELS = 36

WHAT_TO_LOAD = (
    "EgoX needs Wan 2.1 I2V 14B (wan2.1_i2v_480p_14B, or its fp8 or GGUF version): load that with the EgoX loader, or "
    "with Load Diffusion Model and the EgoX LoRA."
)

WAN21_I2V = "Wan 2.1 I2V (it takes CLIP features)"
WAN22_I2V = "Wan 2.2 I2V A14B (it takes no CLIP features)"

# Classes of comfy.ldm.wan beside WanModel itself.
_RELATIVES = {
    "VaceWanModel": "Wan VACE",
    "CameraWanModel": "Wan Fun Camera",
    "WanModel_S2V": "Wan 2.2 S2V (speech to video)",
    "HumoWanModel": "Wan HuMo",
    "AnimateWanModel": "Wan 2.2 Animate",
}


def require_wan21_i2v(model: ModelPatcher) -> Any:
    """Return the `WanModel` inside a MODEL.

    Raises:
        ValueError: if it is anything else than Wan 2.1 I2V, saying what it is and what to load.
    """
    return require_wan(model, WAN21_I2V, WHAT_TO_LOAD)


def require_wan(model: ModelPatcher, wanted: str, what_to_load: str) -> Any:
    """Return the `WanModel` inside a MODEL.

    Args:
        model: MODEL, compiled or not.
        wanted: the name that `what_it_is` gives to the right one.
        what_to_load: what the error tells to do.

    Raises:
        ValueError: if it is anything else, saying what it is.
    """
    network = model.get_model_object("diffusion_model")
    network = getattr(network, "_orig_mod", network)  # some nodes put a compiled module in its place
    if (found := what_it_is(network)) != wanted:
        raise ValueError(f"This model is {found}. {what_to_load}")
    return network


def what_it_is(network: Any) -> str:
    """Return a network's name, for people."""
    name = type(network).__name__
    if not type(network).__module__.startswith("comfy.ldm.wan."):
        return f"no Wan model (its network is {name})"
    if name != "WanModel":
        return _RELATIVES.get(name, f"a relative of Wan ({name})")
    channels = network.patch_embedding.weight.shape[1]
    if channels == IN_CHANNELS:
        return _with_36_channels(network)
    if channels == 16:
        return "a Wan text-to-video model (16 input channels, not 36)"
    if channels == 48 and network.img_emb is None:
        return "Wan 2.2 TI2V 5B (48 input channels, not 36)"
    return f"a Wan Fun Control model ({channels} input channels, not {IN_CHANNELS})"


def _with_36_channels(network: Any) -> str:
    if getattr(network, "ref_conv", None) is not None:
        return "a Wan Fun model with a reference image"
    if network.img_emb is None:
        return WAN22_I2V
    if getattr(network.img_emb, "emb_pos", None) is not None:
        return "Wan 2.1 FLF2V (first and last frame)"
    return WAN21_I2V
