"""MultiExoCon out of a fine-tuned Wan: all of its cross-attention, and the exo patch embedding.

The component holds the cross-attention whole, as in the paper's section 3.4.1. What else of the model a
fine-tune may have changed is found by comparison with the base model, and named: it has no place in the component.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ...networks.components.metadata import MultiExoConMetadata
from ...networks.exo2egosyn.exo_tokens import cross_attention_shapes
from .checkpoint import Checkpoint, some, unwrapped
from .part import Part
from .wan_names import wan_names

_CROSS = re.compile(r"blocks\.(\d+)\.cross_attn\.(.+)")
_POSITIONS = ("view_emb", "pos_gain")
_EMBEDDING = "exo_patch_embed"
_LORA_FACTOR = re.compile(r"\.lora_[AB]\.|\.lora_(up|down)\.|\.lora\.(up|down)\.")

# A number of 16 bits with 8 significant ones (bfloat16) is off by up to 2^-9 of itself, twice rounded by 2^-8.
_ROUNDING = 2**-8

Progress = Callable[[int, int], None]


def multiexocon_part(
    metadata: MultiExoConMetadata,
    fine_tuned: Checkpoint,
    base: Checkpoint | None = None,
    embedding: Checkpoint | None = None,
    embedding_name: str = _EMBEDDING,
    progress: Progress = lambda done, total: None,
) -> Part:
    """Return the component.

    Args:
        metadata: for the header.
        fine_tuned: the fine-tuned model, or its cross-attention alone, in ComfyUI's, Wan's own or diffusers' names.
        base: the model that it was trained from; without it nothing else is compared.
        embedding: file of the exo patch embedding, where that is another.
        embedding_name: the layer's name in its file.
        progress: called with tensors compared and their number.

    Raises:
        ValueError: if cross-attention or exo patch embedding are missing, not whole or of another model, or stored in
            fewer than 16 bits.
    """
    tensors = _named(fine_tuned)
    cross = {name: tensor for name, tensor in tensors.items() if _CROSS.fullmatch(name)}
    # Within the cross-attention everything has its place, so a factor of a LoRA there is an error.
    _check_cross(fine_tuned.name, cross)
    exo, used = _exo_tensors(fine_tuned if embedding is None else embedding, embedding_name)
    rest = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in cross and (embedding is not None or name not in used)
    }
    notes = []
    if base is None:
        notes.append("Without --base it is not checked whether anything but the cross-attention was trained.")
    else:
        notes += _compare(fine_tuned.name, cross, rest, base, progress)
    factors = [name for name in rest if _LORA_FACTOR.search(name)]
    if factors:
        notes.append(f"{len(factors)} tensors of a LoRA are not kept here: convert them with `convert lora`.")
    if metadata.cond_dropout is None:
        notes.append(
            "The header will not state cond_dropout, so CFG 1 is advised with this component: give --cond-dropout if "
            "training left the exo views out at times."
        )
    return Part(metadata, {**exo, **cross}, notes)


def _named(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the tensors by ComfyUI's names."""
    names = wan_names(list(checkpoint.tensors))
    named: dict[str, Tensor] = {}
    for key, tensor in checkpoint.tensors.items():
        if names[key] in named:
            raise ValueError(f"{checkpoint.name} holds {names[key]} twice, {key} is the second: export it once.")
        named[names[key]] = tensor
    return named


def _check_cross(file: str, cross: Mapping[str, Tensor]) -> None:
    if not cross:
        raise ValueError(
            f"{file} contains no cross-attention of Wan (blocks.0.cross_attn.q.weight, or blocks.0.attn2.to_q.weight "
            "in diffusers' names). Give the fine-tuned transformer."
        )
    blocks = {match[1] for match in map(_CROSS.fullmatch, cross) if match}
    first = next((tensor for name, tensor in cross.items() if name.endswith(".cross_attn.q.weight")), None)
    width = 0 if first is None or first.ndim != 2 else first.shape[0]
    expected = cross_attention_shapes(width, len(blocks))
    if missing := sorted(set(expected) - set(cross)):
        raise ValueError(
            f"{file} is not whole: {len(missing)} tensors of the cross-attention are missing ({some(missing)})."
        )
    if others := sorted(set(cross) - set(expected)):
        raise ValueError(
            f"{file} holds {len(others)} tensors in its cross-attention that Wan 2.2 I2V A14B does not have "
            f"({some(others)}). A LoRA is merged into the weights first; Wan 2.1 I2V is another model."
        )
    for name, tensor in cross.items():
        if not tensor.is_floating_point() or tensor.dtype.itemsize < 2:
            raise ValueError(f"{file}: {name} is stored as {tensor.dtype}. Convert a file in 16 or 32 bits.")


