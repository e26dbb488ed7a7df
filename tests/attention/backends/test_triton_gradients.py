"""The fused kernel in a training: its gradients by Triton's interpreter, what it holds, and that it compiles."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

if find_spec("triton") is None:
    pytest.skip("Triton is not installed on this machine", allow_module_level=True)

from exo2ego.attention.backends import triton_gradients
from exo2ego.attention.backends.triton_gradients import backward_tiles
from exo2ego.attention.bias import GGABias
from exo2ego.attention.call import AttentionCall
from support.random_attention import BIASES, HEADS, LAYOUTS, random_directions, random_qkv
from support.triton_compile import SHARED_MEMORY, compiled

CASES = Path(__file__).resolve().parents[2] / "support" / "triton_gradient_cases.py"

# Against the largest value; directions are float32, and their split form is exact to 2^-21.
BOUNDS = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2}


@pytest.fixture(scope="module")
def interpreted():
    result = subprocess.run([sys.executable, str(CASES)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("dtype", BOUNDS)
def test_gradients_equal_those_of_the_readable_twin_in_float64(interpreted, dtype):
    """Every form, lambda, head size; ragged lengths, two clips, missing directions, steep logits, factors of 1e-6."""
    of_dtype = {case: error for case, error in interpreted["errors"].items() if case.split()[-1] == dtype}
    assert len(of_dtype) == (1 if dtype == "float16" else len(BIASES) + 5)
    assert {case: error for case, error in of_dtype.items() if not max(error.values()) < BOUNDS[dtype]} == {}


def test_blocks_of_any_size_and_tensors_of_any_stride_give_the_same(interpreted):
    assert max(interpreted["tiles"].values()) < 1e-6


def test_exo_and_ego_tokens_together_in_bfloat16(interpreted):
    assert max(interpreted["whole"].values()) < 1e-2


def test_a_training_keeps_one_number_a_query_and_head(interpreted):
    """Beside queries, keys, values and result, which it holds anyway; the backward pass makes the gradients alone."""
    memory = interpreted["memory"]
    assert memory["tensors kept"] == 5
    assert memory["numbers of its own"] == memory["queries and heads"] < memory["pairs"]
    assert memory["peak"] == memory["gradients and deltas"]


def test_gradient_checkpointing_lets_queries_keys_and_values_go(interpreted):
    assert interpreted["kept"] == 0


def without_kernels(monkeypatch, gradients):
    """A result whose ego tokens the kernel should have written, and the tensor that it was before."""
    monkeypatch.setattr(triton_gradients, "launch", lambda *arguments: None)
    monkeypatch.setattr(triton_gradients, "gradients", gradients)
    layout = LAYOUTS[0]
    q, k, v = (x.requires_grad_() for x in random_qkv(layout, 1))
    before = torch.zeros_like(q).requires_grad_()
    out = before.clone()
    triton_gradients.attend_with_gradients(
        AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias()), out
    )
    return out, before


def test_a_backward_pass_that_fails_says_what_to_choose(monkeypatch):
    """It comes too late for another back end."""

    def failing(*arguments):
        raise AssertionError

    out, _ = without_kernels(monkeypatch, failing)
    with pytest.raises(RuntimeError, match=r"backward pass failed .*AssertionError.* Choose 'flex' or 'sdpa'"):
        out.sum().backward()


def test_what_stood_in_the_exo_tokens_keeps_its_gradient(monkeypatch):
    out, before = without_kernels(monkeypatch, lambda q, k, v, *others: (q, k, v))
    out.sum().backward()
    grid = LAYOUTS[0].as_grid(before.grad)
    exo_columns = LAYOUTS[0].exo_columns
    assert (grid[:, :, :, :exo_columns] == 1).all()
    assert (grid[:, :, :, exo_columns:] == 0).all()


@pytest.mark.parametrize(("capability", "head_dim"), [*((known, 128) for known in SHARED_MEMORY), (80, 64), (120, 64)])
def test_backward_kernels_compile_and_fit(capability, head_dim):
    """Shared memory, and registers: what spills beyond a few is read and written in every loop."""
    from exo2ego.attention.backends.triton_backward_kernel import gga_backward_keys, gga_backward_queries

    of_queries, of_keys = backward_tiles(capability, head_dim)
    kernels = [compiled(gga_backward_queries, capability, head_dim, of_queries)]
    # Keys without directions have the loop of those with them, less the bias.
    kernels += [compiled(gga_backward_keys, capability, head_dim, of_keys, GUIDED=True, SHIFT=0.0)]
    for kernel in kernels:
        assert kernel.shared <= SHARED_MEMORY[capability] << 10
        assert kernel.spilled <= 64
