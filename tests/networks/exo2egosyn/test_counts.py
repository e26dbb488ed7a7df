"""Numbers of parameters as the format and the papers have them. Nothing is allocated."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.networks.components.shapes import component_shapes
from exo2ego.networks.exo2egosyn.ego_exo_align import AlignConfig, EgoExoAlign
from exo2ego.networks.exo2egosyn.exo_tokens import ExoTokenConfig, ExoTokenizer, cross_attention_shapes
from exo2ego.networks.exo2egosyn.pose_injection import PoseConfig, PoseInjection
from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig, lora_shapes
from exo2ego.networks.exo2egosyn.st_transformer import STConfig, STTransformer
from exo2ego.networks.exo2egosyn.vawan import ExoChannels, VawanConfig, patch_embedding_shapes, pose_network


def on_meta(network, config) -> torch.nn.Module:
    module = network(config, device="meta")
    assert all(parameter.is_meta for parameter in module.parameters())
    return module


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def count_shapes(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


@pytest.mark.parametrize(
    ("network", "config", "expected"),
    [
        (STTransformer, STConfig(), 50_579_968),
        (EgoExoAlign, AlignConfig(), 50_671_880),
        (ExoTokenizer, ExoTokenConfig(), 332_800),
        (ExoTokenizer, ExoTokenConfig(exo_pos="learned"), 332_800 + 20_480 + 3),
        (PoseInjection, PoseConfig(), 31_464_448),
        (PoseInjection, PoseConfig(fuse="additive"), 5_250_048),
        (ExoChannels, VawanConfig(), 1_310_720),
    ],
)
def test_whole_networks(network, config, expected):
    assert count(on_meta(network, config)) == expected


@pytest.mark.parametrize(("patch", "millions"), [(1, 50.61), (2, 50.67), (4, 50.95)])
def test_align_at_other_patch_sizes(patch, millions):
    assert count(on_meta(EgoExoAlign, AlignConfig(patch_size=patch))) / 1e6 == pytest.approx(millions, abs=0.01)


def test_the_small_align():
    """Table 3's ST-TransformerS in our reading."""
    assert count(on_meta(EgoExoAlign, AlignConfig(dim=256, heads=4))) / 1e6 == pytest.approx(12.75, abs=0.005)


def test_parts_of_align():
    module = on_meta(EgoExoAlign, AlignConfig())
    assert count(module.stem) == 46_768
    assert count(module.head) == 45_144
    assert count(module.norm_out) == 512
    half = module.blocks[0].temporal
    assert count(half.peg) == 14_336
    assert count(half.attn) == 1_049_728 - 512  # without the unused context gain
    assert count(half.ff) == 2_097_664


def test_parts_of_pose_injection():
    module = on_meta(PoseInjection, PoseConfig())
    assert count(module.fuse.delta_x) == 26_214_400
    assert count(module.fuse.pose) == 2_626_560
    assert count(module) - count(module.fuse) == 2_623_488


def test_what_goes_into_wans_own_layers():
    assert count_shapes(cross_attention_shapes()) == 4_195_532_800
    assert count_shapes(cross_attention_shapes(blocks=1)) == 104_888_320
    factors = {key: shape for key, shape in lora_shapes(LoraConfig()).items() if ".lora_" in key}
    assert count_shapes(factors) == 209_715_200


@pytest.mark.parametrize(("views", "channels", "expected"), [(4, 100, 2_053_120), (1, 52, 52 * 4 * 5120 + 5120)])
def test_vawans_patch_embedding(views, channels, expected):
    shapes = patch_embedding_shapes(VawanConfig(views))
    assert shapes["patch_embedding.weight"] == (5120, channels, 1, 2, 2)
    assert count_shapes(shapes) == expected


# Light block of width d: down and up, q k v o, and a feed-forward layer of 4 d; all with bias.
def light_block(d: int) -> int:
    return (5120 * d + d) + 4 * (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + (d * 5120 + 5120)


def light_encoder(d: int) -> int:
    return (1536 * d + d) + 2 * (3 * d * d + d) + (d * d + d)


@pytest.mark.parametrize(
    ("config", "expected", "by_hand"),
    [
        (VawanConfig(pose="ac3d", pose_width=512), 338_577_408, light_encoder(512) + 40 * light_block(512)),
        (VawanConfig(pose="ac3d", pose_width=2048), 2_885_664_768, light_encoder(2048) + 40 * light_block(2048)),
        (VawanConfig(pose="ac3d", pose_width=512, pose_shared=True), 11_022_336, light_encoder(512) + light_block(512)),
        (VawanConfig(pose="time_pose"), 26_286_080, 12 * 5120 + 5120 + 5120**2 + 5120),
    ],
)
def test_vawans_poses(config, expected, by_hand):
    assert by_hand == expected
    module = pose_network(config, device="meta")
    assert all(parameter.is_meta for parameter in module.parameters())
    assert count(module) == expected
    poses = {key: shape for key, shape in component_shapes(config).items() if key.startswith("pose.")}
    assert count_shapes(poses) == expected


def test_vawan_without_poses_has_no_network_for_them():
    assert pose_network(VawanConfig()) is None
    assert not [key for key in component_shapes(VawanConfig()) if key.startswith("pose.")]