def _exo_tensors(checkpoint: Checkpoint, name: str) -> tuple[dict[str, Tensor], set[str]]:
    """Return what makes the exo tokens by the component's names, and the names that it has in the file."""
    short = unwrapped(checkpoint.tensors)
    exo: dict[str, Tensor] = {}
    used = set()
    for key, tensor in checkpoint.tensors.items():
        layer, _, kind = short[key].rpartition(".")
        if kind in ("weight", "bias") and layer == name:
            exo[f"{_EMBEDDING}.{kind}"] = tensor
        elif short[key] in _POSITIONS:
            exo[short[key]] = tensor
        else:
            continue
        used.add(short[key])
    if missing := [kind for kind in ("weight", "bias") if f"{_EMBEDDING}.{kind}" not in exo]:
        raise ValueError(
            f"{checkpoint.name} lacks the exo patch embedding ({name}.{missing[0]}), which makes the exo tokens. Give "
            "its file with --exo-patch-embed, and its name there with --exo-name if it is another."
        )
    return exo, used


def _compare(
    file: str, cross: Mapping[str, Tensor], rest: Mapping[str, Tensor], base: Checkpoint, progress: Progress
) -> list[str]:
    """Return how a fine-tune differs from its base.

    Raises:
        ValueError: if they are not the same model.
    """
    of_base = _named(base)
    if odd := [name for name, tensor in of_base.items() if tensor.dtype.itemsize < 2]:
        raise ValueError(
            f"{base.name} stores {odd[0]} as {of_base[odd[0]].dtype}: give the base model in 16 or 32 bits."
        )
    for name, tensor in cross.items():
        there = of_base.get(name)
        if there is None or there.shape != tensor.shape:
            shape = "none" if there is None else list(there.shape)
            raise ValueError(
                f"{base.name} is not the base model of {file}: its {name} is {shape}, expected {list(tensor.shape)}. "
                "Give the Wan 2.2 I2V A14B model (low noise) that was fine-tuned."
            )
    both = [name for name in (*cross, *rest) if name in of_base]
    trained, changed = 0, []
    for done, name in enumerate(both):
        progress(done, len(both))
        if not _equal(cross[name] if name in cross else rest[name], of_base[name]):
            if name in cross:
                trained += 1
            else:
                changed.append(name)
    progress(len(both), len(both))
    notes = [f"Cross-attention: {trained} of {len(cross)} tensors differ from {base.name}."]
    if not trained:
        notes[0] += " It is the base model's own: nothing was trained in it."
    if changed:
        kinds = Counter(re.sub(r"blocks\.\d+\.", "blocks.*.", name) for name in changed)
        notes.append(
            f"Not kept: {len(changed)} other tensors differ from {base.name} too ({some(kinds, 6)}). A component holds "
            "the cross-attention alone; a trained self-attention belongs in a LoRA."
        )
    else:
        notes.append(f"{len(both) - len(cross)} other tensors equal those of {base.name}.")
    if unknown := [name for name in rest if name not in of_base and not _LORA_FACTOR.search(name)]:
        notes.append(f"Not kept: {len(unknown)} tensors that {base.name} does not have ({some(unknown)}).")
    return notes


def _equal(tensor: Tensor, base: Tensor) -> bool:
    """Whether two tensors are the same, apart from the rounding of a file in other types."""
    if tensor.shape != base.shape:
        return False
    if tensor.dtype == base.dtype:
        return torch.equal(tensor, base)
    wide, there = tensor.float(), base.float()
    return bool(((wide - there).abs() <= _ROUNDING * there.abs() + torch.finfo(torch.float16).tiny).all())
