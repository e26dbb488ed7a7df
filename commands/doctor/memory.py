"""Does the machine have the memory for the shipped workflows at their own sizes? All figures are estimates.

No figure was measured on a card. Activations follow ComfyUI's own estimate (BaseModel.memory_required with PyTorch's
attention), of the latent that this pack makes the model see (wan/shared/memory.py): 5.05 GiB for a prompt of EgoX, of
which the tensors that are alive at a time, counted, take 2.3 GB. ComfyUI plans by the estimate. Weights are the sizes
of the files. ComfyUI keeps on the card what fits and fetches the rest from RAM at every model call, so less memory
means slower, until the activations no longer fit. The README's tables of memory have their figures from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...common.messages import gigabytes
from ...common.paths import size_of
from ...common.wan_grid import VAE_STRIDE, WAN_DIM, latent_frames
from ...networks.weights.wan_kinds import WAN21_I2V, WAN22_I2V
from .findings import Finding, Severity
from .machine import Machine
from .workflows import Wanted

_CHECK = "memory"

# ComfyUI's 0.4 to 0.7 GiB (model_management.extra_reserved_memory), and what the driver takes.
_RESERVE = 1_200_000_000
# Vectors for an exo token while a block runs: TENSORS_PER_TOKEN of wan/shared/memory.py, which needs ComfyUI.
_VECTORS_PER_EXO_TOKEN = 4
_HALF = 2  # bytes of bf16 and fp16
_MIB = 1024**2
# ComfyUI itself.
_RAM_FOR_OTHERS = 2 * 10**9

# Weights that EgoX's LoRA changes: q, k, v and o of both attentions of 40 blocks. ComfyUI keeps a copy of each as it
# was while a LoRA is merged; beside the weights, and on GGUF, there is nothing to copy.
_CHANGED_WEIGHTS = 40 * 2 * 4
_LARGEST_OF_ONE_BYTE = 24 * 10**9  # base models of two bytes a weight are larger


@dataclass(frozen=True)
class Size:
    """What a workflow samples.

    Attributes:
        what: for people.
        cells: frames x rows x columns of the latent that the model sees.
        exo_tokens: tokens beside it that cross-attention keeps.
    """

    what: str
    cells: int
    exo_tokens: int = 0


@dataclass(frozen=True)
class Need:
    """What sampling takes, in bytes.

    Attributes:
        what: for people.
        weights: the base model and what goes on it.
        activations: of one prompt; CFG runs two together where they fit.
        other_weights: what is loaded before and may stay in RAM.
        copies: of the weights that a merged LoRA changes, in RAM.
    """

    what: str
    weights: int
    activations: int
    other_weights: int
    copies: int = 0

    @property
    def ram(self) -> int:
        """RAM for all weights and ComfyUI, without copies."""
        return self.weights + self.other_weights + _RAM_FOR_OTHERS

    @property
    def least(self) -> int:
        """VRAM below which a run ends in an out-of-memory error."""
        return self.activations + _RESERVE

    @property
    def best(self) -> int:
        """VRAM with which nothing is fetched from RAM."""
        return self.activations + self.weights + _RESERVE

    def describe(self) -> str:
        """Return the estimate in a line."""
        return (
            f"{self.what}: {gigabytes(self.weights)} weights and {gigabytes(self.activations)} activations a prompt; "
            f"from {gigabytes(self.least)} VRAM, without offloading from {gigabytes(self.best)}; "
            f"{gigabytes(self.ram + self.copies)} RAM{self._of_which_copies()} (estimates, not measured on a card)"
        )

    def _of_which_copies(self) -> str:
        return f", {gigabytes(self.copies)} less with the LoRA beside the weights" if self.copies else ""


# Of the shipped workflows: 49 frames of 784 x 448 beside 448 x 448; 9 frames of 256 x 256, seen from four sides.
SIZES = {
    WAN21_I2V: Size(
        "EgoX, 49 frames of 784 x 448 + 448 x 448",
        latent_frames(49) * (448 // VAE_STRIDE) * ((784 + 448) // VAE_STRIDE),
    ),
    WAN22_I2V: Size(
        "Exo2EgoSyn, 9 frames of 256 x 256 from 4 views", latent_frames(9) * 32 * 32, 4 * latent_frames(9) * 16 * 16
    ),
}


def activation_bytes(size: Size, dim: int = WAN_DIM) -> int:
    """Return what one prompt's activations take in half precision, by ComfyUI's formula.

    It is area x bytes x 0.01 x memory_usage_factor MiB, with the factor dim / 2222 for Wan (supported_models.py).
    """
    exo = size.exo_tokens * dim * _HALF * _VECTORS_PER_EXO_TOKEN
    return int(size.cells * _HALF * 0.01 * dim / 2222 * _MIB) + exo


def needs(wanted: Sequence[Wanted], chosen: Mapping[Wanted, Path]) -> list[Need]:
    """Return what the workflows need: with the sizes of the files that are there, else of those that should be."""
    found = []
    for base, size in SIZES.items():
        bases = [model for model in wanted if model.base == base]
        if not bases:
            continue
        workflow = bases[0].workflows[0]
        models = [model for model in wanted if workflow in model.workflows]
        on_card = [model for model in models if model in bases or (model.is_ours and not model.known.optional)]
        others = [model for model in models if model not in on_card]
        found.append(
            Need(
                size.what,
                sum(_bytes(model, chosen) for model in on_card),
                activation_bytes(size),
                max((_bytes(model, chosen) for model in others), default=0),
                copies_of_weights(bases[0], chosen) if base == WAN21_I2V else 0,
            )
        )
    return found


def copies_of_weights(base: Wanted, chosen: Mapping[Wanted, Path]) -> int:
    """Return the bytes of the copies that ComfyUI keeps of what EgoX's LoRA, merged, changes in a base model."""
    if base in chosen and chosen[base].suffix == ".gguf":
        return 0
    return _CHANGED_WEIGHTS * WAN_DIM**2 * (1 if _bytes(base, chosen) <= _LARGEST_OF_ONE_BYTE else 2)


