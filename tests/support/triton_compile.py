"""Compile the Triton kernels for GPUs that need not be there, and read what they take from the machine code."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from exo2ego.attention.backends.triton_tiles import Tile

# Shared memory of a block in KB, by compute capability: A100, consumer cards (Ampere, Ada, Blackwell), H100, B200.
SHARED_MEMORY = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}

# EgoX's size.
SIZES = {"FRAMES": 13, "ROWS": 28, "EXO_COLUMNS": 49, "EGO_COLUMNS": 28}

_TYPES = {
    **dict.fromkeys(("q", "k", "v", "out", "grad", "grad_q", "grad_k", "grad_v"), "*bf16"),
    **dict.fromkeys(("extended_queries", "extended_keys"), "*fp16"),
    **dict.fromkeys(("log_sums", "deltas", "key_scales", "means"), "*fp32"),
    **{"whole_k": "*i8", "half_v": "*fp16"},
    **dict.fromkeys(("scale", "boost", "offset"), "fp32"),
}
_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"

# Instructions of tensor cores, of all generations.
_PRODUCT = re.compile(r"\b(HMMA|HGMMA|IMMA|IGMMA|UTC\w*MMA)\b")
_INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]+)\*/\s+(?:@!?\w+ )?(.+?);")
_BRANCH = re.compile(r"\bBRA(?:\.\w+)*\s+(?:!?\w+, )*`\((\.L_\w+)\)")


@dataclass(frozen=True)
class Compiled:
    """A kernel in machine code.

    Attributes:
        ptx: its text before NVIDIA's assembler.
        shared: bytes of shared memory a block.
        spilled: bytes of local memory a thread, registers that did not fit.
        registers: of a thread.
        loop: instructions of its main loop, the one with the most products.
        tile: how it cuts its work.
    """

    ptx: str
    shared: int
    spilled: int
    registers: int
    loop: tuple[str, ...]
    tile: Tile

    @property
    def spills_in_loop(self) -> int:
        """Instructions of the main loop that move what did not fit the registers."""
        return sum(line.startswith(("LDL", "STL")) for line in self.loop)

    @property
    def per_pair(self) -> float:
        """Instructions of the main loop for a pair of query and key, of all threads; a step may be unrolled."""
        return len(self.loop) * 32 * self.tile.warps / (self.tile.queries * self.tile.keys)


def compiled(
    kernel: Any, capability: int, head_dim: int, tile: Tile, types: dict[str, str] | None = None, **constants: Any
) -> Compiled:
    """Compile a kernel at EgoX's size by Triton and NVIDIA's assembler.

    Args:
        kernel: of Triton.
        capability: such as 89.
        head_dim: channels of a head.
        tile: how it cuts its work.
        types: of arguments that are not those of bfloat16 tensors, such as `*i8`.
        constants: of the kernel; an argument may be None.
    """
    constants |= SIZES | {"BOOSTED": True, "HEAD_DIM": head_dim, "EXTENDED": 16}
    constants |= {"BLOCK_M": tile.queries, "BLOCK_N": tile.keys}
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    known = _TYPES | (types or {})
    types = {name: "constexpr" if name in constants else known.get(name, "i32") for name in names}
    source = ASTSource(
        fn=kernel,
        signature=types,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if types[name][0] in "*i"},
    )
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        usage, code = _told("cuobjdump", "-res-usage", file.name), _told("nvdisasm", "-c", file.name)
    (stack,), (registers,) = re.findall(r"STACK:(\d+)", usage), re.findall(r"REG:(\d+)", usage)
    loop = max(loops(code), key=lambda body: sum(bool(_PRODUCT.search(line)) for line in body), default=())
    return Compiled(made.asm["ptx"], made.metadata.shared, int(stack), int(registers), loop, tile)


def loops(code: str) -> Iterator[tuple[str, ...]]:
    """Yield the instructions of every loop of a disassembled kernel, from its label to the branch back."""
    labels: dict[str, int] = {}
    body: list[str] = []
    for line in code.splitlines():
        if label := re.match(r"^(\.L_\w+):", line):
            labels[label[1]] = len(body)
        elif found := _INSTRUCTION.match(line):
            body.append(found[2])
            branch = _BRANCH.search(found[2])
            if branch and branch[1] in labels and labels[branch[1]] < len(body) - 1:
                yield tuple(body[labels[branch[1]] :])


def _told(tool: str, *words: str) -> str:
    return subprocess.run([str(_TOOLS / tool), *words], capture_output=True, text=True, check=True).stdout
