"""Check that a MODEL is the one Exo2EgoSyn builds on: Wan 2.2 I2V A14B, the low-noise expert.

The network tells everything but the expert: both experts have the same tensors, trained on different noise. No
statistic of the weights separates them soundly (fine-tunes and quantised files move them all), and ComfyUI's MODEL
need not know its file. So only a file's name can tell, where a name is known; a name that says nothing is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from .wan_kinds import WAN22_I2V, require_wan

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

WHAT_TO_LOAD = (
    "Exo2EgoSyn needs Wan 2.2 I2V A14B, its low-noise expert (wan2.2_i2v_low_noise_14B, in fp16, fp8 or GGUF): load "
    "that with Load Diffusion Model or a GGUF loader."
)

# wan2.2_i2v_high_noise_14B_fp8_scaled, Wan2_2-I2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ, Wan2.2-I2V-A14B-HighNoise-Q4_K_M.
# "High" says something of its own before these words.
_EXPERT = r"(?<![a-z]){}(?:[-_. ]?noise)?(?![a-z])(?![-_. ]?(?:res|quality|motion))"
_MODEL_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")


class Expert(Enum):
    """Wan 2.2 A14B's two networks: one for noise levels from 0.9 up, one for those below."""

    HIGH_NOISE = "high"
    LOW_NOISE = "low"


def require_wan22_i2v(model: ModelPatcher, files: Iterable[str] = ()) -> Any:
    """Return the `WanModel` inside a MODEL.

    Args:
        model: MODEL, compiled or not, in any precision.
        files: names of the files it may have been loaded from, beside the one that it knows itself.

    Raises:
        ValueError: for any other model, or for the high-noise expert where a file's name tells it.
    """
    network = require_wan(model, WAN22_I2V, WHAT_TO_LOAD)
    for file in (*files, *own_file(model)):
        if expert_of(file) is Expert.HIGH_NOISE:
            raise ValueError(
                f"{PurePosixPath(file).name} is the high-noise expert of Wan 2.2, by its name; Exo2EgoSyn samples "
                f"every step with the low-noise one. {WHAT_TO_LOAD} If the name is wrong, rename the file."
            )
    return network


def expert_of(file: str) -> Expert | None:
    """Return which expert a file holds by its name, or None where the name tells nothing or both."""
    name = PurePosixPath(file.replace("\\", "/")).name.lower()
    found = {expert for expert in Expert if re.search(_EXPERT.format(expert.value), name)}
    return found.pop() if len(found) == 1 else None


def own_file(model: ModelPatcher) -> tuple[str, ...]:
    """Return the file that a MODEL was loaded from, where this ComfyUI keeps it (newer ones do, 0.3.75 does not)."""
    loader = getattr(model, "cached_patcher_init", None)  # (function, arguments)
    return () if loader is None else _model_files(loader[1])


def files_upstream(prompt: Mapping[str, Any], node: str, name: str = "model") -> tuple[str, ...]:
    """Return the files that the loader at the start of a chain of MODEL links names.

    Loaders of every pack name their file in a text, and what patches a model takes it through an input "model". Only
    the loader counts: a LoRA on the way may well be named after the other expert.

    Args:
        prompt: the graph in API format, as a node's hidden input `prompt` has it.
        node: the number of the node where the chain ends.
        name: its input.
    """
    loader = None
    while isinstance(link := prompt.get(loader or node, {}).get("inputs", {}).get(name), list):
        loader, name = str(link[0]), "model"
    return () if loader is None else _model_files(prompt.get(loader, {}).get("inputs", {}).values())


def _model_files(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value.lower().endswith(_MODEL_SUFFIXES))
