"""Compile the Triton kernels for GPUs that need not be there, and read what they take from the machine code."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from exo2ego.attention.backends.triton_launch import Tile

# Shared memory of a block in KB, by compute capability: A100, consumer cards (Ampere, Ada, Blackwell), H100, B200.
SHARED_MEMORY = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}

# EgoX's size.
SIZES = {"FRAMES": 13, "ROWS": 28, "EXO_COLUMNS": 49, "EGO_COLUMNS": 28}

_TYPES = {
    **dict.fromkeys(("q", "k", "v", "out", "grad", "grad_q", "grad_k", "grad_v"), "*bf16"),
    **dict.fromkeys(("extended_queries", "extended_keys"), "*fp16"),
    **dict.fromkeys(("log_sums", "deltas"), "*fp32"),
    **dict.fromkeys(("scale", "boost", "offset"), "fp32"),
}
_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@dataclass(frozen=True)
class Compiled:
    """A kernel in machine code.

    Attributes:
        ptx: its text before NVIDIA's assembler.
        shared: bytes of shared memory a block.
        spilled: bytes of local memory a thread, registers that did not fit.
    """

    ptx: str
    shared: int
    spilled: int


def compiled(kernel: Any, capability: int, head_dim: int, tile: Tile, **constants: Any) -> Compiled:
    """Compile a kernel in bfloat16 at EgoX's size by Triton and NVIDIA's assembler; an argument may be None."""
    constants |= SIZES | {"BOOSTED": True, "HEAD_DIM": head_dim, "EXTENDED": 16}
    constants |= {"BLOCK_M": tile.queries, "BLOCK_N": tile.keys}
    names = kernel.arg_names
    types = {name: "constexpr" if name in constants else _TYPES.get(name, "i32") for name in names}
    source = ASTSource(
        fn=kernel,
        signature=types,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if types[name][0] in "*i"},
    )
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return Compiled(made.asm["ptx"], made.metadata.shared, _spilled(made.asm["cubin"]))


def _spilled(cubin: bytes) -> int:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(_CUOBJDUMP), "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (stack,) = re.findall(r"STACK:(\d+)", usage)
    return int(stack)
