"""Memory before work, and cancelling within a large frame: in process, and by counts, not by seconds."""

from __future__ import annotations

import io as bytes_io
import zipfile

import numpy as np
import pytest
import torch

from exo2ego.common.cancel import MOST_NUMBERS, bounded_slices, cancellable
from exo2ego.common.memory import LIMIT_VARIABLE
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.depth.align import AlignmentMethod, align_depth
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.depth.dynamic_mask import estimate_dynamic
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.plucker import plucker_maps, wan_camera_embedding
from exo2ego.geometry.points.point_cloud import Background, PointCloud, build_point_cloud
from exo2ego.geometry.points.renderer import render_points
from exo2ego.geometry.points.threads import n_threads_on
from support.comfyui import import_comfyui, run_node

import_comfyui()

import comfy.model_management as management  # noqa: E402
import folder_paths  # noqa: E402
from comfy_api.latest import io  # noqa: E402

from exo2ego.nodes.common.guard import guarded  # noqa: E402
from exo2ego.nodes.drawings.contact_sheet import MOST_ASPECT, contact_sheet, side_by_side  # noqa: E402
from exo2ego.nodes.extension import NODES  # noqa: E402

BY_NAME = {node.define_schema().node_id: node for node in NODES}
SIDE = 1536
LARGE = 8192


def run(name: str, **values: object) -> object:
    """Run a node as ComfyUI does: on a locked clone of its class, with the widgets' defaults."""
    node = BY_NAME[name]
    defaults = {one.id: one.default for one in node.define_schema().inputs if getattr(one, "default", None) is not None}
    return run_node(node, {"unique_id": "1", "prompt": {}}, **{**defaults, **values})


def camera(side: int, n_frames: int = 1) -> Camera:
    return Camera(Pinhole.from_fov(60, side, side), side, side, torch.eye(4).repeat(n_frames, 1, 1))


def cloud() -> PointCloud:
    points = torch.rand(5000, 3) + torch.tensor([-0.5, -0.5, 2.0])
    return PointCloud(points, torch.rand(5000, 3), (torch.zeros(0, 3),), (torch.zeros(0, 3),))


def depth(side: int, n_frames: int = 1, meaning: DepthMeaning = DepthMeaning.METRIC) -> Depth:
    slope = torch.linspace(1, 3, side)
    return Depth((slope if meaning is DepthMeaning.METRIC else 1 / slope).expand(n_frames, side, side), meaning)


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("Exo2EgoPlucker", lambda: {"ego_camera": camera(64), "width": LARGE, "height": LARGE}),
        ("Exo2EgoPlucker", lambda: {"ego_camera": camera(64), "width": 256, "height": 256, "frames": 4097}),
        ("Exo2EgoRenderPrior", lambda: {"points": cloud(), "camera": camera(LARGE)}),
        (
            "Exo2EgoPointCloud",
            lambda: {"images": torch.rand(1, 2048, 2048, 3), "depth": depth(64), "camera": camera(64), "stride": 1},
        ),
        (
            "Exo2EgoCompare",
            lambda: {"exo": torch.rand(2, 2000, 10, 3), "ego": torch.rand(2, 10, 2000, 3)},
        ),
        ("Exo2EgoLoadEgoExo4D", lambda: {"size": 2048, "frames": 9}),
    ],
    ids=["large maps", "many maps", "render", "points", "side by side", "room"],
)
def test_what_would_not_fit_is_refused_with_the_setting_to_lower(node, inputs, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.1")
    with pytest.raises(ValueError, match=r"would need .* GB of memory, and .* allows .* (Lower|Raise|Give|Make) "):
        run(node, **inputs())


def test_a_bomb_of_depth(tmp_path, monkeypatch):
    header = bytes_io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**20, 4)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("depth.npy", header.getvalue())
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    with pytest.raises(ValueError, match=r"bomb\.npz.* would need .* of memory"):
        run("Exo2EgoDepth", file="bomb.npz")


