"""The guard at the sockets: every input of every node, as the schemas have them, in process."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from exo2ego.common.wan_grid import TEXT_WIDTH
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.plucker import PluckerMaps
from exo2ego.geometry.points.point_cloud import PointCloud
from exo2ego.networks.components.set import SynComponents
from support.comfyui import import_comfyui, run_node

import_comfyui()

import folder_paths  # noqa: E402
from comfy_api.internal import first_real_override  # noqa: E402

from exo2ego.nodes.common.guard import RULES, checked_inputs, checked_value  # noqa: E402
from exo2ego.nodes.extension import NODES  # noqa: E402
from exo2ego.wan.exo2egosyn.views import ExoViews  # noqa: E402

BY_NAME = {node.define_schema().node_id: node for node in NODES}
INPUTS = [(node, declared) for node in NODES for declared in node.define_schema().inputs]
WITH_INPUTS = [node for node in NODES if node.define_schema().inputs]  # what has none refuses nothing
# What Python, numpy and torch say when nobody looked.
RAW = (
    "object has no attribute",
    "unsupported operand",
    "not subscriptable",
    "unexpected keyword",
    "positional",
    "dtype(",
)


class Anything:
    """An object of nobody's."""


def names(entries: list) -> list[str]:
    return [f"{node.define_schema().node_id}.{declared.id}" for node, declared in entries]


def camera(n_frames: int = 1) -> Camera:
    return Camera(Pinhole(4.0, 4.0, 4.0, 4.0), 8, 8, torch.eye(4).repeat(n_frames, 1, 1))


def points(n_frames: int = 2) -> PointCloud:
    some = torch.zeros(3, 3)
    return PointCloud(some, some, (some,) * n_frames, (some.clone(),) * n_frames)


def good_values() -> dict[str, object]:
    """A value that each rule takes, where one can be made without a model."""
    return {
        "STRING": "a cup",
        "BOOLEAN": True,
        "IMAGE": torch.zeros(2, 4, 6, 3),
        "MASK": torch.zeros(2, 4, 6),
        "LATENT": {"samples": torch.zeros(1, 16, 2, 4, 4)},
        "CONDITIONING": [[torch.zeros(1, 3, TEXT_WIDTH), {}]],
        "EXO2EGO_CAMERA": camera(),
        "EXO2EGO_DEPTH": Depth(torch.ones(2, 4, 6), DepthMeaning.METRIC),
        "EXO2EGO_POINTS": points(),
        "EXO2EGO_PLUCKER": PluckerMaps.of(camera(5), camera(), 16, 16),
        "EXO2EGO_SYN": SynComponents(),
        "EXO2EGO_EXO_VIEWS": ExoViews(torch.zeros(1, 16, 2, 4, 4), 5, ("exo 1",)),
        "POSE_KEYPOINT": [{"people": [], "canvas_width": 8, "canvas_height": 8}],
        "MHR_POSE_DATA": {"frames": []},
        "FACE_LANDMARKS": {"frames": []},
        "KIMODO_POSE_DATA": {"frames": []},
        "LOAD3D_CAMERA": {"position": {}},
        "MOGE_GEOMETRY": {"depth": torch.ones(2, 4, 6)},
        "DA3_GEOMETRY": {"depth": torch.ones(2, 4, 6)},
        "SPLAT": SimpleNamespace(
            positions=torch.ones(1, 2, 3), opacities=torch.ones(1, 2, 1), sh=torch.ones(1, 2, 1, 3)
        ),
        "SAM3_TRACK_DATA": {"packed_masks": None, "n_frames": 2, "scores": [], "orig_size": (4, 6)},
    }


def wrong_values() -> list[object]:
    """Values of every kind that packs, scripts and broken nodes hand out."""
    return [
        Anything(),
        object,
        b"bytes",
        math.nan,
        -math.inf,
        10**5000,
        -(10**30),
        1e300,
        "no such thing",
        "\ud800",
        "a\0b",
        "x" * 3_000_000,
        "../../etc/passwd",
        "/etc",
        {1: 2},
        {"samples": "none"},
        {"samples": torch.zeros(1, 4, 8, 8)},
        {"samples": torch.full((1, 16, 1, 2, 2), math.nan)},
        [[]],
        [["text", {}]],
        [[torch.zeros(1, 77, 768), {}]],
        [torch.zeros(1, 2, 2, 3)],
        np.zeros((1, 2, 2, 3)),
        torch.tensor(math.nan),
        torch.zeros(0, 2, 2, 3),
        torch.zeros(1, 2, 2, 2),
        torch.zeros(2, 2, 3),
        torch.zeros(1, 2, 2, 3, dtype=torch.uint8),
        torch.zeros(1, 2, 2, 3, dtype=torch.complex64),
        torch.full((2, 2, 2, 3), math.inf),
        lambda *_: None,
    ]


