from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from exo2ego.networks.exo2egosyn.exo_tokens import (
    ExoTokenConfig,
    ExoTokenizer,
    axis_sines,
    cross_attention_shapes,
)

DIM = 32
PAPER = ExoTokenConfig(DIM)
LEARNED = ExoTokenConfig(DIM, exo_pos="learned")


def latents(batch: int = 2, views: int = 4, frames: int = 3, height: int = 4, width: int = 6) -> Tensor:
    return torch.randn(batch, views, 16, frames, height, width, generator=torch.Generator().manual_seed(0))


def tokenizer(config: ExoTokenConfig = PAPER) -> ExoTokenizer:
    torch.manual_seed(1)
    return ExoTokenizer(config)


@pytest.mark.parametrize("frames", [1, 5, 9, 17, 81])
@pytest.mark.parametrize("views", [1, 4])
@pytest.mark.parametrize("config", [PAPER, LEARNED], ids=lambda config: config.exo_pos)
def test_shapes(frames, views, config):
    latent_frames = 1 + (frames - 1) // 4
    exo = latents(2, views, latent_frames)
    assert tokenizer(config)(exo).shape == (2, views * latent_frames * 2 * 3, DIM)


def test_the_papers_sequence():
    with torch.device("meta"):
        tokens = ExoTokenizer(ExoTokenConfig())(torch.empty(1, 4, 16, 3, 32, 32))
    assert tokens.shape == (1, 3072, 5120)


def test_tokens_are_ordered_by_view_frame_row_column():
    module, exo = tokenizer(), latents()
    tokens = module(exo)
    weight, bias = module.exo_patch_embed.weight, module.exo_patch_embed.bias
    grid = (4, 3, 2, 3)
    for index, (view, frame, row, column) in enumerate(product(*map(range, grid))):
        patch = exo[:, view, :, frame, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]  # [B, 16, 2, 2]
        expected = torch.einsum("bcyx,dcyx->bd", patch, weight[:, :, 0]) + bias
        torch.testing.assert_close(tokens[:, index], expected, rtol=0, atol=1e-5)


def test_permuting_views_permutes_their_tokens():
    module, exo = tokenizer(), latents()
    order = [2, 0, 3, 1]
    tokens = module(exo).unflatten(1, (4, -1))
    assert torch.equal(module(exo[:, order]).unflatten(1, (4, -1)), tokens[:, order])


def test_the_null_branch_is_the_bias():
    """Zeroed exo latents."""
    module = tokenizer()
    tokens = module(torch.zeros_like(latents()))
    assert torch.equal(tokens, module.exo_patch_embed.bias.expand_as(tokens))


def test_it_starts_from_the_base_models_patch_embedding():
    base = torch.nn.Conv3d(36, DIM, (1, 2, 2), (1, 2, 2))
    module = ExoTokenizer.from_base(base.weight, base.bias, views=3, exo_pos="learned", blocks=7)
    assert module.config == ExoTokenConfig(DIM, 3, "learned", 7)
    exo = latents(1, 1)
    padded = torch.cat([exo[:, 0], torch.zeros(1, 20, 3, 4, 6)], dim=1)  # nothing in mask and first frame
    torch.testing.assert_close(module(exo), base(padded).flatten(2).transpose(1, 2), rtol=0, atol=1e-5)
    with torch.no_grad():
        module.exo_patch_embed.weight.zero_()
    assert base.weight.abs().min() > 0, "the base model must keep its own weights"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 5, 16, 3, 4, 6), "5 exo views arrived: this MultiExoCon component supports at most 4 views"),
        ((1, 4, 16, 3, 4, 5), "even h and w"),
        ((1, 4, 20, 3, 4, 6), r"\[B, V, 16, t, h, w\].*got the shape \[1, 4, 20, 3, 4, 6\]"),
        ((4, 16, 3, 4, 6), "got the shape"),
        ((1, 0, 16, 3, 4, 6), "got the shape"),
    ],
)
def test_latents_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        tokenizer()(torch.zeros(shape))


@pytest.mark.parametrize("change", [{"dim": 0}, {"views": 0}, {"blocks": 0}, {"exo_pos": "rope"}])
def test_sizes_that_make_no_tokeniser(change):
    with pytest.raises(ValueError, match=r"at least 1|exo_pos is one of none, learned, got 'rope'"):
        ExoTokenConfig(**change)


# Positions --------------------------------------------------------------------------------------------------------


def test_positions_start_neutral():
    """Bit by bit the paper's tokens, and yet the first step of training moves every gain."""
    learned = tokenizer(LEARNED)
    plain = tokenizer()
    plain.load_state_dict({key: value for key, value in learned.state_dict().items() if "exo_patch" in key})
    exo = latents()
    assert torch.equal(learned(exo), plain(exo))
    learned(exo).square().sum().backward()
    for name, parameter in learned.named_parameters():
        assert (parameter.grad.flatten(1).abs().amax(1) > 0 if parameter.ndim > 1 else parameter.grad != 0).all(), name


def test_learned_positions_are_a_view_and_sines_of_frame_row_column():
    module = tokenizer(LEARNED)
    with torch.no_grad():
        module.view_emb.normal_()
        module.pos_gain.copy_(torch.tensor([0.5, -2.0, 3.0]))
    added = (module(latents()) - tokenizer()(latents())).unflatten(1, (4, 3, 2, 3))
    widths = (12, 10, 10)  # of 32 channels
    for view, frame, row, column in product(range(4), range(3), range(2), range(3)):
        expected = []
        for index, width, gain in zip((frame, row, column), widths, module.pos_gain.tolist()):
            half = width // 2
            angles = [index / 10000 ** (k / half) for k in range(half)]
            expected += [gain * math.sin(angle) for angle in angles] + [gain * math.cos(angle) for angle in angles]
        position = module.view_emb[view] + torch.tensor(expected)
        torch.testing.assert_close(added[:, view, frame, row, column], position.expand(2, -1), rtol=0, atol=1e-5)


def test_positions_with_fewer_views_and_another_size():
    module = tokenizer(LEARNED)
    with torch.no_grad():
        module.view_emb.normal_()
        module.pos_gain.fill_(1)
    exo = latents()
    whole = module(exo).unflatten(1, (4, 3, 2, 3))
    part = module(exo[:, :2, :, :2, :2, :4]).unflatten(1, (2, 2, 1, 2))
    torch.testing.assert_close(part, whole[:, :2, :2, :1, :2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dim", [6, 7, 8, 32, 5120])
def test_sines_fill_every_width(dim):
    parts = axis_sines((2, 3, 4), dim)
    assert all(part.shape[:3] == (2, 3, 4) for part in parts)
    assert sum(part.shape[3] for part in parts) == dim
    assert all(part.abs().max() <= 1 for part in parts)


def test_positions_keep_the_type_of_the_tokens():
    module = tokenizer(LEARNED).bfloat16()
    assert module(latents().bfloat16()).dtype == torch.bfloat16


# The cross-attention set ------------------------------------------------------------------------------------------


def test_names_and_shapes_of_the_cross_attention_are_wans_own():
    from support.tiny_wan import wan_state_dict

    tensors = wan_state_dict("i2v_2.2", dim=128, layers=3)
    expected = {key: tuple(tensor.shape) for key, tensor in tensors.items() if ".cross_attn." in key}
    assert cross_attention_shapes(128, 3) == expected
