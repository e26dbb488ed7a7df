from __future__ import annotations

from dataclasses import fields

import pytest

from exo2ego.networks.components.metadata import (
    METADATA_OF,
    AlignMetadata,
    Component,
    LoraMetadata,
    MultiExoConMetadata,
    PoseInjMetadata,
    VawanMetadata,
    parse_metadata,
)

FULL = [
    AlignMetadata(
        category="bike",
        stage=0,
        step=100_000,
        num_views=4,
        image_size=(256, 192),
        num_frames=17,
        frame_stride=2,
        rays="raymap",
        dtype="bfloat16",
        license="CC BY-NC 4.0",
        trained_by="somebody",
        dim=256,
        heads=4,
        dim_head=64,
        num_blocks=8,
        ff_mult=2.5,
        patch_size=4,
        other={"run": "7"},
    ),
    MultiExoConMetadata(exo_pos="learned", cond_dropout=0.0, cond_tail="pixel", guidance=1.0),
    PoseInjMetadata(unshuffle=8, kernel=5, fuse="additive"),
    LoraMetadata(rank=128, alpha=200 / 3, pose_reference="per_view"),
    VawanMetadata(rank=16, alpha=16.0, num_views=1),
    VawanMetadata(rank=16, alpha=16.0, pose="ac3d", pose_width=2048, pose_shared=True, pose_reference="exo1"),
]


@pytest.mark.parametrize("metadata", FULL, ids=lambda metadata: metadata.component.value)
def test_a_header_is_read_back(metadata):
    header = metadata.to_header()
    assert all(isinstance(value, str) for value in header.values())
    assert parse_metadata(header) == metadata
    assert parse_metadata(METADATA_OF[metadata.component]().to_header()) == METADATA_OF[metadata.component]()


def test_every_component_has_its_class():
    assert list(METADATA_OF) == list(Component)


def test_the_header_has_the_names_of_the_format():
    common = """format format_version component category base_model stage step num_views image_size num_frames
    frame_stride plucker_order pose_convention pose_reference pose_scale rays latent_space dtype license trained_by"""
    own = """dim heads dim_head num_blocks ff_mult patch_size in_channels out_channels order kv_prenorm view_reduce
    spatial_rel_pos_bias run"""
    assert set(FULL[0].to_header()) == {*common.split(), *own.split()}
    assert {"exo_pos", "cross_mode", "cond_dropout", "cond_tail", "guidance"} <= set(FULL[1].to_header())
    assert {"unshuffle", "kernel", "pad", "fuse"} <= set(FULL[2].to_header())
    assert {"rank", "alpha"} <= set(FULL[3].to_header())
    assert {"pose", "pose_width", "pose_shared"} <= set(FULL[5].to_header())


def test_how_values_are_written():
    header = FULL[0].to_header()
    lines = {
        "format": "exo2egosyn",
        "format_version": "1",
        "component": "align",
        "base_model": "Wan2.2-I2V-A14B-low-noise",
        "image_size": "256x192",
        "kv_prenorm": "false",
        "pose_convention": "inv(exo_c2w)@ego_c2w",
        "pose_reference": "per_view",
        "ff_mult": "2.5",
        "pose_scale": "1.0",
        "plucker_order": "moment_direction",
        "latent_space": "wan21_normalised",
    }
    assert lines.items() <= header.items()


def test_what_a_header_does_not_tell_is_none():
    header = AlignMetadata().to_header()
    assert not {"dim", "num_views", "step"} & set(header)
    metadata = parse_metadata({**header, "image_size": "512"})
    assert (metadata.dim, metadata.num_views, metadata.image_size) == (None, None, (512, 512))


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (AlignMetadata, "kv_prenorm", "true", "kv_prenorm is true, and this version reads false"),
        (AlignMetadata, "spatial_rel_pos_bias", "true", "this version reads false"),
        (AlignMetadata, "order", "ts", "order is ts, and this version reads st"),
        (AlignMetadata, "view_reduce", "attention", "this version reads mean"),
        (AlignMetadata, "in_channels", "16", "in_channels is 16, and this version reads 22"),
        (AlignMetadata, "out_channels", "16", "this version reads 22"),
        (AlignMetadata, "pose_reference", "exo1", "pose_reference is exo1, and this version reads per_view"),
        (PoseInjMetadata, "pose_reference", "per_view", "this version reads exo1"),
        (PoseInjMetadata, "pad", "zeros", "pad is zeros, and this version reads replicate_first"),
        (PoseInjMetadata, "fuse", "film", "fuse is film, and this version reads concat or additive"),
        (PoseInjMetadata, "pose_scale", "2", "pose_scale is 2.0, and this version reads 1.0"),
        (PoseInjMetadata, "pose_convention", "inv(ego_c2w)@exo_c2w", "this version reads inv"),
        (PoseInjMetadata, "plucker_order", "direction_moment", "this version reads moment_direction"),
        (PoseInjMetadata, "rays", "equirect", "rays is equirect, and this version reads pinhole or raymap"),
        (MultiExoConMetadata, "exo_pos", "rope", "exo_pos is rope, and this version reads none or learned"),
        (MultiExoConMetadata, "cross_mode", "lora", "cross_mode is lora, and this version reads full"),
        (MultiExoConMetadata, "cond_tail", "noise", "cond_tail is noise, and this version reads gray or pixel"),
        (MultiExoConMetadata, "cond_dropout", "1.5", "cond_dropout is 1.5, expected a share from 0 to 1"),
        (MultiExoConMetadata, "cond_dropout", "nan", "cond_dropout is nan, expected a share from 0 to 1"),
        (MultiExoConMetadata, "guidance", "0", "guidance is 0.0, expected a number above zero"),
        (VawanMetadata, "cond_tail", "zero", "cond_tail is zero, and this version reads gray or pixel"),
        (MultiExoConMetadata, "latent_space", "wan21", "this version reads wan21_normalised"),
        (VawanMetadata, "pose", "dense", "pose is dense, and this version reads none or ac3d or time_pose"),
        (VawanMetadata, "pose_shared", "all", "pose_shared is 'all', expected true or false"),
        (VawanMetadata, "pose_width", "0", "pose_width is 0, expected a number above zero"),
        (AlignMetadata, "kv_prenorm", "no", "kv_prenorm is 'no', expected true or false"),
        (AlignMetadata, "dim", "512.5", r"dim is '512.5', expected a whole number"),
        (AlignMetadata, "dim", "0", "dim is 0, expected a number above zero"),
        (AlignMetadata, "ff_mult", "nan", "ff_mult is nan, expected a number above zero"),
        (AlignMetadata, "ff_mult", "inf", "ff_mult is inf, expected a number above zero and up to 100,000"),
        (AlignMetadata, "dim", "99999999999999999999", "dim is 99999999999999999999, expected a number above zero"),
        (LoraMetadata, "rank", "-1", "rank is -1, expected a number above zero"),
        (AlignMetadata, "num_views", "0", "num_views is 0, expected a number above zero"),
        (AlignMetadata, "num_frames", "8", r"num_frames is 8, expected 4 n \+ 1"),
        (AlignMetadata, "image_size", "256x", "image_size is '256x', expected WIDTHxHEIGHT"),
    ],
)
def test_values_that_this_version_does_not_read(kind, name, value, message):
    header = kind().to_header()
    assert name in header or name in {item.name for item in fields(kind)}
    with pytest.raises(ValueError, match=message):
        parse_metadata({**header, name: value})


def test_a_value_that_cannot_be_read_is_not_written_either():
    with pytest.raises(ValueError, match="cross_mode is lora"):
        MultiExoConMetadata(cross_mode="lora")