# Payloads of others, of which only the readers know what is in them.
KEYED = ("POSE_KEYPOINT", "MHR_POSE_DATA", "FACE_LANDMARKS", "LOAD3D_CAMERA", "MOGE_GEOMETRY", "DA3_GEOMETRY")
KEYED += ("SAM3_TRACK_DATA", "KIMODO_POSE_DATA")


def takes(declared, value: object) -> bool:
    """Whether a wrong value is right for this input after all."""
    kind = str(declared.io_type)
    if hasattr(declared, "checked") and kind == "IMAGE":  # depth: any channels, and holes
        return isinstance(value, torch.Tensor) and value.ndim == 4 and value.numel() > 0 and value.is_floating_point()
    if kind == "STRING" and not hasattr(declared, "checked"):
        return value in ("no such thing", "../../etc/passwd", "/etc") if isinstance(value, str) else False
    if kind == "MASK":  # any numbers do
        return isinstance(value, torch.Tensor) and value.ndim == 3
    # What is in them, their readers check: geometry.head, geometry.cameras.load3d, geometry.depth.core_geometry.
    return kind in KEYED and isinstance(value, dict | list)


def test_every_input_of_every_node_has_a_rule():
    assert len(NODES) > 20
    for node, declared in INPUTS:
        assert hasattr(declared, "checked") or str(declared.io_type) in RULES, (node, declared.id, declared.io_type)


@pytest.mark.parametrize(("node", "declared"), INPUTS, ids=names(INPUTS))
def test_wrong_values_are_told(node, declared):
    name = declared.display_name or declared.id
    for value in wrong_values():
        if takes(declared, value):
            continue
        with pytest.raises(ValueError, match=f"^The input '{name}'") as failure:
            checked_value(declared, value)
        text = str(failure.value)
        assert len(text) < 900, text
        assert text.count(". ") >= 1 or ": " in text, text
        assert not any(raw in text for raw in RAW), text


@pytest.mark.parametrize("node", WITH_INPUTS, ids=lambda node: node.define_schema().node_id)
def test_every_node_is_guarded(node):
    """No node gets as far as its own code, and none raises anything but a sentence."""
    inputs = node.define_schema().inputs
    first, needs_any = inputs[0], not all(declared.optional for declared in inputs)
    for value in (Anything(), None) if needs_any else (Anything(),):
        with pytest.raises(ValueError, match=f"The input '{first.display_name or first.id}'"):
            run_node(node, **{first.id: value})
    with pytest.raises(ValueError, match=rf"has no input 'of_tomorrow'; it has {first.id}"):
        run_node(node, of_tomorrow=1)
    if needs_any:
        with pytest.raises(ValueError, match="The input"):
            run_node(node)


# Values ---------------------------------------------------------------------------------------------------------------


def test_right_values_pass():
    """Those that each rule takes go on as they are, or rebuilt."""
    good = good_values()
    for _, declared in INPUTS:
        if (kind := str(declared.io_type)) in good and not hasattr(declared, "checked"):
            assert type(checked_value(declared, good[kind])) is type(good[kind])
        elif kind in ("INT", "FLOAT"):
            for value in (declared.min, declared.max, declared.default, np.asarray(declared.max)[()]):
                assert checked_value(declared, value) == value
        elif kind == "COMBO" and declared.options:
            assert checked_value(declared, declared.options[0]) == declared.options[0]


def input_of(node: str, name: str):
    return next(declared for declared in BY_NAME[node].define_schema().inputs if declared.id == name)


IMAGES = [(node, declared) for node, declared in INPUTS if str(declared.io_type) == "IMAGE"]


@pytest.mark.parametrize(("node", "declared"), IMAGES, ids=names(IMAGES))
def test_images_that_are_not_finite(node, declared):
    for bad in (math.nan, math.inf, -math.inf):
        images = torch.rand(4, 3, 5, 3)
        images[2, 1, 4, 0] = bad
        if hasattr(declared, "checked"):  # depth: a pixel without depth
            assert torch.equal(
                checked_value(declared, images),
                images,
            ) or math.isnan(bad)
            continue
        with pytest.raises(ValueError, match=r"frame 2 of 4 \(counted from 0\) holds NaN or infinity"):
            checked_value(declared, images)