def check_memory(machine: Machine, wanted: Sequence[Need]) -> list[Finding]:
    """Compare the machine with the estimates."""
    if not wanted:
        return []
    if machine.vram is None:
        return [
            _finding(
                Severity.WARNING,
                "no graphics card was found",
                "a card with 16 GB or more; on the CPU a clip takes days",
                "Check the driver with nvidia-smi, or sample on another machine; the workflow ego_prior runs here.",
            )
        ]
    findings = []
    for need in wanted:
        findings += _check_card(machine.card or "the card", machine.vram.total, machine.vram.free, need)
        if machine.ram is not None:
            findings += _check_ram(machine.ram.total, need)
    return findings


def _check_card(card: str, total: int, free: int | None, need: Need) -> list[Finding]:
    expected = f"for {need.describe()}"
    if total < need.least:
        found = f"{card} has {gigabytes(total)}"
        remedy = "Use a larger card, or fewer frames and smaller images (multiples of 16, 4n + 1 frames)."
        return [_finding(Severity.WARNING, found, expected, remedy)]
    if free is not None and free < need.least:
        found = f"only {gigabytes(free)} of {gigabytes(total)} on {card} are free"
        remedy = "Close what uses the card (nvidia-smi lists it); a ComfyUI that runs frees its own models itself."
        return [_finding(Severity.WARNING, found, expected, remedy)]
    if total < need.best:
        found = (
            f"{card} has {gigabytes(total)}: ComfyUI will fetch about {gigabytes(need.best - total)} from RAM at every "
            "model call"
        )
        remedy = "Nothing must be done; fp8 or GGUF files of the base model fetch less and so run faster."
        return [_finding(Severity.NOTE, found, expected, remedy)]
    return []


def _check_ram(total: int, need: Need) -> list[Finding]:
    found = f"the machine has {gigabytes(total)} RAM"
    expected = f"about {gigabytes(need.ram)} for {need.what}: all weights, the text encoder's too, and 2 GB for ComfyUI"
    if total < need.ram:
        remedy = "Use fp8 or GGUF files, close other programs, or enlarge the swap file; else the machine may stall."
        return [_finding(Severity.WARNING, found, f"{expected} (an estimate)", remedy)]
    if total < need.ram + need.copies:
        more = f"and {gigabytes(need.copies)} more for copies of the weights while the LoRA is merged (an estimate)"
        remedy = "Put the LoRA beside the weights (EgoX LoRA Loader), which keeps no copies, or enlarge the swap file."
        return [_finding(Severity.NOTE, found, f"{expected}, {more}", remedy)]
    return []


def _bytes(model: Wanted, chosen: Mapping[Wanted, Path]) -> int:
    path = chosen.get(model)
    # Of shards the table has the sum.
    if path is None or "-of-" in path.name:
        return int(model.known.gigabytes * 1e9)
    return size_of(path)


def _finding(severity: Severity, found: str, expected: str, remedy: str) -> Finding:
    return Finding(_CHECK, severity, found, expected, remedy)
