"""Write the tiny random-weight models that tests and the demo feed to a real ComfyUI."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from .tiny_encoders import clip_vision_state_dict, umt5_state_dict
from .tiny_vae import vae_state_dict
from .tiny_wan import egox_lora_state_dict, wan_state_dict

# role: (ComfyUI's folder, file name)
FILES = {
    "unet": ("diffusion_models", "tiny_wan2.1_i2v.safetensors"),
    "vae": ("vae", "tiny_wan2.1_vae.safetensors"),
    "lora": ("loras", "tiny_egox_lora.safetensors"),
    "clip": ("text_encoders", "tiny_umt5.safetensors"),
    "clip_vision": ("clip_vision", "tiny_clip_vision.safetensors"),
}

WRONG_BASES = ("t2v", "i2v_2.2", "fun_control", "vace", "camera", "flf2v")


def write_tiny_models(models_dir: Path) -> dict[str, str]:
    """Write a tiny model of every role below ComfyUI's models folder, the same bytes every time.

    `clip` and `clip_vision` need the loaders of `standin_nodes`; the others load with stock nodes.

    Returns:
        File name by role: unet, vae, lora, clip, clip_vision.
    """
    makers = {
        "unet": wan_state_dict,
        "vae": vae_state_dict,
        "lora": egox_lora_state_dict,
        "clip": umt5_state_dict,
        "clip_vision": clip_vision_state_dict,
    }
    for role, (folder, name) in FILES.items():
        _save(makers[role](), models_dir / folder / name)
    return {role: name for role, (_, name) in FILES.items()}


def write_wrong_bases(models_dir: Path) -> dict[str, str]:
    """Write a tiny model of every kind that is no Wan 2.1 I2V; returns file name by kind."""
    names = {kind: f"tiny_wan_{kind}.safetensors" for kind in WRONG_BASES}
    for kind, name in names.items():
        _save(wan_state_dict(kind), models_dir / "diffusion_models" / name)
    return names


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
