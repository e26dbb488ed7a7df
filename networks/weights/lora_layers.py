"""Sort the tensors of a LoRA file by Wan's layers, and check that they are a whole LoRA.

Names, shapes and the header's strings are all that is looked at, so tensors may be real or only described by a file's
header. Neither ComfyUI nor torch is imported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from ...common.messages import few
from .headers import Shaped
from .lora_keys import PATCH_EMBEDDING, block_of, blocks_of, split_key, within_block

if TYPE_CHECKING:
    from torch import Tensor

WHAT_FILE = "Choose EgoX's LoRA: pytorch_lora_weights.safetensors of the release."
_OTHER_LORAS = "Load LoRAs of other models or for other layers with LoraLoaderModelOnly."
DIFFUSERS_METADATA = "lora_adapter_metadata"
_BYTES_OF_BF16 = 2
# How the types begin that are no floating-point numbers: torch's, and those of a safetensors header.
_INTEGERS = ("torch.int", "torch.uint", "torch.bool", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")


T = TypeVar("T", bound=Shaped)


def factors_by_layer(file: str, tensors: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Return the factors ("down" [rank, inputs], "up" [outputs, rank], "alpha") of each layer of ComfyUI's Wan.

    Those of the patch embedding, a convolution, are [rank, channels, 1, 2, 2] and [outputs, rank, 1, 1, 1].

    Args:
        file: the file's name, for errors.
        tensors: by the file's own names.

    Raises:
        ValueError: for keys of another model, keys of which only some map to layers, blocks that differ, factors that
            are missing or do not fit together, and integers.
    """
    factors: dict[str, dict[str, T]] = {}
    unknown = []
    for key, tensor in tensors.items():
        if (split := split_key(key)) is None:
            unknown.append(key)
            continue
        layer, factor = split
        if factor in factors.setdefault(layer, {}):
            raise ValueError(
                f"{file} holds the factor {factor} of {layer} twice, {key} is the second. Export one LoRA to a file."
            )
        factors[layer][factor] = tensor
    shown = f" ({few(unknown)})" if unknown else ""
    if not factors:
        raise ValueError(
            f"{file} contains no LoRA for Wan: none of its {len(tensors)} keys names a layer of Wan{shown}. "
            f"{WHAT_FILE} {_OTHER_LORAS}"
        )
    if unknown:
        raise ValueError(
            f"{file}: {len(unknown)} of {len(tensors)} keys name no layer of Wan's blocks{shown}. Loading the "
            f"rest would give a half-applied LoRA. {WHAT_FILE} {_OTHER_LORAS}"
        )
    _check_blocks_are_alike(file, factors)
    for layer, found in factors.items():
        _check_pair(file, layer, found)
    try:
        check_floating(tensors)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return factors


def check_floating(tensors: Mapping[str, Shaped]) -> None:
    """Check that a LoRA's tensors, or their entries in a header, hold floating-point numbers; an alpha may be any.

    Integers mean nothing without the scale that their exporter kept elsewhere.

    Raises:
        ValueError: naming the first that does not.
    """
    for name, tensor in tensors.items():
        dtype = str(getattr(tensor, "dtype", ""))
        if dtype.startswith(_INTEGERS) and not name.endswith("alpha"):
            raise ValueError(
                f"{name} holds {dtype.removeprefix('torch.')} numbers without a scale, expected floating-point numbers "
                "(bf16, fp16, fp32 or fp8). Export the LoRA without quantization."
            )


def read_factor(factor: Tensor) -> Tensor:
    """Return a factor as the model computes: one that was saved in float32 as bfloat16, in half the memory."""
    return factor.bfloat16() if factor.element_size() > _BYTES_OF_BF16 else factor


def update_size(down: Shaped, up: Shaped) -> tuple[int, int]:
    """Return outputs and inputs of what two factors update; the inputs of a convolution are those of a patch."""
    return up.shape[0], math.prod(down.shape[1:])


