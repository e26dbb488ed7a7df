"""Cameras: from numbers, from a preset lens, from a file."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...geometry.cameras.presets import NAMED_PRESETS, OWN_NUMBERS, LensPreset
from ...geometry.cameras.settings import camera_from_numbers, describe_camera
from ...takes.camera_formats.read import CameraRole
from ...takes.clips.cut import Cut
from ...takes.library import CAMERAS
from ..common.input_files import NamedInput, input_folder
from ..common.own_inputs import cut_input
from ..common.progress import show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket

_NUMBERS = " ".join(f"{preset.value}: {', '.join(kind.number_names)}." for preset, kind in OWN_NUMBERS.items())
_EXAMPLE_HINT = "camera of the built-in example: for your own clip choose your own file"


class Exo2EgoCamera(io.ComfyNode):
    """A camera from numbers or a preset lens."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoCamera",
            "Camera",
            "camera",
            "A camera from numbers: lens, image size, position and direction. The exo camera usually stays at the "
            "origin; then the ego camera's numbers count from it. Axes: x right, y down, z forward, in metres.",
            search_aliases=["intrinsics", "extrinsics", "field of view", "fisheye"],
            inputs=[
                io.Combo.Input(
                    "lens",
                    options=[preset.value for preset in LensPreset],
                    default=LensPreset.PINHOLE.value,
                    tooltip="pinhole: an ordinary lens of the given field of view. The two EgoX lenses are the Aria "
                    "fisheye that the released LoRA was trained on. The others take your calibration from the box "
                    "below: Aria's Fisheye624, OpenCV's fisheye (GoPro), OpenCV's Brown-Conrady (phones, cameras).",
                ),
                io.Int.Input("width", default=784, min=1, max=8192, step=1, tooltip="Image width in pixels."),
                io.Int.Input("height", default=448, min=1, max=8192, step=1, tooltip="Image height in pixels."),
                io.Float.Input(
                    "fov",
                    default=60.0,
                    min=1.0,
                    max=179.0,
                    step=0.1,
                    lazy=True,
                    tooltip="Horizontal field of view in degrees (pinhole only). Connect DepthPro's estimate, or: a "
                    "phone's main camera has about 65, a 50 mm lens on full frame 40.",
                ),
                io.Float.Input(
                    "x", default=0.0, min=-1000.0, max=1000.0, step=0.01, tooltip="Position to the right, metres."
                ),
                io.Float.Input("y", default=0.0, min=-1000.0, max=1000.0, step=0.01, tooltip="Position down, metres."),
                io.Float.Input(
                    "z", default=0.0, min=-1000.0, max=1000.0, step=0.01, tooltip="Position forward, metres."
                ),
                io.Float.Input(
                    "yaw",
                    default=0.0,
                    min=-360.0,
                    max=360.0,
                    step=0.5,
                    tooltip="Degrees to the right. 180 looks back at the exo camera.",
                ),
                io.Float.Input("pitch", default=0.0, min=-90.0, max=90.0, step=0.5, tooltip="Degrees up."),
                io.Float.Input(
                    "roll",
                    default=0.0,
                    min=-180.0,
                    max=180.0,
                    step=0.5,
                    tooltip="Degrees clockwise, as the eye sees it.",
                ),
                io.String.Input(
                    "coefficients",
                    default="",
                    optional=True,
                    tooltip="In pixels of this image size, separated by commas or spaces; missing ones at the end "
                    "count as 0. OpenCV counts pixel centers at whole numbers: add 0.5 to its cx and cy. " + _NUMBERS,
                ),
                io.String.Input(
                    "matrices",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Optional world-to-camera matrices as JSON: one 3x4 or 4x4, or a list with one a frame. "
                    "They replace position and angles.",
                ),
                io.Image.Input(
                    "size_from", optional=True, tooltip="Optional: take width and height from this video or image."
                ),
                cut_input("the camera", " Without coefficients the size is the whole clip's, whatever stands above."),
                io.Float.Input(
                    "known_fov",
                    default=0.0,
                    min=0.0,
                    max=179.0,
                    step=0.1,
                    optional=True,
                    tooltip="Horizontal field of view in degrees that counts instead of fov, so that no model behind "
                    "fov is asked; 0: fov counts.",
                ),
            ],
            outputs=[CameraSocket.Output("camera", display_name="camera")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(cls, **values: Any) -> list[str]:
        return [] if values.get("known_fov") else ["fov"]

    @classmethod
    def execute(
        cls,
        lens: str,
        width: int,
        height: int,
        fov: float | None,
        x: float,
        y: float,
        z: float,
        yaw: float,
        pitch: float,
        roll: float,
        coefficients: str = "",
        matrices: str = "",
        size_from: Tensor | None = None,
        cut: Cut | None = None,
        known_fov: float = 0.0,
    ) -> io.NodeOutput:
        if size_from is not None:
            height, width = size_from.shape[1:3]
        if cut is not None and not coefficients.strip():
            width, height = cut.shown
        camera = camera_from_numbers(
            LensPreset(lens),
            width,
            height,
            fov_degrees=known_fov or fov,
            position=(x, y, z),
            yaw_pitch_roll=(yaw, pitch, roll),
            coefficients=coefficients,
            matrices=matrices,
        )
        camera = camera if cut is None else cut.camera(camera)
        show_text(cls, describe_camera(camera))
        return io.NodeOutput(camera)


class Exo2EgoCameraFile(io.ComfyNode):
    """A camera or a trajectory from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoCameraFile",
            "Camera from File",
            "camera",
            "Loads a camera or a whole trajectory: this pack's JSON, an NPZ with world_to_camera (or camera_to_world), "
            "intrinsics, width and height, EgoX's meta.json, Nuke's .chan, or glTF as Blender exports it.",
            search_aliases=["load camera", "trajectory", "meta.json", "extrinsics", "chan", "glTF", "Blender", "Nuke"],
            inputs=[
                NamedInput(
                    "file",
                    CAMERAS,
                    tooltip="A .json, .npz, .chan, .gltf or .glb file below ComfyUI's input folder, FILE#NAME for one "
                    "take of EgoX's dataset meta.json, or the built-in example's camera.",
                ),
                io.Combo.Input(
                    "role",
                    options=[role.value for role in CameraRole],
                    default=CameraRole.EGO.value,
                    tooltip="Which camera to take from a file that holds both, as meta.json does.",
                ),
                io.Combo.Input(
                    "lens",
                    options=[preset.value for preset in NAMED_PRESETS],
                    default=LensPreset.EGOX_RELEASE.value,
                    tooltip="Ego lens to use with EgoX's meta.json, which contains no usable one. Ignored for other "
                    "formats.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=8192,
                    step=1,
                    tooltip="Resize the camera to this image width in pixels; 0 follows the height, and 0 for both "
                    "keeps the file's size (.chan and Blender's glTF contain none). Another aspect ratio is refused: "
                    "crop the video to the camera's first.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=8192,
                    step=1,
                    tooltip="Resize the camera to this image height in pixels; 0 follows the width.",
                ),
                cut_input("the camera"),
            ],
            outputs=[CameraSocket.Output("camera", display_name="camera")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, file: str, role: str, lens: str, width: int, height: int, cut: Cut | None = None) -> io.NodeOutput:
        settings = {"role": CameraRole(role), "lens": LensPreset(lens), "width": width, "height": height}
        camera = CAMERAS.load(input_folder(), file, **settings)
        camera = camera if cut is None else cut.camera(camera)
        if file == CAMERAS.built_in:
            warn(cls, f"{_EXAMPLE_HINT}.")
        show_text(cls, describe_camera(camera))
        return io.NodeOutput(camera)


NODES = [Exo2EgoCamera, Exo2EgoCameraFile]
