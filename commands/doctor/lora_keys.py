"""Would the LoRA load: does every key name a layer of Wan, and does it fit the base model?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...networks.weights.headers import DamagedFileError, Entry
from ...networks.weights.lora_layers import WHAT_FILE, factors_by_layer, misfit, saved_alpha, update_size
from ...networks.weights.wan_kinds import wan_prefix, wan_size
from .findings import Finding, Severity
from .library import Library

_CHECK = "lora keys"
_EXPECTED = "two factors for the same layers of every block of Wan, under names that ComfyUI or diffusers use"


def check_lora(library: Library, path: Path, base: Path | None) -> list[Finding]:
    """Check a LoRA as EgoX LoRA Loader will, by its header.

    Args:
        library: reads the headers.
        path: the LoRA.
        base: the base model that it goes on, where one is there.
    """
    try:
        header = library.header(path)
    except DamagedFileError as error:
        return [_finding(f"{path.name}: {error.found}", _EXPECTED, error.remedy)]
    try:
        layers = factors_by_layer(path.name, header.tensors)
        saved_alpha(path.name, header.strings)
    except ValueError as error:
        return [_finding(str(error), _EXPECTED, f"{WHAT_FILE} Put it into {path.parent}, and choose it in the loader.")]
    if base is None:
        return []
    found = _misfit(path.name, layers, base.name, library.header(base).tensors)
    if found is None:
        return []
    remedy = f"Choose another LoRA or another base model. {WHAT_FILE} It goes on Wan 2.1 I2V 14B."
    return [_finding(found, "a LoRA that was trained on this base model", remedy)]


def _misfit(
    file: str, layers: Mapping[str, Mapping[str, Entry]], base: str, weights: Mapping[str, Entry]
) -> str | None:
    prefix, size = wan_prefix(weights), wan_size(weights)
    if prefix is None or size is None:
        return None
    updates = {layer: update_size(factors["down"], factors["up"]) for layer, factors in layers.items()}

    def weight_shape(layer: str) -> tuple[int, ...] | None:
        weight = weights.get(f"{prefix}{layer}.weight")
        return None if weight is None else weight.shape

    return misfit(file, updates, base, size[1], weight_shape)


def _finding(found: str, expected: str, remedy: str) -> Finding:
    return Finding(_CHECK, Severity.ERROR, found, expected, remedy)