def test_images_of_any_precision_arrive_as_float32():
    declared = input_of("Exo2EgoCompare", "exo")
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float32):
        images = torch.full((1, 2, 2, 4), 60000.0).to(dtype)  # sums overflow half precision, and are no fault
        assert checked_value(declared, images).dtype is torch.float32
    assert checked_value(declared, images).data_ptr() == images.data_ptr(), "float32 images are not copied"
    assert checked_value(declared, torch.full((1, 400, 400, 3), 3e38)).isfinite().all(), (
        "a sum that overflows is no fault"
    )


# Choices --------------------------------------------------------------------------------------------------------------

COMBOS = [(node, declared) for node, declared in INPUTS if str(declared.io_type) == "COMBO"]


@pytest.mark.parametrize(("node", "declared"), COMBOS, ids=names(COMBOS))
@pytest.mark.parametrize("value", ["no such choice", "../outside", "/etc", "", 7, 1.5, True, ["pinhole"], {"a": 1}])
def test_choices_that_are_not_there_are_refused_when_a_graph_is_sent(node, declared, value):
    told = node.validate_inputs(**{declared.id: value})
    assert str(told).startswith(f"The input '{declared.id}'")
    assert len(told) < 900


def test_depth_pro_opens_no_folder_outside_its_own(tmp_path):
    """Also where there are such files."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"{}")
    node = BY_NAME["Exo2EgoDepthPro"]
    for weights in (str(tmp_path), "../depth_pro", "../../input", ".", ""):
        assert "The input 'weights' takes one of" in node.validate_inputs(weights=weights)
        with pytest.raises(ValueError, match="The input 'weights' takes one of"):
            run_node(node, images=torch.zeros(1, 2, 2, 3), weights=weights, known_fov=0.0)


@pytest.mark.parametrize("node", NODES, ids=BY_NAME)
def test_no_schema_is_made_for_a_check(node, monkeypatch):
    """Making one lists folders, of 20,000 files perhaps."""
    declared = [one.id for one in node.define_schema().inputs]
    monkeypatch.setattr(node, "define_schema", classmethod(lambda cls: pytest.fail("a schema was made")))
    with pytest.raises(ValueError, match="has no input 'nonsense'"):
        node.execute(nonsense=1)
    for name in ("validate_inputs", "fingerprint_inputs"):
        if (method := first_real_override(node, name)) is not None:
            method(**dict.fromkeys(declared, "no such"))


@pytest.mark.parametrize(
    ("node", "declared", "kind"),
    [("Exo2EgoEgoXLoader", "lora_name", "loras"), ("Exo2EgoDepthPro", "weights", "depth_pro")],
)
def test_a_file_that_came_later_may_be_chosen(node, declared, kind, tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(tmp_path)], {".safetensors"}))
    name = "later.safetensors"
    assert "The input" in BY_NAME[node].validate_inputs(**{declared: name})
    place = tmp_path / name / "config.json" if kind == "depth_pro" else tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_text('{"model_type": "depth_pro"}')
    os.utime(tmp_path, (1, 1))  # ComfyUI keeps its lists for as long as a folder's time stays
    assert BY_NAME[node].validate_inputs(**{declared: name}) is True


@pytest.mark.parametrize("node", NODES, ids=BY_NAME)
def test_nothing_raises_while_a_graph_is_looked_at(node):
    """Inputs may be missing, come through links (None), or be of any type."""
    declared = [one.id for one in node.define_schema().inputs]
    for name in ("validate_inputs", "fingerprint_inputs"):
        if (method := first_real_override(node, name)) is not None:
            method()
            method(**dict.fromkeys(declared))
            for value in wrong_values():
                method(**dict.fromkeys(declared, value))


# Payloads -------------------------------------------------------------------------------------------------------------


def broken(payload, **changed: object):
    """A payload whose fields were set past its constructor."""
    copy = replace(payload)
    for name, value in changed.items():
        object.__setattr__(copy, name, value)
    return copy


def conditioning(**extras: object) -> list:
    return [[torch.zeros(1, 3, TEXT_WIDTH), extras]]


NOT_FINITE = torch.full((1, 4, 4), math.nan)


@pytest.mark.parametrize(
    ("socket", "payload", "what"),
    [
        ("EXO2EGO_CAMERA", broken(camera(), world_to_camera=NOT_FINITE), "NaN or infinity"),
        ("EXO2EGO_CAMERA", broken(camera(), world_to_camera=torch.zeros(0, 4, 4)), "shape"),
        ("EXO2EGO_CAMERA", broken(camera(), world_to_camera=None), "world_to_camera nothing"),
        ("EXO2EGO_CAMERA", broken(camera(), lens="pinhole"), "lens the text 'pinhole'"),
        ("EXO2EGO_CAMERA", broken(camera(), lens=broken(camera().lens, fx=math.nan)), "finite numbers"),
        ("EXO2EGO_CAMERA", broken(camera(), width="8"), "a whole number of pixels from 1 to 65,536, got the text '8'"),
        ("EXO2EGO_CAMERA", object.__new__(Camera), "lens nothing"),
        ("EXO2EGO_DEPTH", broken(good_values()["EXO2EGO_DEPTH"], values=torch.zeros(0, 4, 6)), "shape [0, 4, 6]"),
        ("EXO2EGO_DEPTH", broken(good_values()["EXO2EGO_DEPTH"], values=NOT_FINITE), "every pixel is NaN"),
        ("EXO2EGO_DEPTH", broken(good_values()["EXO2EGO_DEPTH"], values=None), "values nothing"),
        ("EXO2EGO_DEPTH", broken(good_values()["EXO2EGO_DEPTH"], meaning="feet"), "feet"),
        ("EXO2EGO_POINTS", broken(points(), frame_points=()), "0 frames of points and 2 of colors"),
        ("EXO2EGO_POINTS", broken(points(), background_colors=torch.zeros(2, 3)), "[3, 3], [2, 3]"),
        ("EXO2EGO_POINTS", broken(points(), background_points=torch.full((3, 3), math.inf)), "background_points holds"),
        ("EXO2EGO_POINTS", broken(points(1), frame_points=(torch.full((3, 3), math.nan),)), "frame_points holds"),
        ("EXO2EGO_PLUCKER", broken(good_values()["EXO2EGO_PLUCKER"], maps=torch.zeros(1, 3, 2, 2)), "[F, 6, H, W]"),
        ("EXO2EGO_PLUCKER", broken(good_values()["EXO2EGO_PLUCKER"], rays="pinhole"), "rays the text 'pinhole'"),
        ("EXO2EGO_CAMERA", broken(camera(), take_kind="ego-exo4d"), "take_kind the text 'ego-exo4d'"),
        ("EXO2EGO_PLUCKER", broken(good_values()["EXO2EGO_PLUCKER"], poses=torch.zeros(2, 4, 4)), "poses [5, 4, 4]"),
        ("EXO2EGO_PLUCKER", broken(good_values()["EXO2EGO_PLUCKER"], maps=torch.full((5, 6, 2, 2), math.nan)), "maps"),
        ("EXO2EGO_SYN", broken(SynComponents(), parts=None), "parts nothing"),
        ("EXO2EGO_SYN", broken(SynComponents(), parts={"lora": 1}), "parts a dictionary with the keys lora"),
        ("EXO2EGO_EXO_VIEWS", broken(good_values()["EXO2EGO_EXO_VIEWS"], n_frames=9), "1 views of 9 frames"),
        ("EXO2EGO_EXO_VIEWS", broken(good_values()["EXO2EGO_EXO_VIEWS"], names=("a", "b")), "2 views of 5 frames"),
        ("EXO2EGO_EXO_VIEWS", broken(good_values()["EXO2EGO_EXO_VIEWS"], n_frames="5"), "n_frames the text '5'"),
        (
            "EXO2EGO_EXO_VIEWS",
            broken(good_values()["EXO2EGO_EXO_VIEWS"], latents=torch.full((1, 16, 2, 4, 4), math.nan)),
            "latents holds NaN",
        ),
        ("CONDITIONING", conditioning(clip_vision_output=[[]]), "an image encoder's output; got a list of 1"),
        ("CONDITIONING", conditioning(concat_latent_image=torch.zeros(1, 16, 4, 4)), "concat_latent_image is a tensor"),
        ("CONDITIONING", conditioning(concat_latent_image=torch.full((1, 16, 2, 4, 4), math.nan)), "NaN or infinity"),
        ("CONDITIONING", conditioning(concat_mask="a text"), "concat_mask is a tensor"),
    ],
)  # fmt: skip
def test_payloads_that_are_not_in_order(socket, payload, what):
    declared = next(declared for _, declared in INPUTS if str(declared.io_type) == socket)
    with pytest.raises(ValueError, match=re.escape(what)) as failure:
        checked_value(declared, payload)
    text = str(failure.value)
    assert text.startswith("The input '")
    assert "Connect" in text or "Run the node" in text or "run it in a higher precision" in text
    assert len(text) < 900
    assert not any(raw in text for raw in RAW), text


def test_what_an_unlinked_or_unknown_input_is_told():
    node = BY_NAME["Exo2EgoCompare"].define_schema()
    with pytest.raises(ValueError, match="'exo' of Compare Views needs a value and got none"):
        checked_inputs(node.display_name, node.inputs, {"exo": None, "times": 3})
    given = {"exo": torch.zeros(1, 2, 2, 3), "times": 3, "ego": None}
    assert checked_inputs(node.display_name, node.inputs, given)["ego"] is None
