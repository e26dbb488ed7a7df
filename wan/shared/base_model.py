"""Check that a MODEL is the Wan that a method was trained on: Wan 2.1 I2V for EgoX, Wan 2.2 I2V for Exo2EgoSyn.

Only the instantiated network is looked at, so files of any format (safetensors, GGUF, fp8) and precision pass. It tells
everything but which expert of Wan 2.2 it is. Only a file's name can tell that, where a name is known: ComfyUI's MODEL
need not know its file. A name that says nothing is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ...networks.weights.wan_kinds import (
    RELATIVES,
    WAN21_I2V,
    WAN22_I2V,
    WHAT_TO_LOAD_21,
    WHAT_TO_LOAD_22,
    is_high_noise,
    wan_name,
)

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_MODEL_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")


def require_wan21_i2v(model: ModelPatcher) -> Any:
    """Return the `WanModel` inside a MODEL, compiled or not, in any precision.

    Raises:
        ValueError: if it is anything else than Wan 2.1 I2V, saying what it is and what to load.
    """
    return _require(model, WAN21_I2V, WHAT_TO_LOAD_21)


def require_wan22_i2v(model: ModelPatcher, files: Iterable[str] = ()) -> Any:
    """Return the `WanModel` inside a MODEL.

    Args:
        model: MODEL, compiled or not, in any precision.
        files: names of the files it may have been loaded from, beside the one that it knows itself.

    Raises:
        ValueError: for any other model, or for the high-noise expert where a file's name tells it.
    """
    network = _require(model, WAN22_I2V, WHAT_TO_LOAD_22)
    for file in (*files, *own_file(model)):
        if is_high_noise(file):
            raise ValueError(
                f"{PurePosixPath(file).name} is the high-noise expert of Wan 2.2, by its name; Exo2EgoSyn samples "
                f"every step with the low-noise one. {WHAT_TO_LOAD_22} If the name is wrong, rename the file."
            )
    return network


def require_wan_i2v(model: ModelPatcher) -> Any:
    """Return the `WanModel` inside a MODEL of either method, see `require_wan21_i2v` and `require_wan22_i2v`.

    Raises:
        ValueError: for any other model.
    """
    wanted = WAN22_I2V if what_it_is(_network(model)) == WAN22_I2V else WAN21_I2V
    return _require(model, wanted, f"{WHAT_TO_LOAD_21} {WHAT_TO_LOAD_22}")


def what_it_is(network: Any) -> str:
    """Return a network's name, for people: what `wan_kind` says of its file."""
    name = type(network).__name__
    if not type(network).__module__.startswith("comfy.ldm.wan."):
        return f"not a Wan model (its network is {name})"
    if name != "WanModel":
        known = {relative.network: relative.name for relative in RELATIVES}
        return known.get(name, f"a relative of Wan ({name})")
    clip = network.img_emb
    return wan_name(
        network.patch_embedding.weight.shape[1],
        has_clip=clip is not None,
        has_reference=getattr(network, "ref_conv", None) is not None,
        has_last_frame=getattr(clip, "emb_pos", None) is not None,
    )


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


def _require(model: ModelPatcher, wanted: str, what_to_load: str) -> Any:
    network = _network(model)
    if (found := what_it_is(network)) != wanted:
        raise ValueError(f"This model is {found}. {what_to_load}")
    return network


def _network(model: ModelPatcher) -> Any:
    network = model.get_model_object("diffusion_model")
    return getattr(network, "_orig_mod", network)  # some nodes put a compiled module in its place


def _model_files(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value.lower().endswith(_MODEL_SUFFIXES))
