"""Files of trained parts that are chosen together."""

from __future__ import annotations

import pytest

from exo2ego.networks.components.metadata import Component
from exo2ego.networks.components.set import read_components
from support.egosyn_graph import components
from support.tiny_components import tiny_component, tiny_vawan, write_tiny_component


def test_what_was_read_is_told(tmp_path):
    told = {"category": "bike", "stage": 1, "step": 100_000, "num_views": 4, "cond_dropout": 0.1}
    paths = {
        Component.ALIGN: write_tiny_component(tmp_path, Component.ALIGN),
        Component.MULTIEXOCON: write_tiny_component(tmp_path, Component.MULTIEXOCON, told=told),
        Component.POSEINJ: write_tiny_component(tmp_path, Component.POSEINJ),
    }
    read = read_components(paths)
    align, multiexocon, poseinj = read.describe().splitlines()
    assert align.startswith("align: tiny_align.safetensors (")
    assert "width 16, depth 1" in align
    assert "up to 4 views, sample with CFG 3.5, 9 frames of 256 x 256, stride 4, trained on bike" in multiexocon
    assert multiexocon.endswith(", stage 1, 100,000 steps)")
    assert "concat" in poseinj
    assert read.needs_views
    assert read.needs_poses
    assert read.most_views() == 4


def test_a_lora_that_belongs_to_it_and_is_not_there():
    multiexocon, poseinj = (tiny_component(part) for part in (Component.MULTIEXOCON, Component.POSEINJ))
    (note,) = components(multiexocon, poseinj).notes()
    assert "self-attention LoRA, and none is loaded: multiexocon and poseinj" in note
    assert not components(multiexocon, poseinj, tiny_component(Component.LORA)).notes()
    assert not components(poseinj, tiny_component(Component.VAWAN)).notes()
    assert not components(tiny_component(Component.ALIGN)).notes()


def test_nothing_chosen():
    assert read_components({}).describe() == "No component chosen: the model stays as it is."


def test_the_wrong_file_for_a_part(tmp_path):
    path = write_tiny_component(tmp_path, Component.POSEINJ)
    with pytest.raises(ValueError, match=r"tiny_poseinj\.safetensors: it holds the component poseinj, and align"):
        read_components({Component.ALIGN: path})


def test_a_half_written_file(tmp_path):
    path = write_tiny_component(tmp_path, Component.LORA)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"tiny_lora\.safetensors is truncated, corrupt"):
        read_components({Component.LORA: path})


@pytest.mark.parametrize("other", [Component.MULTIEXOCON, Component.LORA])
def test_vawan_goes_with_neither_multiexocon_nor_another_lora(tmp_path, other):
    paths = {component: write_tiny_component(tmp_path, component) for component in (Component.VAWAN, other)}
    with pytest.raises(ValueError, match=f"choose either vawan or {other.value}"):
        read_components(paths)


def test_parts_that_were_not_trained_together():
    lora = tiny_component(Component.LORA, told={"category": "bike", "stage": 1})
    poseinj = tiny_component(Component.POSEINJ, told={"category": "cpr", "stage": 2})
    activities, stages = components(lora, poseinj).notes()
    assert "different activities: bike, cpr" in activities
    assert "is the LoRA of stage 1, and PoseInj was trained with that of stage 2" in stages
    assert not components(lora).notes()


def test_vawan_reads_views_and_no_poses():
    vawan = components(tiny_component(Component.VAWAN))
    assert vawan.needs_views
    assert not vawan.needs_poses
    assert "4 views, no poses" in vawan.describe()


@pytest.mark.parametrize(
    ("poses", "told"),
    [
        ("ac3d", "4 views, poses by AC3D at width 128, sample with CFG 1, 9 frames"),
        ("ac3d shared", "4 views, poses by AC3D at width 128 in one shared block, sample with CFG 1, 9 frames"),
        ("time and pose", "4 views, poses by Time&Pose, sample with CFG 1, 9 frames"),
    ],
)
def test_vawan_with_poses_reads_them(poses, told):
    vawan = components(tiny_vawan(poses))
    assert vawan.needs_views
    assert vawan.needs_poses
    assert told in vawan.describe()
