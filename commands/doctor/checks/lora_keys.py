"""Would the LoRA load: does every key name a layer of Wan, and does it fit the base model?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ....networks.weights.lora_keys import block_of
from ....networks.weights.lora_layers import WHAT_FILE, factors_by_layer, saved_alpha
from ..findings import Finding, Severity
from ..reading.file_kinds import wan_prefix, wan_size
from ..reading.library import Library
from ..reading.weights import DamagedFileError, Entry

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
    weights = library.header(base).tensors
    return _check_fits(path.name, layers, base.name, weights)


def _check_fits(
    file: str, layers: Mapping[str, Mapping[str, Entry]], base: str, weights: Mapping[str, Entry]
) -> list[Finding]:
    """Compare the number of blocks, and the size of each update with the weight that it is added to."""
    prefix, size = wan_prefix(weights), wan_size(weights)
    if prefix is None or size is None:
        return []
    blocks = len({block_of(layer) for layer in layers})
    if blocks != size[1]:
        return [_misfit(f"{file} updates {blocks} blocks, and {base} has {size[1]}")]
    for layer, factors in layers.items():
        update = (factors["up"].shape[0], factors["down"].shape[1])
        weight = weights.get(f"{prefix}{layer}.weight")
        if weight is None or weight.shape != update:
            there = "none" if weight is None else f"one of {weight.shape[0]} x {weight.shape[1]}"
            return [_misfit(f"{file} updates {layer} by {update[0]} x {update[1]}, and {base} has {there}")]
    return []


def _misfit(found: str) -> Finding:
    remedy = f"Choose another LoRA or another base model. {WHAT_FILE} It goes on Wan 2.1 I2V 14B."
    return _finding(found, "a LoRA that was trained on this base model", remedy)


def _finding(found: str, expected: str, remedy: str) -> Finding:
    return Finding(_CHECK, Severity.ERROR, found, expected, remedy)
