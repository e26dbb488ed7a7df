"""The camera for other programs: a file, and what ComfyUI's 3D viewers take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ...common.messages import arrived
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.field_of_view import lost_without_lens
from ...geometry.cameras.load3d import camera_to_load3d
from ...takes.camera_formats.write import CameraFormat, write_camera
from ..common.progress import show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, Load3DCameraSocket


class Exo2EgoCameraExport(io.ComfyNode):
    """A camera as a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoCameraExport",
            "Export Camera",
            "camera",
            "Saves a camera or a trajectory below ComfyUI's output folder: for Blender, Nuke, EgoX's code, NumPy, or "
            "Camera from File. Gives one frame of it to ComfyUI's 3D viewers.",
            search_aliases=["save camera", "chan", "glTF", "Blender", "Nuke", "camera_info"],
            is_output_node=True,
            inputs=[
                CameraSocket.Input("camera", tooltip="The camera to save, with all its frames."),
                io.Combo.Input(
                    "format",
                    options=[kind.value for kind in CameraFormat],
                    default=CameraFormat.JSON.value,
                    tooltip="JSON and NPZ keep everything. glTF opens in Blender. Nuke .chan holds a centered pinhole "
                    "only. EgoX meta.json holds both cameras, but no ego lens.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="exo2ego/ego_camera",
                    tooltip="Folder and name below ComfyUI's output folder; a number and the ending are added.",
                ),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="The frame that goes out as camera_info, for Preview 3D and other viewers.",
                ),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=1.0,
                    max=1000.0,
                    step=1.0,
                    tooltip="Frames a second, for glTF. Set the same in Blender before you import: each pose then "
                    "lies on a whole frame.",
                ),
                CameraSocket.Input(
                    "exo_camera", optional=True, tooltip="The exo camera, for EgoX meta.json: a fixed pinhole."
                ),
                io.Boolean.Input(
                    "all_frames",
                    default=False,
                    optional=True,
                    tooltip="Give camera info as a list of all frames, as newer ComfyUIs' splat renderer takes it. "
                    "Viewers of single images need it off.",
                ),
            ],
            outputs=[
                Load3DCameraSocket.Output(
                    "camera_info",
                    display_name="camera info",
                    tooltip="One frame for ComfyUI's 3D viewers. They support pinholes only: a fisheye becomes one.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        camera: Camera,
        format: str,
        filename_prefix: str,
        frame: int,
        fps: float,
        exo_camera: Camera | None = None,
        all_frames: bool = False,
    ) -> io.NodeOutput:
        viewer: Any = camera_to_load3d(camera, 0 if camera.is_fixed else frame)
        if all_frames:
            viewer = [camera_to_load3d(camera, number) for number in range(camera.n_frames)]
        kind = CameraFormat(format)
        root = Path(folder_paths.get_output_directory()).resolve()
        try:
            if not (root / filename_prefix).resolve().is_relative_to(root):
                raise ValueError(
                    f"The filename prefix is {arrived(filename_prefix)}, which leads out of ComfyUI's output folder. "
                    "Name a folder inside it."
                )
            folder, name, number, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, str(root))
            path = Path(folder) / f"{name}_{number:05}_{kind.suffix}"
            lost = write_camera(path, camera, kind, exo_camera=exo_camera, fps=fps)
        except OSError as error:
            raise ValueError(
                f"The camera cannot be saved under the filename prefix {arrived(filename_prefix)} in ComfyUI's output "
                f"folder: {error.strerror}. Choose another name, or check that there is room and that it may be "
                "written."
            ) from error
        text = f"Saved {path.relative_to(root).as_posix()} in ComfyUI's output folder: {camera.n_frames} frames. {lost}"
        for_viewers = lost_without_lens(camera)
        if lost:
            warn(cls, text)
        else:
            show_text(cls, f"{text}For 3D viewers {for_viewers}." if for_viewers else text)
        saved = {"filename": path.name, "subfolder": subfolder, "type": "output"}
        return io.NodeOutput(viewer, ui={"cameras": [saved], "text": [text]})


NODES = [Exo2EgoCameraExport]
