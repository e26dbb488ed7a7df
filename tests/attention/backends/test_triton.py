"""The fused kernel: its results by Triton's interpreter, and that it compiles for the GPUs of our users."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from exo2ego.attention.backends.triton_launch import tile_of_capability
from support.random_attention import BIASES, LAYOUTS, random_directions, with_missing

if find_spec("triton") is None:
    pytest.skip("Triton is not installed on this machine", allow_module_level=True)

from support.triton_compile import SHARED_MEMORY, compiled

CASES = Path(__file__).resolve().parents[2] / "support" / "triton_cases.py"


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
    kernel = compiled_forward(capability, head_dim, log_sums=None)
    assert kernel.shared <= SHARED_MEMORY[capability] << 10


def test_without_a_backward_pass_the_kernel_has_no_code_for_it():
    """Inference takes and stores nothing for it; a training stores the logarithms of the sums."""
    inference, training = compiled_forward(89, 128, log_sums=None), compiled_forward(89, 128)
    arguments, stores = (
        [len(re.findall(pattern, kernel.ptx)) for kernel in (inference, training)]
        for pattern in (r"\.param \.\w+ (?:\.ptr )?.*gga_forward_param_", r"st\.global")
    )
    assert arguments[1] == arguments[0] + 1
    assert stores[1] > stores[0] > 0


def compiled_forward(capability, head_dim, **constants):
    from exo2ego.attention.backends.triton_kernel import gga_forward

    return compiled(
        gga_forward, capability, head_dim, tile_of_capability(capability, head_dim), SPAN=2, SHIFT=0.0, **constants
    )


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
