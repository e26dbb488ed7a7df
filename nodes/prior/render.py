"""Render Ego Prior: what the ego camera sees of a point cloud (paper section 3.1)."""

from __future__ import annotations

import comfy.model_management
import torch
from comfy_api.latest import io

from ...geometry.cameras.camera import Camera
from ...geometry.points.coverage import coverage_verdict, misread_pose
from ...geometry.points.point_cloud import PointCloud
from ...geometry.points.renderer import DEFAULT_MEMORY_BUDGET, RenderBackend, render_points
from ..common.own_inputs import near_input
from ..common.previews import video_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, PointsSocket
from ..drawings.plots import coverage_chart

# Below this share of the picture the prior gives the model next to nothing to hold on to.
LOW_COVERAGE_PERCENT = 5.0
# A GPU renders several frames at once; more than this makes it no faster.
_GPU_MEMORY_BUDGET = 2 * 2**30
_LEAST_MEMORY_BUDGET = 64 * 2**20


class Exo2EgoRenderPrior(io.ComfyNode):
    """What the ego camera sees of the points."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoRenderPrior",
            "Render Ego Prior",
            "prior",
            "Renders the points from the ego camera: the ego prior that guides the model. Look at the coverage before "
            "you pay for a long run: black is what the model has to invent.",
            search_aliases=["ego prior", "point cloud rendering", "coverage"],
            # Newer ComfyUIs keep results of long ago: so the history of a clip that takes one tells its coverage too.
            has_intermediate_output=True,
            inputs=[
                PointsSocket.Input("points", tooltip="From Point Cloud."),
                CameraSocket.Input("camera", tooltip="The ego camera: fixed, or one pose a frame."),
                io.Float.Input(
                    "radius",
                    default=5.0,
                    min=0.5,
                    max=50.0,
                    step=0.5,
                    tooltip="Radius of a point in pixels at an image height of 448; it grows with the image. 5 as in "
                    "EgoX's release.",
                ),
                io.Int.Input(
                    "points_per_pixel",
                    default=20,
                    min=1,
                    max=64,
                    tooltip="How many of the nearest points blend in a pixel. 20 as in EgoX's release.",
                ),
                io.Combo.Input(
                    "backend",
                    options=[backend.value for backend in RenderBackend],
                    default=RenderBackend.TORCH.value,
                    tooltip="torch runs everywhere. pytorch3d gives the same image where it is installed.",
                ),
                near_input(),
            ],
            outputs=[
                io.Image.Output("ego_prior", display_name="ego prior"),
                io.Mask.Output("coverage", display_name="coverage", tooltip="White where at least one point shows."),
                io.Float.Output("percent", display_name="covered percent", tooltip="Mean coverage over the clip."),
                io.Image.Output("chart", display_name="coverage chart", tooltip="Covered share of every frame."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        points: PointCloud,
        camera: Camera,
        radius: float,
        points_per_pixel: int,
        backend: str,
        near: float = 0.0,
    ) -> io.NodeOutput:
        device = comfy.model_management.get_torch_device()
        rendering = render_points(
            points,
            camera,
            radius=radius,
            points_per_pixel=points_per_pixel,
            backend=RenderBackend(backend),
            device=device,
            memory_budget_bytes=_memory_budget(device),
            progress=progress_bar(),
            near=near,
            keep_depth=False,
        )
        percent = rendering.coverage_percent  # [F]
        mean, lowest = float(percent.mean()), float(percent.min())
        text = f"Coverage {mean:.1f}% on average, {lowest:.1f}% at least (frame {int(percent.argmin())})."
        text = f"{text} {coverage_verdict(mean)}"
        if lowest < LOW_COVERAGE_PERCENT:
            warn(cls, f"Frame {int(percent.argmin())} sees {lowest:.1f}% of its image. {_coverage_advice(mean)}")
        if mistake := misread_pose(points, camera, mean, device):
            warn(cls, mistake)
        show_text(cls, text)
        # Coverage per frame also goes out with the preview, where API users find it in the history.
        shown = {**video_preview(rendering.color), "coverage_percent": [round(float(value), 3) for value in percent]}
        return io.NodeOutput(rendering.color, rendering.mask, mean, coverage_chart(percent), ui=shown)


def _memory_budget(device: torch.device) -> int:
    """Return the bytes that rendering may take for its temporaries, after models made room on a GPU."""
    largest = DEFAULT_MEMORY_BUDGET
    if device.type != "cpu":
        largest = _GPU_MEMORY_BUDGET
        comfy.model_management.free_memory(2 * largest, device)
    return int(min(max(comfy.model_management.get_free_memory(device) // 2, _LEAST_MEMORY_BUDGET), largest))


def _coverage_advice(mean_percent: float) -> str:
    if mean_percent == 0:
        return (
            "The ego camera sees no points: it may be behind them, far away, or facing away. Check that "
            "its pose is world-to-camera in metres with z forward, and that depth and exo camera fit together."
        )
    return "Little of the scene is in view there: the model will invent the rest. Check the ego camera's pose."


NODES = [Exo2EgoRenderPrior]
