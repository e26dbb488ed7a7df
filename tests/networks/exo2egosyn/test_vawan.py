from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig
from exo2ego.networks.exo2egosyn.vawan import ExoChannels, VawanConfig, widened_patch_embedding

DIM = 48
PATCH = (1, 2, 2)


def config(views: int = 4) -> VawanConfig:
    return VawanConfig(views, LoraConfig(DIM, 1))


def inputs(views: int = 4, frames: int = 3) -> tuple[Tensor, Tensor]:
    """Wan's own 36 channels, and the exo latents."""
    random = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 36, frames, 4, 6, generator=random),
        torch.randn(2, views, 16, frames, 4, 6, generator=random),
    )


def embedding(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """Tokens [B, n, dim] of Wan's patch embedding."""
    return torch.nn.functional.conv3d(x, weight, bias, stride=PATCH).flatten(2).transpose(1, 2)


@pytest.fixture
def base() -> torch.nn.Conv3d:
    torch.manual_seed(1)
    return torch.nn.Conv3d(36, DIM, PATCH, PATCH)


@pytest.mark.parametrize("views", [1, 4])
@pytest.mark.parametrize("frames", [1, 5, 9, 17, 81])
def test_untrained_it_changes_nothing_bit_by_bit(base, views, frames):
    x, exo = inputs(views, 1 + (frames - 1) // 4)
    tokens = embedding(base.weight, base.bias, x)
    added = ExoChannels(config(views))(exo)
    assert added.shape == tokens.shape
    assert torch.equal(tokens + added, tokens)


@pytest.mark.parametrize("views", [1, 4])
def test_widened_weights_start_as_the_base(base, views):
    wide = widened_patch_embedding(base.weight, 16 * views)
    assert wide.shape == (DIM, 36 + 16 * views, *PATCH)
    assert torch.equal(wide[:, :36], base.weight)
    assert (wide[:, 36:] == 0).all()
    x, exo = inputs(views)
    joined = torch.cat([x, exo.flatten(1, 2)], dim=1)
    torch.testing.assert_close(
        embedding(wide, base.bias, joined), embedding(base.weight, base.bias, x), rtol=0, atol=1e-5
    )


def test_the_new_columns_apart_give_what_the_widened_convolution_gives(base):
    """Channels in the order noise, mask, first frame, then view by view."""
    new = torch.randn(DIM, 64, *PATCH, generator=torch.Generator().manual_seed(2))
    x, exo = inputs()
    whole = embedding(torch.cat([base.weight, new], dim=1), base.bias, torch.cat([x, *exo.unbind(1)], dim=1))
    module = ExoChannels(config())
    module.embed.weight.data.copy_(new)
    apart = embedding(base.weight, base.bias, x) + module(exo)
    torch.testing.assert_close(apart, whole, rtol=0, atol=1e-4)


def test_the_new_columns_learn_from_the_first_step():
    module = ExoChannels(config())
    _, exo = inputs()
    (module(exo) - 1).square().mean().backward()
    assert (module.embed.weight.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


@pytest.mark.parametrize("shape", [(2, 3, 16, 3, 4, 6), (2, 4, 16, 3, 4, 5), (2, 64, 3, 4, 6), (2, 4, 20, 3, 4, 6)])
def test_latents_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"trained with 4 exo views.*got the shape"):
        ExoChannels(config())(torch.zeros(shape))


def test_no_views():
    with pytest.raises(ValueError, match="at least one exo view"):
        VawanConfig(0)
