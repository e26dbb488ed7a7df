"""What GGA holds at EgoX's size, counted in a dry run that computes nothing."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from exo2ego.attention.backends import Backend
from exo2ego.attention.bias import GGABias
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.dispatch import gga_attention
from exo2ego.attention.layout import TokenLayout
from support.random_attention import plain_sdpa
from support.tensor_memory import counted_tensors

EGOX = TokenLayout(13, 28, 49, 28)
HEADS, HEAD_DIM = 40, 128
ALLOWED = 64 << 20


@pytest.mark.parametrize("batch", [1, 2])
def test_gga_takes_at_most_64_mb_beside_plain_attention(batch):
    """Directions, what is derived from them, the bias at hand and the queries that are gathered."""

    def plain(q, k, v):
        return plain_sdpa(q, k, v, HEADS)

    with FakeTensorMode():
        shape = batch, EGOX.n_tokens, HEADS * HEAD_DIM
        q, k, v = (torch.empty(shape, dtype=torch.bfloat16) for _ in range(3))
        with counted_tensors() as without:
            plain(q, k, v)
        with counted_tensors() as guided:
            t, rows = EGOX.frames, EGOX.rows
            directions = TokenDirections(
                torch.empty(t, rows, EGOX.ego_columns, 3), torch.empty(t, t, rows, EGOX.exo_columns, 3)
            )
            gga_attention(q, k, v, HEADS, EGOX, directions, GGABias(), plain, Backend.SDPA)
        assert without.peak >= q.nbytes
        assert guided.peak - without.peak < ALLOWED


def test_the_fused_kernel_needs_directions_alone():
    """It reads and writes in place; what it is given beside the directions is their half-precision form."""
    with FakeTensorMode(), counted_tensors() as memory:
        t, rows = EGOX.frames, EGOX.rows
        directions = TokenDirections(
            torch.empty(t, rows, EGOX.ego_columns, 3), torch.empty(t, t, rows, EGOX.exo_columns, 3)
        )
        extended = directions.extended(GGABias())
        assert extended.split_queries.shape == (t, EGOX.ego_tokens_per_frame, 16)
        assert extended.split_keys.shape == (t, EGOX.exo_tokens, 16)
        assert memory.live < 20 << 20
        assert memory.peak < ALLOWED
