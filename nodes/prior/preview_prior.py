"""A quick look at the ego prior, before the real one is rendered and paid for."""

from __future__ import annotations

import comfy.model_management
from comfy_api.latest import io
from torch import Tensor

from ...common.messages import frame_ranges
from ...geometry.cameras.camera import Camera
from ...geometry.points.coverage import coverage_verdict, misread_pose
from ...geometry.points.point_cloud import PointCloud
from ...geometry.points.quick_view import QUICK_SIDE, quick_view
from ..common.own_inputs import StreamedImages, near_input
from ..common.previews import video_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, PointsSocket
from ..drawings.contact_sheet import contact_sheet
from ..drawings.plots import coverage_chart


class Exo2EgoPreviewPrior(io.ComfyNode):
    """What the ego camera will see, small and fast."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoPreviewPrior",
            "Preview Ego Prior",
            "prior",
            "A quick look at the whole clip from the ego camera, in seconds: small images, coverage of every frame, "
            "a contact sheet, and a warning for frames that see next to nothing. Try cameras here, then render.",
            search_aliases=["ego prior", "coverage", "quick look"],
            is_output_node=True,
            inputs=[
                PointsSocket.Input("points", tooltip="From Point Cloud."),
                CameraSocket.Input("camera", tooltip="The ego camera: fixed, or one pose a frame."),
                StreamedImages("images", optional=True, tooltip="The exo video, as a row of the contact sheet."),
                io.Int.Input(
                    "size",
                    default=QUICK_SIDE,
                    min=64,
                    max=1024,
                    step=8,
                    tooltip="Longer side of the small images in pixels. Coverage is nearly the same at any size.",
                ),
                io.Float.Input(
                    "warn_below",
                    default=5.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Percent of the image: frames that see less of the scene are named in a warning.",
                ),
                io.Int.Input(
                    "times", default=5, min=1, max=12, tooltip="Moments on the contact sheet, from first to last."
                ),
                near_input(),
            ],
            outputs=[
                io.Image.Output("preview", display_name="preview", tooltip="The ego prior, small."),
                io.Image.Output("sheet", display_name="contact sheet"),
                io.Float.Output("percent", display_name="covered percent", tooltip="Mean coverage over the clip."),
                io.Image.Output("chart", display_name="coverage chart", tooltip="Covered share of every frame."),
                io.String.Output("report", display_name="report", tooltip="Coverage, and what to look at."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        points: PointCloud,
        camera: Camera,
        size: int,
        warn_below: float,
        times: int,
        images: Tensor | None = None,
        near: float = 0.0,
    ) -> io.NodeOutput:
        device = comfy.model_management.get_torch_device()
        rendering = quick_view(points, camera, size, progress=progress_bar(), device=device, near=near)
        percent = rendering.coverage_percent  # [F]
        rows = [("exo", images), ("ego prior (quick look)", rendering.color)]
        sheet = contact_sheet(rows, times=min(times, len(percent)))
        mean, low = float(percent.mean()), (percent < warn_below).nonzero()[:, 0].tolist()
        lowest = f"{float(percent.min()):.1f}% at least (frame {int(percent.argmin())})"
        report = f"Coverage {mean:.1f}% on average, {lowest}. {coverage_verdict(mean)}"
        mistake = misread_pose(points, camera, mean, device)
        if low:
            who = f"Frames {frame_ranges(low)} see" if len(low) > 1 else f"Frame {low[0]} sees"
            warnings = [f"{who} less than {warn_below:g}% of the scene." + ("" if mistake else f" {_advice(mean)}")]
        else:
            warnings = []
        warnings += [mistake] if mistake else []
        if warnings:
            warn(cls, "\n".join(warnings))
        show_text(cls, report)
        report = "\n".join([report, *warnings])
        shown = {**video_preview(rendering.color), "coverage_percent": [round(float(value), 3) for value in percent]}
        chart = coverage_chart(percent)
        return io.NodeOutput(rendering.color, sheet, mean, chart, report, ui=shown)


def _advice(mean_percent: float) -> str:
    if mean_percent == 0:
        return "The camera looks away from every point, or lies behind them all: check its pose and the depth."
    return "There the model has to invent almost everything: turn the camera towards the scene, or step back."


NODES = [Exo2EgoPreviewPrior]
