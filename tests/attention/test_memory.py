"""What GGA holds at EgoX's size, counted in a dry run that computes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from exo2ego.attention.bias import GGABias
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.guided_attention import _EXO_BYTES, gga_attention
from exo2ego.attention.layout import TokenLayout
from support.random_attention import plain_sdpa
from support.tensor_memory import counted_tensors

EGOX = TokenLayout(13, 28, 49, 28)
HEADS, HEAD_DIM = 40, 128
ALLOWED = 64 << 20
SUPPORT = Path(__file__).resolve().parents[1] / "support"


def empty_directions(layout):
    return TokenDirections(
        torch.empty(layout.frames, layout.rows, layout.ego_columns, 3),
        torch.empty(layout.frames, layout.frames, layout.rows, layout.exo_columns, 3),
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_gga_takes_at_most_64_mb_beside_plain_attention(batch):
    """Directions, what back ends derive from them, the bias at hand and the queries that are gathered."""
    with FakeTensorMode():
        shape = batch, EGOX.n_tokens, HEADS * HEAD_DIM
        q, k, v = (torch.empty(shape, dtype=torch.bfloat16) for _ in range(3))
        with counted_tensors() as without:
            plain_sdpa(q, k, v, HEADS)
        with counted_tensors() as guided:
            directions = empty_directions(EGOX)
            extended = directions.extended(GGABias())
            assert extended.split_queries.dtype == extended.split_keys.dtype == torch.float16  # its form on GPUs
            gga_attention(AttentionCall(q, k, v, HEADS, EGOX, directions, GGABias()), plain_sdpa, "sdpa")
        assert without.peak >= q.nbytes
        assert guided.peak - without.peak < ALLOWED


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed on this machine")
def test_the_fused_kernel_makes_nothing_but_its_form_of_the_directions():
    """The kernel, run by Triton's interpreter: what it takes grows neither with heads nor with clips.

    So what it takes at EgoX's size is what that form takes there.
    """
    command = [sys.executable, str(SUPPORT / "triton_cases.py"), "--memory"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    cases = json.loads(result.stdout.splitlines()[-1])
    assert len(cases) == 4
    for name, case in cases.items():
        assert case["error"] < 1e-2, name
        assert 0 < case["kept"] == case["kept by directions"], name
        assert case["peak"] == case["peak of directions"], name
    with FakeTensorMode(), counted_tensors() as memory:
        extended = empty_directions(EGOX).extended(GGABias())
        assert extended.split_queries.shape == (EGOX.frames, EGOX.ego_tokens_per_frame, 16)
        assert extended.joined_keys(EGOX).shape == (EGOX.frames, EGOX.n_tokens, 16)
        assert memory.live < 20 << 20
        # Beside exo queries that are gathered, and their result.
        assert max(memory.peak, memory.live + 2 * _EXO_BYTES) < ALLOWED
