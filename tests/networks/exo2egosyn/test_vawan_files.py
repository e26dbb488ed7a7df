"""Files of VAWAN with camera poses: what is read, and what is refused by name."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from exo2ego.networks.components.build import build_pose_network
from exo2ego.networks.components.files import read_component
from exo2ego.networks.components.metadata import Component
from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig
from exo2ego.networks.exo2egosyn.vawan import VawanConfig
from support.tiny_egosyn import ALPHA, LIGHT_WIDTH, RANK, tiny_component
from support.tiny_wan import DIM, LAYERS

LORA = LoraConfig(DIM, LAYERS, RANK, ALPHA)
AC3D = {"pose": "ac3d", "pose_width": LIGHT_WIDTH}
FORMS = {
    "ac3d": ({**AC3D, "pose_shared": False}, VawanConfig(4, LORA, "ac3d", LIGHT_WIDTH)),
    "ac3d shared": ({**AC3D, "pose_shared": True}, VawanConfig(4, LORA, "ac3d", LIGHT_WIDTH, True)),
    "time and pose": ({"pose": "time_pose"}, VawanConfig(4, LORA, "time_pose")),
    "none": ({"pose": "none"}, VawanConfig(4, LORA)),
}
POSED = [form for form in FORMS if form != "none"]


def tiny_vawan(form: str):
    return tiny_component(Component.VAWAN, **FORMS[form][0])


@pytest.fixture
def changed(tmp_path):
    """Save a VAWAN with a header or tensors that were changed; None takes one away. Returns the path."""

    def save(form, header=None, tensors=None):
        tiny = tiny_vawan(form)
        lines = {**tiny.metadata.to_header(), **(header or {})}
        content = {**tiny.tensors, **(tensors or {})}
        path = tmp_path / "changed.safetensors"
        save_file(
            {key: value for key, value in content.items() if value is not None},
            path,
            {key: value for key, value in lines.items() if value is not None},
        )
        return path

    return save


def refuses(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_component(path, Component.VAWAN)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_comes_back_as_it_was_written(tmp_path, form):
    tiny = tiny_vawan(form)
    loaded = read_component(tiny.write(tmp_path / "tiny.safetensors"), Component.VAWAN)
    assert loaded.config == FORMS[form][1]
    assert loaded.metadata == tiny.metadata
    assert loaded.state_dict.keys() == tiny.tensors.keys()
    network = build_pose_network(loaded)
    if form == "none":
        assert network is None
        return
    found = {f"pose.{key}": tensor for key, tensor in network.state_dict().items()}
    expected = {key: tensor for key, tensor in tiny.tensors.items() if key.startswith("pose.")}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert {parameter.dtype for parameter in build_pose_network(loaded, dtype=torch.bfloat16).parameters()} == {
        torch.bfloat16
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_header_that_is_silent_about_poses(changed, form):
    """The tensors tell; files from before there were poses have none, and load as they did."""
    silent = dict.fromkeys(("pose", "pose_width", "pose_shared"))
    assert read_component(changed(form, header=silent)).config == FORMS[form][1]


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [False, True], ids=["told", "silent"])
@pytest.mark.parametrize("form", POSED)
def test_a_missing_tensor(changed, form, silent):
    header = dict.fromkeys(("pose", "pose_width", "pose_shared")) if silent else None
    for key in tiny_vawan(form).tensors:
        if key.startswith("pose."):
            message = refuses(changed(form, header, {key: None}), "missing|lacks the tensor|do not belong")
            assert "pose." in message


@pytest.mark.parametrize("form", POSED)
def test_all_tensors_of_the_poses_are_missing(changed, form):
    keys = [key for key in tiny_vawan(form).tensors if key.startswith("pose.")]
    refuses(changed(form, tensors=dict.fromkeys(keys)), r"tensors are missing \(pose\.|lacks the tensor pose\.")


@pytest.mark.parametrize("form", POSED)
def test_a_tensor_of_another_shape(changed, form):
    for key, tensor in tiny_vawan(form).tensors.items():
        if key.startswith("pose."):
            larger = torch.zeros([size + 1 for size in tensor.shape])
            message = refuses(changed(form, tensors={key: larger}), "is expected as")
            assert key in message


def test_half_of_the_blocks(changed):
    gone = {key: None for key in tiny_vawan("ac3d").tensors if key.startswith("pose.blocks.1.")}
    refuses(changed("ac3d", tensors=gone), r"16 tensors are missing \(pose\.blocks\.1\.down")


@pytest.mark.parametrize(
    ("form", "header", "message"),
    [
        ("ac3d", {"pose": "none", "pose_width": None, "pose_shared": None}, r"40 tensors do not belong.*pose\."),
        ("ac3d", {"pose": "time_pose", "pose_width": None, "pose_shared": None}, r"4 tensors are missing .pose\.proj"),
        ("time and pose", {"pose": "ac3d"}, "lacks the tensor pose.stem.weight"),
        ("ac3d", {"pose": "none"}, "pose_width belongs to pose=ac3d, and this is a file of pose=none"),
        ("none", {"pose": None, "pose_shared": "true"}, "pose_shared belongs to pose=ac3d"),
        ("ac3d", {"pose_shared": "true"}, r"16 tensors do not belong to the component vawan .pose\.blocks\.1"),
        ("ac3d shared", {"pose_shared": "false"}, r"16 tensors are missing .pose\.blocks\.1"),
        ("ac3d", {"pose_width": "256"}, r"pose\.\S+ is expected as \[.*256.*, got \[.*128"),
        ("ac3d", {"pose_width": "100"}, "pose_width is 100, expected a multiple of 128"),
        ("ac3d", {"pose": "plucker"}, "pose is plucker, and this version reads none or ac3d or time_pose"),
        ("ac3d", {"pose_reference": "per_view"}, "pose_reference is per_view, and this version reads exo1"),
        ("time and pose", {"pose_reference": "per_view"}, "reads exo1 with pose=time_pose"),
    ],
)
def test_a_header_that_does_not_fit(changed, form, header, message):
    refuses(changed(form, header), message)


def test_tensors_of_both_kinds(changed):
    stray = {key: value for key, value in tiny_vawan("time and pose").tensors.items() if "pose.proj" in key}
    refuses(changed("ac3d", tensors=stray), r"4 tensors do not belong.*pose\.proj_in")


def test_what_cannot_be_read_is_not_written(tmp_path):
    tiny = tiny_vawan("ac3d")
    del tiny.tensors["pose.out.bias"]
    with pytest.raises(ValueError, match=r"1 tensors are missing .pose\.out\.bias"):
        tiny.write(tmp_path / "tiny.safetensors")
    assert not list(tmp_path.iterdir())