@pytest.mark.parametrize("size", [(20, 4000), (4000, 20), (1, 5000)], ids=str)
def test_sheets_of_strips_stay_small(size, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.2")
    sheet = contact_sheet([("strip", torch.rand(3, *size, 3)), ("square", torch.rand(3, 32, 32, 3))], times=20)
    assert sheet.shape[2] <= 20 * (MOST_ASPECT * 224 + 8) + 8
    assert sheet.shape[1] < 600


def test_running_out_of_memory_is_told_in_a_sentence():
    size = io.Int.Input("size", default=1, min=1, max=2**62)

    class Greedy(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(node_id="Greedy", display_name="Greedy", category="test", inputs=[size])

        @classmethod
        def execute(cls, size: int) -> io.NodeOutput:
            return io.NodeOutput(torch.empty(size))

    node = guarded(Greedy)
    with pytest.raises(ValueError, match=r"^Greedy ran out of memory .* Use fewer frames or smaller images"):
        node.execute(size=2**60)


# Cancelling -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted():
    """ComfyUI's own mark that the artist has pressed Cancel."""
    management.interrupt_current_processing(True)
    yield
    management.interrupt_current_processing(False)


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("Exo2EgoPlucker", lambda: {"ego_camera": camera(64), "width": 32, "height": 32}),
        ("Exo2EgoRenderPrior", lambda: {"points": cloud(), "camera": camera(32)}),
        ("Exo2EgoPreviewPrior", lambda: {"points": cloud(), "camera": camera(32)}),
        (
            "Exo2EgoPointCloud",
            lambda: {"images": torch.rand(2, 32, 32, 3), "depth": depth(32, 2), "camera": camera(32)},
        ),
        ("Exo2EgoDepth", lambda: {"images": torch.rand(2, 32, 32, 3)}),
        ("Exo2EgoAlignDepth", lambda: {"metric": depth(32, 2), "temporal": depth(32, 2, DepthMeaning.INVERSE)}),
        ("Exo2EgoCompare", lambda: {"exo": torch.rand(2, 32, 32, 3)}),
        ("Exo2EgoLoadTake", dict),
        ("Exo2EgoLoadEgoExo4D", dict),
        ("Exo2EgoLoadKeypoints", dict),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nodes_ask_whether_to_go_on(node, inputs, interrupted):
    with pytest.raises(management.InterruptProcessingException):
        run(node, **inputs())


def maps() -> torch.Tensor:
    return torch.zeros(1, 6, SIDE, SIDE)


PIXELS = SIDE * SIDE
WORK = {
    # Solved for in rounds, or sorted: such numbers count several times.
    "rays": (lambda: Camera(preset_lens(LensPreset.EGOX_RELEASE, 512, 512), 512, 512, torch.eye(4)).local_rays, 3.2),
    "plucker": (lambda: plucker_maps(camera(64), camera(64), SIDE, SIDE), 6),
    "embedding": (lambda: wan_camera_embedding(maps()), 24),
    "depth": (lambda: depth(SIDE, 3).describe(), 9),
    "align": (
        lambda: align_depth(depth(256, 12, DepthMeaning.INVERSE), depth(256, 12), method=AlignmentMethod.ROBUST),
        6 * 12 * 256**2 / PIXELS,
    ),
    "moving parts": (lambda: estimate_dynamic(torch.zeros(1, SIDE, SIDE, 3)), 4),
    "points": (
        lambda: build_point_cloud(
            torch.rand(1, SIDE, SIDE, 3), depth(SIDE), camera(SIDE), background=Background.PER_FRAME
        ),
        4,
    ),
    "render": (lambda: render_points(cloud(), camera(SIDE), memory_budget_bytes=64 * 2**20), 4),
    "side by side": (lambda: side_by_side([torch.zeros(4, 64, 64, 3)] * 2), 8 * MOST_NUMBERS / PIXELS),
}


@pytest.mark.parametrize("name", WORK)
def test_one_cancel_point_at_least_for_so_many_numbers(name):
    run, numbers_per_pixel = WORK[name]
    asked = []
    with cancellable(lambda: asked.append(1)):
        run()
    assert len(asked) >= numbers_per_pixel * PIXELS // MOST_NUMBERS

    def cancel() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise KeyboardInterrupt

    asked.clear()
    with cancellable(cancel), pytest.raises(KeyboardInterrupt):
        run()
    # It ends there. Where threads share the work, each of them and the caller may be told once.
    most = 2 + n_threads_on("cpu") if name == "render" else 2
    assert 2 <= len(asked) <= most


def test_slices_cover_an_axis_once():
    for length, each, most in ((10, 3, 9), (10, 100, 9), (0, 1, 9), (7, 0, 2)):
        covered = [index for part in bounded_slices(length, each, most) for index in range(length)[part]]
        assert covered == list(range(length))