def misfit(
    file: str,
    updates: Mapping[str, tuple[int, int]],
    base: str,
    n_blocks: int,
    weight_shape: Callable[[str], tuple[int, ...] | None],
) -> str | None:
    """Return how a LoRA differs in size from a base model, None where it fits.

    Args:
        file: the LoRA's name, for the message.
        updates: [outputs, inputs] of each layer's update.
        base: the base model's name, for the message.
        n_blocks: its number of blocks.
        weight_shape: gives the shape [outputs, inputs, ...] of a layer's weight, None where it has no such layer.
    """
    blocks = len(blocks_of(updates))
    if blocks != n_blocks:
        return f"{file} updates {blocks} blocks, and {base} has {n_blocks}"
    for layer, update in updates.items():
        shape = weight_shape(layer)
        weight = None if shape is None else (shape[0], math.prod(shape[1:]))
        if weight != update:
            there = "none" if weight is None else f"one of {weight[0]} x {weight[1]}"
            return f"{file} updates {layer} by {update[0]} x {update[1]}, and {base} has {there}"
    return None


def saved_alpha(file: str, metadata: Mapping[str, str]) -> float | None:
    """Return the alpha that newer versions of diffusers write into the file's header, or None.

    Raises:
        ValueError: for LoRAs that are more than two factors and one alpha.
    """
    if DIFFUSERS_METADATA not in metadata:
        return None
    try:
        saved = json.loads(metadata[DIFFUSERS_METADATA])
        config = {key.removeprefix("transformer."): value for key, value in saved.items()}
        alpha = config.get("lora_alpha")
        alpha = None if alpha is None else float(alpha)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{file}: {DIFFUSERS_METADATA} in its header cannot be read ({error}). Export it again."
        ) from error
    if alpha is not None and not math.isfinite(alpha):
        raise ValueError(f"{file}: lora_alpha in its header is {alpha}, expected a finite number. Export it again.")
    for special in ("alpha_pattern", "use_rslora", "use_dora"):
        if config.get(special):
            raise ValueError(f"{file} was trained with {special}, which is not supported: export a plain LoRA.")
    return alpha


def _check_blocks_are_alike(file: str, factors: Mapping[str, Mapping[str, Shaped]]) -> None:
    blocks: dict[int, set[str]] = {}
    for layer, found in factors.items():
        if (block := block_of(layer)) is not None:
            blocks.setdefault(block, set()).update(f"{within_block(layer)} ({factor})" for factor in found)
    if not blocks:
        raise ValueError(f"{file} updates the patch embedding alone, and none of Wan's blocks. {WHAT_FILE}")
    everywhere = set.union(*blocks.values())
    for block in range(1 + max(blocks)):
        if missing := everywhere - blocks.get(block, set()):
            raise ValueError(
                f"{file} is not whole: block {block} lacks {', '.join(sorted(missing)[:4])}, which other blocks have. "
                "Download or export it again."
            )


def _check_pair(file: str, layer: str, factors: Mapping[str, Shaped]) -> None:
    if "down" not in factors or "up" not in factors:
        there = "down (lora_A)" if "down" in factors else "up (lora_B)"
        raise ValueError(f"{file} is not whole: {layer} has only {there}. Download or export it again.")
    down, up = tuple(factors["down"].shape), tuple(factors["up"].shape)
    is_patch = layer == PATCH_EMBEDDING
    sides = 5 if is_patch else 2
    if len(down) != sides or len(up) != sides or down[0] != up[1] or math.prod(up[2:]) != 1:
        expected = "[rank, channels, 1, 2, 2] and [outputs, rank, 1, 1, 1]" if is_patch else ""
        raise ValueError(
            f"{file}: the factors of {layer} do not fit together, expected "
            f"{expected or '[rank, inputs] and [outputs, rank]'}, got {list(down)} and {list(up)}. Export it again."
        )
    if "alpha" in factors and math.prod(factors["alpha"].shape) != 1:
        raise ValueError(
            f"{file}: the alpha of {layer} is expected as one number, got the shape {list(factors['alpha'].shape)}. "
            "Export it again."
        )
