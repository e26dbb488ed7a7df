"""The fused kernel: its results by Triton's interpreter, and that it compiles for the GPUs of our users."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from exo2ego.attention.backends.triton import tile_of_capability
from support.random_attention import BIASES, LAYOUTS, random_directions, with_missing

if find_spec("triton") is None:
    pytest.skip("Triton is not installed on this machine", allow_module_level=True)

CASES = Path(__file__).resolve().parents[2] / "support" / "triton_cases.py"

# Shared memory of a block in KB, by compute capability: A100, consumer cards (Ada, Blackwell), H100.
SHARED_MEMORY = {80: 163, 89: 99, 90: 227, 120: 99}


@pytest.fixture(scope="module")
def errors():
    return interpreted()


def interpreted(*arguments: str) -> dict[str, float]:
    command = [sys.executable, str(CASES), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 5e-3), ("bfloat16", 1e-2)])
def test_interpreted_kernel_equals_the_oracle(errors, dtype, bound):
    """Every layout, form, lambda, head size, missing directions, steep logits, and factors of 1e-6."""
    of_dtype = {case: error for case, error in errors.items() if case.split()[-1] == dtype}
    assert len(of_dtype) == len(LAYOUTS) + len(BIASES) + 6
    assert {case: error for case, error in of_dtype.items() if not error < bound} == {}


def test_interpreted_kernel_on_the_directions_of_a_real_take(shared_take):
    assert interpreted("--golden", str(shared_take("joker") / "gga_golden.npz"))["golden"] < 1e-3


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_kernel_compiles_and_its_tile_fits_the_shared_memory(capability, head_dim):
    """Compiled by Triton and NVIDIA's assembler, which need no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from exo2ego.attention.backends.triton_kernel import gga_forward

    tile = tile_of_capability(capability, head_dim)
    constants = {
        "FRAMES": 13,
        "ROWS": 28,
        "EXO_COLUMNS": 49,
        "EGO_COLUMNS": 28,
        "SPAN": 2,
        "SHIFT": 0.0,
        "BOOSTED": True,
        "HEAD_DIM": head_dim,
        "EXTENDED": 16,
        "BLOCK_M": tile.queries,
        "BLOCK_N": tile.keys,
    }
    types = {**dict.fromkeys(("q", "k", "v", "out"), "*bf16"), **dict.fromkeys(("scale", "boost", "offset"), "fp32")}
    types |= {**dict.fromkeys(("extended_queries", "extended_keys"), "*fp16"), **dict.fromkeys(constants, "constexpr")}
    names = gga_forward.arg_names
    source = ASTSource(
        fn=gga_forward,
        signature={name: types.get(name, "i32") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if types.get(name, "i32")[0] in "*i"},
    )
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert len(compiled.asm["cubin"]) > 1000
    assert compiled.metadata.shared <= SHARED_MEMORY[capability] << 10


@pytest.mark.parametrize("bias", BIASES)
def test_split_directions_multiply_like_float32(bias):
    """The half-precision form that tensor cores multiply, against the definition of the bias."""
    layout = LAYOUTS[0]
    directions = with_missing(random_directions(layout))
    extended = directions.extended(bias)
    products = extended.split_queries.float() @ extended.split_keys.float().transpose(1, 2)  # [T, Q, K]
    expected = bias(directions.ego_queries.flatten(1, 2), directions.exo_keys.flatten(1, 3)).exp()
    torch.testing.assert_close(extended.factors(products), expected, rtol=1e-5, atol=4e-6)
    assert extended.factors(products).max() <= extended.largest
