"""VAWAN's networks for camera poses, apart from Wan."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exo2ego.networks.exo2egosyn.pose_blocks import PoseBlocks
from exo2ego.networks.exo2egosyn.pose_time import PoseTime
from exo2ego.networks.exo2egosyn.rotary import rotary_turns, turned
from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig
from exo2ego.networks.exo2egosyn.vawan import VawanConfig

DIM, WIDTH, GRID = 48, 256, (3, 2, 3)
TOKENS = 18
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def blocks(n_blocks: int = 2, trained: bool = True) -> PoseBlocks:
    torch.manual_seed(1)
    module = PoseBlocks(DIM, WIDTH, n_blocks)
    if trained:
        for block in module.blocks:
            torch.nn.init.normal_(block.up.weight, std=0.1)
    return module


def test_wans_rotary_positions():
    """A head's channels as complex numbers, which a position multiplies by powers of e^i."""
    grid = (2, 3, 4)
    turns = rotary_turns(grid)
    assert turns.shape == (24, 64)
    heads = normal(1, 2, 24, 128)
    got = torch.view_as_complex(turned(heads, turns).unflatten(3, (64, 2)).contiguous())
    pairs = torch.view_as_complex(heads.unflatten(3, (64, 2)).contiguous())
    for token, place in enumerate((f, r, c) for f in range(2) for r in range(3) for c in range(4)):
        pair = 0
        for position, count in zip(place, (22, 21, 21)):
            for k in range(count):
                turn = torch.tensor(position * 10_000 ** (-k / count))
                expected = pairs[:, :, token, pair] * torch.polar(torch.ones(()), turn)
                torch.testing.assert_close(got[:, :, token, pair], expected, rtol=0, atol=1e-5)
                pair += 1
        assert pair == 64


@DTYPES
def test_untrained_light_blocks_change_nothing_bit_by_bit(dtype):
    module = blocks(trained=False).to(dtype)
    pose = module.encode(normal(1, 6, 9, 32, 48).to(dtype))
    assert pose.abs().max() > 0
    hidden = 100 * normal(2, TOKENS, DIM).to(dtype)
    for index in (0, 1):
        assert torch.equal(module.inject(index, hidden, pose, rotary_turns(GRID)), hidden)


def test_one_block_serves_all_where_it_is_shared():
    own, shared = blocks(2), blocks(1)
    pose, hidden, turns = normal(1, TOKENS, WIDTH), normal(2, TOKENS, DIM), rotary_turns(GRID)
    first, second = (own.inject(index, hidden, pose, turns) for index in (0, 1))
    assert (first - second).abs().max() > 1e-3
    first, second, last = (shared.inject(index, hidden, pose, turns) for index in (0, 1, 39))
    assert torch.equal(first, second)
    assert torch.equal(first, last)


def test_one_path_serves_a_batch():
    module, turns = blocks(), rotary_turns(GRID)
    pose, hidden = normal(1, TOKENS, WIDTH), normal(2, TOKENS, DIM)
    whole = module.inject(0, hidden, pose, turns)
    each = torch.cat([module.inject(0, row[None], pose, turns) for row in hidden])
    torch.testing.assert_close(whole, each, rtol=0, atol=1e-5)


def test_where_a_ray_stands_matters():
    """Tokens and pose tokens have positions: swapping two rays is another path."""
    module, turns = blocks(), rotary_turns(GRID)
    pose, hidden = normal(1, TOKENS, WIDTH), normal(1, TOKENS, DIM)
    other = pose[:, [1, 0, *range(2, TOKENS)]]
    moved = module.inject(0, hidden, other, turns) - module.inject(0, hidden, pose, turns)
    assert moved.abs().max() > 1e-4


def test_every_light_parameter_is_trained():
    module = blocks()
    pose = module.encode(normal(1, 6, 9, 32, 48))
    hidden = normal(2, TOKENS, DIM)
    for index in (0, 1):
        hidden = module.inject(index, hidden, pose, rotary_turns(GRID))
    hidden.square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_untrained_it_learns_from_the_first_step():
    module = blocks(trained=False)
    module.inject(0, normal(2, TOKENS, DIM), normal(1, TOKENS, WIDTH), rotary_turns(GRID)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.blocks[0].up.parameters())


def test_a_path_of_another_length_than_the_video():
    with pytest.raises(ValueError, match="path gives 12 tokens, and the model samples 18"):
        blocks().inject(0, normal(1, TOKENS, DIM), normal(1, 12, WIDTH), rotary_turns(GRID))


@pytest.mark.parametrize("width", [0, 100, 64])
def test_widths_that_make_no_heads(width):
    with pytest.raises(ValueError, match=f"pose_width is {width}, expected a multiple of 128"):
        VawanConfig(4, LoraConfig(DIM, 1), "ac3d", width)


def test_an_unknown_conditioning():
    with pytest.raises(ValueError, match="pose is one of none, ac3d, time_pose, got 'film'"):
        VawanConfig(pose="film")


# Time&Pose --------------------------------------------------------------------------------------------------------


def test_a_latent_frame_has_the_pose_of_its_last_frame():
    torch.manual_seed(1)
    module = PoseTime(DIM)
    torch.nn.init.normal_(module.proj_out.weight)
    poses = normal(9, 4, 4)
    before = module(poses)
    assert before.shape == (3, DIM)
    for frame in range(9):
        other = poses.clone()
        other[frame, :3] += 1
        moved = (module(other) != before).any(1).tolist()
        assert moved == [frame == 4 * i for i in range(3)]
    other = poses.clone()
    other[:, 3] += 1  # the last row says nothing
    assert torch.equal(module(other), before)


def test_the_pose_is_read_row_by_row():
    module = PoseTime(DIM)
    torch.nn.init.normal_(module.proj_out.weight)
    pose = torch.arange(16.0).view(1, 4, 4) / 10
    numbers = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) / 10
    hidden = module.proj_in.weight @ numbers + module.proj_in.bias
    expected = module.proj_out.weight @ (hidden * torch.sigmoid(hidden)) + module.proj_out.bias
    torch.testing.assert_close(module(pose)[0], expected, rtol=0, atol=1e-5)


@DTYPES
def test_untrained_poses_add_zero(dtype):
    assert not PoseTime(DIM).to(dtype)(normal(5, 4, 4).to(dtype)).any()


@pytest.mark.parametrize("shape", [(8, 4, 4), (9, 3, 4), (9, 16)])
def test_poses_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"expected as \[4 n \+ 1, 4, 4\], got the shape"):
        PoseTime(DIM)(torch.zeros(shape))
