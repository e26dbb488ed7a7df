from __future__ import annotations

import pytest
import torch

from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig, lora_shapes, untrained_lora

CONFIG = LoraConfig(dim=32, blocks=2, rank=4, alpha=8.0)


def test_names_and_shapes():
    shapes = lora_shapes(CONFIG)
    assert len(shapes) == 2 * 4 * 3
    layer = "diffusion_model.blocks.1.self_attn.o"
    assert shapes[f"{layer}.lora_A.weight"] == (4, 32)
    assert shapes[f"{layer}.lora_B.weight"] == (32, 4)
    assert shapes[f"{layer}.alpha"] == ()


def test_the_papers_scale_is_one():
    assert LoraConfig().alpha / LoraConfig().rank == 1


def test_an_untrained_lora_changes_nothing_bit_by_bit():
    tensors = untrained_lora(CONFIG, torch.Generator().manual_seed(0))
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == lora_shapes(CONFIG)
    weight = torch.randn(32, 32)
    for key in tensors:
        if key.endswith("lora_A.weight"):
            down, up = tensors[key], tensors[key.replace("lora_A", "lora_B")]
            scale = tensors[key.replace("lora_A.weight", "alpha")] / CONFIG.rank
            assert torch.equal(weight + scale * (up @ down), weight)
            assert scale == 2
            assert 0.5 < down.std() * (3 * CONFIG.dim) ** 0.5 < 1.5, "uniform within 1 / sqrt(dim)"


def test_equal_seeds_give_equal_starts():
    first, again = (untrained_lora(CONFIG, torch.Generator().manual_seed(3)) for _ in range(2))
    other = untrained_lora(CONFIG, torch.Generator().manual_seed(4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("change", [{"dim": 0}, {"blocks": 0}, {"rank": 0}])
def test_sizes_that_make_no_lora(change):
    with pytest.raises(ValueError, match="at least 1"):
        LoraConfig(**change)
