"""What GGA's hooks hold at EgoX's size beside the attention in force, counted in a dry run that computes nothing."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from exo2ego.attention.bias import GGABias
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.layout import TokenLayout
from exo2ego.wan.egox.gga_hooks import OVERRIDE, GGAHooks, HookCounts
from exo2ego.wan.shared.joined_tokens import EGOX_KEY
from support.tensor_memory import counted_tensors

EGOX = TokenLayout(13, 28, 49, 28)
HEADS, HEAD_DIM = 40, 128
ALLOWED = 64 << 20


def hand_on(function, q, k, v, heads, *args, **kwargs):
    return function(q, k, v, heads, *args, **kwargs)


class Sage:
    """Writes queries, keys and values anew in 8 bits at every call, and counts the keys."""

    def __init__(self):
        self.keys = 0

    def __call__(self, function, q, k, v, heads, *args, **kwargs):
        self.keys += k.numel()
        kept = [part.contiguous().to(torch.int8) for part in (q, k, v)]
        out = function(q, k, v, heads, *args, **kwargs)
        del kept
        return out


def attend(options, qkv, hooks=None):
    """The self-attention of a block, as Wan calls it."""
    from comfy.ldm.modules.attention import attention_pytorch

    if hooks is None:
        return attention_pytorch(*qkv, HEADS, transformer_options=options)
    hooked = hooks.installed({**options, EGOX_KEY: EGOX})

    def original_block(args):
        return {"img": attention_pytorch(*qkv, HEADS, transformer_options=hooked)}

    block = hooked["patches_replace"]["dit"]["double_block", 0]
    return block({"img": qkv[0]}, {"original_block": original_block})["img"]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("override", [None, hand_on, Sage()], ids=["stock", "override", "sage"])
def test_64_mb_whatever_attention_is_in_force(override, batch):
    """Overrides of other packs and attention that prepares its keys: chunks go through them, and no key goes twice."""
    options = {} if override is None else {OVERRIDE: override}
    with FakeTensorMode():
        shape = batch, EGOX.n_tokens, HEADS * HEAD_DIM
        qkv = [torch.empty(shape, dtype=torch.bfloat16) for _ in range(3)]
        with counted_tensors() as without:
            attend(options, qkv)
        if isinstance(override, Sage):
            override.keys = 0
        counts = HookCounts()
        with counted_tensors() as guided:
            t, rows = EGOX.frames, EGOX.rows
            directions = TokenDirections(
                torch.empty(t, rows, EGOX.ego_columns, 3), torch.empty(t, t, rows, EGOX.exo_columns, 3)
            )
            attend(options, qkv, GGAHooks(directions, GGABias(), range(1), counts, "sdpa"))
    assert counts.hits == 1
    assert without.peak >= qkv[0].nbytes
    assert guided.peak - without.peak < ALLOWED
    if isinstance(override, Sage):
        assert override.keys == qkv[1].numel()
