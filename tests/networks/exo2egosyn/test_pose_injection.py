from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exo2ego.networks.components.metadata import Component
from exo2ego.networks.exo2egosyn.pose_injection import PoseConfig, PoseInjection
from support.tiny_egosyn import POSE_DIM, tiny_component

DIM = 40
BOTH = pytest.mark.parametrize("fuse", ["concat", "additive"])


def trained(fuse: str = "concat") -> PoseInjection:
    module = PoseInjection(PoseConfig(DIM, POSE_DIM, fuse=fuse))
    module.load_state_dict(tiny_component(Component.POSEINJ, dim=DIM, fuse=fuse).tensors)
    return module


def plucker(frames: int = 9, height: int = 32, width: int = 48, batch: int = 2) -> Tensor:
    return torch.randn(batch, 6, frames, height, width, generator=torch.Generator().manual_seed(0))


def hidden_for(pose: Tensor) -> Tensor:
    return torch.randn(*pose.shape[:2], DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("frames", "latent_frames"), [(1, 1), (5, 2), (9, 3), (17, 5), (81, 21)])
def test_lengths(frames, latent_frames):
    pose = trained().encode(plucker(frames, 16, 32))
    assert pose.shape == (2, latent_frames * 1 * 2, POSE_DIM)


def test_the_papers_size():
    with torch.device("meta"):
        module = PoseInjection(PoseConfig())
        pose = module.encode(torch.empty(1, 6, 9, 256, 256))
        assert pose.shape == (1, 768, 512)
        assert module.inject(torch.empty(1, 768, 5120), pose).shape == (1, 768, 5120)


def by_hand(maps: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """The encoder for one sample [6, T, H, W], cell by cell and step by step: [t, rows, columns, pose_dim]."""

    def silu(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    def down(series: list[Tensor], name: str) -> list[Tensor]:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        seen = [max(0, time) for time in range(-2, len(series))]  # two repeats of the first step before it
        return [
            silu(sum(weight[:, :, tap] @ series[seen[start + tap]] for tap in range(3)) + bias)
            for start in range(0, len(series), 2)
        ]

    _, frames, height, width = maps.shape
    rows, columns = height // 16, width // 16
    out = torch.empty((frames - 1) // 4 + 1, rows, columns, POSE_DIM, dtype=maps.dtype)
    for row in range(rows):
        for column in range(columns):
            square = maps[:, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            series = [square[:, time].reshape(-1) for time in range(frames)]  # (channel, row, column)
            series = [silu(tensors["stem.weight"][:, :, 0] @ step + tensors["stem.bias"]) for step in series]
            series = down(down(series, "down1"), "down2")
            out[:, row, column] = torch.stack(
                [tensors["out.weight"][:, :, 0] @ step + tensors["out.bias"] for step in series]
            )
    return out


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_the_encoder_is_what_the_format_says(frames):
    maps = plucker(frames).double()
    tensors = {k: v.double() for k, v in tiny_component(Component.POSEINJ, dim=DIM).tensors.items()}
    expected = torch.stack([by_hand(sample, tensors).flatten(0, 2) for sample in maps])
    torch.testing.assert_close(trained().double().encode(maps), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("frames", [5, 9, 17])
def test_a_latent_frame_depends_only_on_frames_up_to_four_times_its_number(frames):
    module, maps = trained(), plucker(frames, 16, 16)
    before = module.encode(maps)  # one cell, so one token a latent frame
    for frame in range(frames):
        changed = maps.clone()
        changed[:, :, frame] += 1
        moved = (module.encode(changed) != before).any(dim=2).any(dim=0)
        first = -(-frame // 4)
        assert not moved[:first].any()
        assert moved[first], "the group of the VAE that the frame belongs to must see it"


def test_a_longer_clip_does_not_change_what_came_before():
    maps = plucker(17)
    short, whole = trained().encode(maps[:, :, :9]), trained().encode(maps)
    torch.testing.assert_close(short, whole[:, : short.shape[1]], rtol=0, atol=1e-5)


def test_cells_do_not_mix():
    module, maps = trained(), plucker()
    changed = maps.clone()
    changed[:, :, :, 16:32, 32:48] += 1  # row 1, column 2 of 2 x 3
    moved = (module.encode(changed) != module.encode(maps)).any(dim=2).all(dim=0).unflatten(0, (3, 2, 3))
    assert moved.nonzero().tolist() == [[frame, 1, 2] for frame in range(3)]


# Fusion -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_untrained_it_changes_nothing_bit_by_bit(fuse, dtype):
    module = PoseInjection(PoseConfig(DIM, POSE_DIM, fuse=fuse)).to(dtype)
    pose = module.encode(plucker().to(dtype))
    hidden = 100 * hidden_for(pose).to(dtype)
    assert pose.abs().max() > 0
    assert torch.equal(module.inject(hidden, pose), hidden)


def test_concatenation_is_a_projection_of_both():
    """The paper's words: [I + A | B] [h || p] + b."""
    module = trained()
    pose = module.encode(plucker())
    hidden = hidden_for(pose)
    weight = torch.cat([torch.eye(DIM) + module.fuse.delta_x.weight, module.fuse.pose.weight], dim=1)
    expected = torch.cat([hidden, pose], dim=2) @ weight.T + module.fuse.pose.bias
    torch.testing.assert_close(module.inject(hidden, pose), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(module(hidden, plucker()), expected, rtol=0, atol=1e-5)


def test_additive_fusion():
    module = trained("additive")
    pose = module.encode(plucker())
    hidden = hidden_for(pose)
    expected = hidden + pose @ module.fuse.pose.weight.T + module.fuse.pose.bias
    torch.testing.assert_close(module.inject(hidden, pose), expected, rtol=0, atol=1e-5)


def test_one_path_serves_a_batch():
    module = trained()
    pose = module.encode(plucker(batch=1))
    hidden = hidden_for(pose.expand(2, -1, -1))
    torch.testing.assert_close(
        module.inject(hidden, pose), module.inject(hidden, pose.expand(2, -1, -1)), rtol=0, atol=1e-6
    )


@BOTH
def test_every_parameter_is_trained(fuse):
    module = trained(fuse)
    pose = module.encode(plucker())
    module.inject(hidden_for(pose), pose).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_an_untrained_fusion_learns_from_the_first_step():
    module = PoseInjection(PoseConfig(DIM, POSE_DIM))
    pose = module.encode(plucker())
    module.inject(hidden_for(pose), pose).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.fuse.parameters())


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 6, 8, 32, 32), r"4 n \+ 1 frames .* got 8 frames of 32 x 32"),
        ((1, 6, 9, 32, 40), "multiples of 16, got 9 frames of 40 x 32"),
        ((1, 3, 9, 32, 32), r"\[B, 6, T, H, W\], got the shape \[1, 3, 9, 32, 32\]"),
        ((6, 9, 32, 32), "got the shape"),
        ((1, 6, 0, 32, 32), "got the shape"),
    ],
)
def test_maps_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        trained().encode(torch.zeros(shape))


def test_a_path_of_another_length_than_the_video():
    module = trained()
    pose = module.encode(plucker(9))
    with pytest.raises(ValueError, match="path gives 18 tokens, and the model samples 12"):
        module.inject(hidden_for(pose)[:, :12], pose)


@pytest.mark.parametrize("change", [{"dim": 0}, {"pose_dim": 0}, {"unshuffle": 0}, {"kernel": 0}, {"fuse": "film"}])
def test_sizes_that_make_no_network(change):
    with pytest.raises(ValueError, match=r"at least 1|fuse is one of concat, additive, got 'film'"):
        PoseConfig(**change)
