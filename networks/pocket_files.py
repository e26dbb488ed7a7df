"""Where the pocket model's files lie: a models folder as ComfyUI's own, with a folder for each kind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor  # the doctor reads the names without torch

POCKET = Path(__file__).resolve().parents[1] / "pocket"
TRANSFORMER_FILE, VAE_FILE = "exo2ego_pocket_i2v.safetensors", "exo2ego_pocket_vae.safetensors"
FOLDERS = {"diffusion_models": TRANSFORMER_FILE, "vae": VAE_FILE}

# Of Exo2EgoSyn at the pocket's size: the components, and the folder of models that they lie in.
COMPONENTS, COMPONENT_KIND = ("align", "multiexocon", "poseinj", "lora"), "exo2egosyn"

_COMPONENT_FILES = {component: f"exo2ego_pocket_{component}.safetensors" for component in COMPONENTS}
FILE_NAMES = frozenset([*FOLDERS.values(), *_COMPONENT_FILES.values()])

# What takes CLIP's features in Wan 2.1 I2V; Wan 2.2 I2V is the same network without.
_OF_CLIP = ("img_emb.", ".k_img.", ".v_img.", ".norm_k_img.")

# In a component's header: the transformer that it was trained on, by `fingerprint`.
TRAINED_ON = "pocket_transformer"

Weight = TypeVar("Weight")


def pocket_file(kind: str, folder: Path = POCKET) -> Path:
    """Return the file of one of ComfyUI's kinds of models."""
    return folder / kind / FOLDERS[kind]


def component_file(component: str, folder: Path = POCKET) -> Path:
    """Return the file of one of `COMPONENTS`."""
    return folder / COMPONENT_KIND / _COMPONENT_FILES[component]


def without_clip(weights: Mapping[str, Weight]) -> dict[str, Weight]:
    """Return the pocket transformer's weights, in ComfyUI's names, as Wan 2.2 I2V has them."""
    return {name: value for name, value in weights.items() if not any(part in name for part in _OF_CLIP)}


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return what tells one pocket transformer from another: a digest of its weights in half precision.

    Cross-attention does not count, which MultiExoCon replaces.
    """
    digest = hashlib.sha256()
    for name in sorted(without_clip(weights)):
        if ".cross_attn." not in name:
            digest.update(weights[name].detach().half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
