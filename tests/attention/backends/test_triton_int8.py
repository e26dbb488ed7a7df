"""The int8 kernel: its results by Triton's interpreter beside SageAttention's scheme, and that it compiles and fits."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from exo2ego.attention import choice
from exo2ego.attention.backends import triton_int8
from exo2ego.attention.backends.reference import dense_bias
from exo2ego.attention.backends.triton_tiles import int8_tile_for, tile_of_capability
from exo2ego.attention.bias import GGABias
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.guided_attention import gga_attention
from support.random_attention import HEADS, LAYOUTS, oracle, plain, random_directions, random_qkv

if find_spec("triton") is None:
    pytest.skip("Triton is not installed on this machine", allow_module_level=True)

from support.triton_compile import SHARED_MEMORY, compiled

CASES = Path(__file__).resolve().parents[2] / "support" / "int8_cases.py"

# Of the kernel and its readable twin: what float16 weights and the result's own type leave.
OF_TYPE = {"float16": 5e-3, "bfloat16": 1e-2}

INT8 = {"k": "*i8", "v": "*fp16"}


@pytest.fixture(scope="module")
def errors():
    result = subprocess.run([sys.executable, str(CASES)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(("dtype", "count"), [("float16", 16), ("bfloat16", 4)])
def test_interpreted_kernel_equals_its_twin_in_plain_torch(errors, dtype, count):
    """Layouts, forms, lambdas, head sizes, steep logits, keys with a large mean; shares of heads."""
    of_dtype = {case: found["twin"] for case, found in errors.items() if case.endswith(f", {dtype}")}
    assert len(of_dtype) == count
    assert {case: error for case, error in of_dtype.items() if not error < OF_TYPE[dtype]} == {}


def test_it_is_no_further_from_float64_than_sage_attention_s_scheme(errors):
    assert {case: found for case, found in errors.items() if not 0 < found["kernel"] <= found["published"]} == {}
    # With a mean of eight, int8 would have a sixth of its steps for what differs between keys.
    means = [found["kernel"] for case, found in errors.items() if case.startswith("keys that share much")]
    assert max(means) < 0.011


def test_the_bias_does_not_see_the_mean_of_the_keys():
    """In float64: what all keys share moves every logit of a query alike, guided or not."""
    layout = LAYOUTS[0]
    directions = random_directions(layout)
    q, k, v = (x.double() for x in random_qkv(layout, 2))
    k = k + 8.0
    smoothed = k - k.mean(dim=1, keepdim=True)
    whole, without = (oracle(q, keys, v, layout, directions, GGABias()) for keys in (k, smoothed))
    torch.testing.assert_close(whole, without, rtol=1e-9, atol=1e-11)
    assert dense_bias(layout, directions, GGABias()).abs().max() > 1


@pytest.mark.parametrize("capability", SHARED_MEMORY)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_kernel_compiles_fits_and_has_no_more_instructions_than_in_half_precision(capability, head_dim):
    """Half of its products take half the instructions; each pair is converted from an integer once."""
    kernel, half = forward(capability, head_dim, INT8), forward(capability, head_dim)
    assert kernel.shared <= half.shared
    assert kernel.shared <= SHARED_MEMORY[capability] << 10
    assert kernel.spilled <= 128
    assert kernel.spills_in_loop == 0
    assert sum("I2F" in line for line in kernel.loop) * 32 * kernel.tile.warps == kernel.tile.queries * kernel.tile.keys
    if head_dim == 128:
        assert kernel.per_pair <= 1.02 * half.per_pair


@pytest.mark.parametrize("capability", SHARED_MEMORY)
def test_blocks_at_borders_and_the_preparation_of_keys_compile_and_fit(capability):
    from exo2ego.attention.backends.triton_int8_kernel import gga_quantize

    borders = forward(capability, 128, INT8, SPAN=2, BORDERS=True)
    assert borders.shared <= SHARED_MEMORY[capability] << 10
    assert borders.spilled <= 192
    preparation = compiled(gga_quantize, capability, 128, borders.tile, N_KEYS=28028)
    assert preparation.spilled == 0


def forward(capability, head_dim, types=None, **constants):
    from exo2ego.attention.backends.triton_kernel import gga_forward

    constants = {"SPAN": 1, "BORDERS": False, "SHIFT": 0.0, "log_sums": None} | constants
    if types is None:
        constants["key_scales"] = None
    tile = int8_tile_for(torch.device("cuda")) if types else tile_of_capability(capability, head_dim)
    return compiled(gga_forward, capability, head_dim, tile, types, **constants)


def test_it_is_taken_only_where_it_is_asked_for(monkeypatch, caplog):
    """Not by `auto`, even where nothing else can: a coarser result is never a surprise."""
    monkeypatch.setattr(choice, "_said", set())
    layout = LAYOUTS[0]
    q, k, v = random_qkv(layout, 1, torch.float16, head_dim=64)
    call = AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias())
    with caplog.at_level(logging.INFO, logger="exo2ego.attention"):
        gga_attention(call, plain)
    assert "triton_int8" not in caplog.text
    assert "triton_int8" in choice.CHOICES


def test_a_training_is_refused(monkeypatch):
    monkeypatch.setattr(triton_int8.half_precision, "unsupported", lambda call: None)  # as on a card
    layout = LAYOUTS[0]
    q, k, v = (x.requires_grad_() for x in random_qkv(layout, 1, torch.float16, head_dim=64))
    call = AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias())
    with pytest.raises(ValueError, match=r"'triton_int8' cannot be used here: .* no backward pass"):
        gga_attention(call, plain, "triton_int8")
