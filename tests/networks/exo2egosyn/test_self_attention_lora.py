from __future__ import annotations

import pytest

from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig, lora_shapes

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


@pytest.mark.parametrize("change", [{"dim": 0}, {"blocks": 0}, {"rank": 0}])
def test_sizes_that_make_no_lora(change):
    with pytest.raises(ValueError, match="at least 1"):
        LoraConfig(**change)
