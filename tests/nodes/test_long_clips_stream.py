"""What nodes of a long clip hold beyond their inputs and outputs: no more for twice as many frames.

Tensors are counted, in small pictures, which takes nothing from the machine's speed and size. The cloud's sent bytes
and the pictures on nodes are bounded by their own numbers (points, frames of a preview).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.utils._pytree import tree_leaves

from exo2ego.common.cancel import bounded_slices
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth import dynamic_mask
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.packed_cloud import pack_cloud
from exo2ego.geometry.points.point_cloud import PointCloud
from exo2ego.geometry.points.renderer import render_points
from support.comfyui import import_comfyui, run_node
from support.tensor_memory import counted_tensors

import_comfyui()

import comfy.model_management as management  # noqa: E402
import folder_paths  # noqa: E402

from exo2ego.nodes.common import previews  # noqa: E402
from exo2ego.nodes.common.guard import checked_value  # noqa: E402
from exo2ego.nodes.drawings.contact_sheet import contact_sheet  # noqa: E402
from exo2ego.nodes.extension import NODES  # noqa: E402
from exo2ego.nodes.prior import render as render_node  # noqa: E402

WIDTH, HEIGHT, EGO = 98, 56, 56
FEW, MANY = 10, 20
PIXELS, EGO_PIXELS = WIDTH * HEIGHT, EGO * EGO
BY_NAME = {node.define_schema().node_id: node for node in NODES}


@pytest.fixture(autouse=True)
def small_machine(monkeypatch, tmp_path):
    """Little for temporaries, so that they are full with few frames already, and a temp folder of the test's own."""
    monkeypatch.setattr(render_node, "DEFAULT_MEMORY_BUDGET", 4 << 20)
    monkeypatch.setattr(render_node, "_LEAST_MEMORY_BUDGET", 4 << 20)
    monkeypatch.setitem(render_points.__kwdefaults__, "memory_budget_bytes", 4 << 20)
    monkeypatch.setattr(bounded_slices, "__defaults__", (2**14,))  # numbers at a time
    monkeypatch.setattr(dynamic_mask, "_SCALE_PIXELS", 100)  # of a frame, by which its depth's scale is known
    monkeypatch.setattr(pack_cloud, "__defaults__", (1000, 0))  # points that are sent, and the seed
    monkeypatch.setattr(previews, "_PREVIEW_FRAMES", FEW - 2)
    monkeypatch.setattr(management, "get_torch_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))


def run(name: str, **values: object) -> object:
    node = BY_NAME[name]
    defaults = {one.id: one.default for one in node.define_schema().inputs if getattr(one, "default", None) is not None}
    return run_node(node, {"unique_id": "1", "prompt": {}}, **{**defaults, **values})


def clip(n_frames: int, dtype: torch.dtype = torch.float32) -> dict[str, object]:
    random = torch.Generator().manual_seed(0)
    wall = 2 + torch.rand(HEIGHT, WIDTH, generator=random) * 0.05
    images = torch.rand(HEIGHT, WIDTH, 3, generator=random).to(dtype).repeat(n_frames, 1, 1, 1)
    lens = Pinhole.from_fov(60, WIDTH, HEIGHT)
    return {
        "images": images,
        "depth": Depth(wall.repeat(n_frames, 1, 1), DepthMeaning.METRIC),
        "camera": Camera(lens, WIDTH, HEIGHT, torch.eye(4)[None]),
    }


def points(n_frames: int) -> PointCloud:
    random = torch.Generator().manual_seed(0)
    own = [torch.rand(300, 3, generator=random) + torch.tensor([-0.5, -0.5, 1.5]) for _ in range(n_frames)]
    none = torch.zeros(0, 3)
    return PointCloud(none, none, tuple(own), tuple(torch.rand(300, 3, generator=random) for _ in own))


def ego(n_frames: int) -> Camera:
    return Camera(Pinhole.from_fov(60, EGO, EGO), EGO, EGO, torch.eye(4).repeat(n_frames, 1, 1))


def beyond(work: Callable[[], object]) -> int:
    """Bytes of tensors beside what was there before and what is handed out."""
    with counted_tensors() as memory:
        result = work()
        peak = memory.peak
    outputs = {id(leaf.untyped_storage()): leaf.untyped_storage().nbytes() for leaf in _tensors(result)}
    return peak - sum(outputs.values())


def _tensors(result: object) -> list[torch.Tensor]:
    values = getattr(result, "args", result)
    values = [*values] if isinstance(values, (tuple, list)) else [values]
    for cloud in [value for value in values if isinstance(value, PointCloud)]:
        values += [cloud.background_points, cloud.background_colors, *cloud.frame_points, *cloud.frame_colors]
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


# What is made with its inputs before anything is counted.
WORK: dict[str, Callable[[int], Callable[[], object]]] = {
    "Point Cloud, mean": lambda n: partial(run, "Exo2EgoPointCloud", **clip(n), moving_parts="none"),
    "Point Cloud, per frame": lambda n: partial(run, "Exo2EgoPointCloud", **clip(n), background="per frame"),
    "Point Cloud, fp16": lambda n: partial(run, "Exo2EgoPointCloud", **clip(n, torch.float16), moving_parts="none"),
    "Render Ego Prior": lambda n: partial(
        run, "Exo2EgoRenderPrior", points=points(n), camera=ego(n), points_per_pixel=4
    ),
    "Preview Ego Prior": lambda n: partial(
        run, "Exo2EgoPreviewPrior", points=points(n), camera=ego(n), images=clip(n)["images"]
    ),
    "Camera Editor": lambda n: partial(
        *(run, "Exo2EgoCameraEditor"),
        images=clip(n)["images"],
        points=points(n),
        exo_camera=clip(1)["camera"],
        trajectory="",
    ),
    "the editor's cloud": lambda n: partial(pack_cloud, points(n)),
    "Camera Editor, fp16": lambda n: partial(
        *(run, "Exo2EgoCameraEditor"),
        images=clip(n, torch.float16)["images"],
        points=points(n),
        exo_camera=clip(1)["camera"],
        trajectory="",
    ),
    "contact sheet, fp16": lambda n: partial(contact_sheet, [("exo", clip(n, torch.float16)["images"])]),
}


@pytest.mark.parametrize("name", WORK)
def test_twice_the_frames_take_no_more_beyond_what_comes_and_goes(name):
    few, many = (beyond(WORK[name](frames)) for frames in (FEW, MANY))
    # Of a frame: less than a byte a pixel. Poses and counts of points are some bytes a frame.
    assert many - few < (MANY - FEW) * EGO_PIXELS // 4, (few, many)


def test_the_estimated_motion_takes_a_byte_a_pixel():
    """It looks at every pixel over the whole clip, so what moves is known before the first frame is averaged."""
    few, many = (beyond(partial(run, "Exo2EgoPointCloud", **clip(frames), keep_moving=False)) for frames in (FEW, MANY))
    assert PIXELS // 2 < (many - few) / (MANY - FEW) < 1.3 * PIXELS


def test_a_second_copy_of_the_clip_is_seen():
    """The tests above would hold for anything otherwise."""
    few, many = (beyond(partial(_mean_in_double, clip(frames)["images"])) for frames in (FEW, MANY))
    assert (many - few) / (MANY - FEW) > 8 * PIXELS


@pytest.mark.parametrize("name", ["Exo2EgoPointCloud", "Exo2EgoPreviewPrior", "Exo2EgoCameraEditor"])
def test_half_precision_arrives_as_it_is(name):
    """Elsewhere images of any precision become float32."""
    (declared,) = (one for one in BY_NAME[name].define_schema().inputs if one.id == "images")
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        images = torch.full((2, 2, 2, 3), 0.5).to(dtype)
        assert checked_value(declared, images).data_ptr() == images.data_ptr()
    assert checked_value(declared, images.double()).dtype is torch.float32
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        checked_value(declared, torch.full((2, 2, 2, 3), math.nan).half())


def _mean_in_double(images: torch.Tensor) -> torch.Tensor:
    return images.double().mean()
