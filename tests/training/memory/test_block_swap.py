"""Blocks whose frozen weights lie in the host's memory: the same run, bit by bit."""

from __future__ import annotations

import pytest
import torch

from exo2ego.training.memory.block_swap import is_swapped, swap_blocks
from exo2ego.training.session import open_trainer
from exo2ego.training.state import checkpoint_files, read_checkpoint
from support.training import tiny_recipe, write_cache


@pytest.mark.parametrize("base", ["as precision", "fp8"])
def test_a_run_is_the_same_bit_by_bit(tmp_path, base):
    write_cache(tmp_path / "cache")
    ends = []
    for count in (0, 1, 2):
        recipe = tiny_recipe(
            tmp_path,
            run={"out": f"swap_{count}", "steps": 3, "gradient_checkpointing": True},
            memory={"swap_blocks": count, "base": base},
            lora={"dropout": 0.1},
        )
        trainer = open_trainer(recipe, tmp_path, on_cpu=True)
        blocks = trainer._bare.transformer.blocks
        assert [is_swapped(block) for block in blocks] == [index >= 2 - count for index in range(2)]
        trainer.run()
        ends.append(read_checkpoint(checkpoint_files(trainer.folder)[-1]).tensors)
    for kind, tensors in ends[0].items():
        for name, value in tensors.items():
            assert torch.equal(ends[1][kind][name], value), name
            assert torch.equal(ends[2][kind][name], value), name


class Block(torch.nn.Module):
    """A frozen matrix and a trained one; what it computes with is kept for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.Parameter(torch.randn(3, 3), requires_grad=False)
        self.trained = torch.nn.Parameter(torch.randn(3, 3))
        self.met = []

    def forward(self, x):
        self.met.append(self.frozen)
        return x @ self.frozen @ self.trained


def test_only_the_frozen_weights_stay_behind():
    """The device `meta` stands for a card: what is brought there has no numbers any more."""
    blocks = torch.nn.ModuleList([Block(), Block()])
    values = blocks[1].frozen.detach().clone()
    swap_blocks(blocks, 1)
    blocks.to("meta")
    assert [value.device.type for value in blocks[0].parameters()] == ["meta", "meta"]
    assert blocks[1].trained.device.type == "meta"
    assert torch.equal(blocks[1].frozen, values)
    out = blocks[1](torch.zeros(2, 3, device="meta"))
    assert out.device.type == "meta"
    (used,) = blocks[1].met
    assert used.device.type == "meta"
    assert torch.equal(blocks[1].frozen, values)  # and the block has its own again


def test_copies_are_gone_after_use():
    """Under gradient checkpointing nothing of a copy is left between forward and backward pass, nor after it."""
    import weakref

    from torch.utils.checkpoint import checkpoint

    blocks = torch.nn.ModuleList([Block(), Block()])
    swap_blocks(blocks, 2)
    x = torch.ones(2, 3, requires_grad=True)
    out = x
    copies = []
    for block in blocks:
        out = checkpoint(block, out, use_reentrant=False)
        copies.append(weakref.ref(block.met.pop()))
    assert [copy() for copy in copies] == [None, None]
    out.sum().backward()
    copies = [weakref.ref(block.met.pop()) for block in blocks]
    assert [copy() for copy in copies] == [None, None]
    assert all(block.trained.grad is not None for block in blocks)


def test_more_blocks_than_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"swap_blocks is 3, and the transformer has 2 blocks"):
        swap_blocks(torch.nn.ModuleList([Block(), Block()]), 3)
