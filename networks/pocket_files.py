"""Where the pocket model's files lie: a models folder as ComfyUI's own, with a folder for each kind."""

from __future__ import annotations

from pathlib import Path

POCKET = Path(__file__).resolve().parents[1] / "pocket"
TRANSFORMER_FILE, VAE_FILE = "exo2ego_pocket_i2v.safetensors", "exo2ego_pocket_vae.safetensors"
FOLDERS = {"diffusion_models": TRANSFORMER_FILE, "vae": VAE_FILE}


def pocket_file(kind: str, folder: Path = POCKET) -> Path:
    """Return the file of one of ComfyUI's kinds of models."""
    return folder / kind / FOLDERS[kind]
