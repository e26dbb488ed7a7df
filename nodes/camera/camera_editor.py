"""The camera editor: the ego camera set by hand, as keyframes in one text."""

from __future__ import annotations

from typing import Any

import comfy.model_management
from comfy_api.latest import io
from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...geometry.cameras.load3d import camera_from_load3d
from ...geometry.cameras.settings import describe_camera
from ...geometry.cameras.trajectory import Trajectory
from ...geometry.cameras.trajectory_json import MAX_CHARACTERS, trajectory_from_json
from ...geometry.points.coverage import coverage_verdict, misread_pose
from ...geometry.points.point_cloud import PointCloud
from ...geometry.points.quick_view import quick_view
from ..common.own_inputs import ReadText, StreamedImages, near_input
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, Load3DCameraSocket, PointsSocket
from ..prior.render import LOW_COVERAGE_PERCENT
from .editor_answer import editor_answer


class Exo2EgoCameraEditor(io.ComfyNode):
    """The ego camera by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoCameraEditor",
            "Camera Editor",
            "camera",
            "Set the ego camera by hand: fly through the points of the clip, see the ego view live, set keyframes. Run "
            "it once to get the points; the trajectory travels in the text, so the graph also runs without a browser.",
            search_aliases=["ego camera", "trajectory", "keyframes", "camera path", "3D"],
            is_output_node=True,
            inputs=[
                StreamedImages(
                    "images", tooltip="The exo video. It gives the number of frames and the images to look at."
                ),
                PointsSocket.Input("points", tooltip="Its points, from Point Cloud: what the camera flies through."),
                CameraSocket.Input("exo_camera", tooltip="The exo camera; resized to the images."),
                ReadText(
                    "trajectory",
                    trajectory_from_json,
                    MAX_CHARACTERS,
                    multiline=True,
                    tooltip="The keyframes as versioned JSON; the editor writes it. Empty: the connected camera as it "
                    "is, or the exo camera where none is connected.",
                ),
                CameraSocket.Input(
                    "start_camera",
                    optional=True,
                    tooltip="An ego camera to start from, such as Head Pose or Camera from File: the editor takes it "
                    "over as keyframes. Its own keyframes then count.",
                ),
                Load3DCameraSocket.Input(
                    "load3d_camera",
                    optional=True,
                    tooltip="A 3D viewer's camera (camera_info of Load 3D) to start from instead: one that stands "
                    "still, or a list with one a frame (Batch Cameras). It gets the size of the editor's ego image.",
                ),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    min=0.1,
                    max=1000.0,
                    step=0.01,
                    optional=True,
                    tooltip="Frames a second of the clip, such as Load Take's: the editor plays it at that pace. "
                    "Nothing else depends on it.",
                ),
                near_input(),
            ],
            outputs=[
                CameraSocket.Output("ego_camera", display_name="ego camera"),
                io.Image.Output("preview", display_name="preview", tooltip="What it sees of the points, small."),
                io.Float.Output("percent", display_name="covered percent", tooltip="Mean coverage over the clip."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        points: PointCloud,
        exo_camera: Camera,
        trajectory: str,
        start_camera: Camera | None = None,
        load3d_camera: Any = None,
        fps: float = 16.0,
        near: float = 0.0,
    ) -> io.NodeOutput:
        keys = trajectory_from_json(trajectory)
        n_frames, height, width = images.shape[:3]
        exo_camera = exo_camera.resized(width, height)
        start = _start(keys, start_camera, load3d_camera)
        _check_lengths(n_frames, points, exo_camera, start)
        camera = start or exo_camera[:1]
        if keys.keyframes:
            camera = keys.to_camera(n_frames)
        device = comfy.model_management.get_torch_device()
        view = quick_view(points, camera, progress=progress_bar(), device=device, near=near)
        percent = view.coverage_percent  # [F]
        warning = _warning(bool(keys.keyframes), start is not None, float(percent.min()), int(percent.argmin()))
        mean = float(percent.mean())
        text = f"{describe_camera(camera)}. It sees {mean:.1f}% of its image. {coverage_verdict(mean)}"
        if start is not None and not keys.keyframes:
            mistake = misread_pose(points, start, mean, device)
            warning = " ".join(part for part in (warning, mistake) if part)
        if warning:
            warn(cls, warning)
        show_text(cls, text)
        answer = editor_answer(images, points, exo_camera, start, percent, warning, fps, near)
        return io.NodeOutput(camera, view.color, mean, ui=answer)


def _check_lengths(n_frames: int, points: PointCloud, exo_camera: Camera, start_camera: Camera | None) -> None:
    lengths = {"points": points.n_frames, "exo camera": exo_camera.n_frames}
    if start_camera is not None:
        lengths["start camera"] = start_camera.n_frames
    for name, length in lengths.items():
        if length not in (1, n_frames):
            raise ValueError(
                f"The video has {n_frames} frames and the {name} {length}. Give the {name} of the same clip, or cut "
                "the longer one."
            )


def _start(keys: Trajectory, start_camera: Camera | None, load3d_camera: Any) -> Camera | None:
    """Return the camera that the editor starts from, where one is connected."""
    if load3d_camera is None:
        return start_camera
    if start_camera is not None:
        raise ValueError("Connect start_camera or load3d_camera, not both: the editor starts from one camera.")
    return camera_from_load3d(load3d_camera, keys.width, keys.height)


def _warning(has_keys: bool, has_start: bool, lowest_percent: float, frame: int) -> str:
    """Return what is odd about the ego camera; empty if nothing is."""
    warnings = []
    if not has_keys and not has_start:
        warnings.append(
            "There are no keyframes and no ego camera, so the exo camera's first pose is used for the whole clip."
        )
    if lowest_percent < LOW_COVERAGE_PERCENT:
        warnings.append(f"Frame {frame} sees {lowest_percent:.1f}% of its image: the model will invent the rest.")
    return " ".join(warnings)


NODES = [Exo2EgoCameraEditor]
