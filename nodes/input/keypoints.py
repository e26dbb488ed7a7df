"""Keypoints of people, for graphs without a pose estimator."""

from __future__ import annotations

from comfy_api.latest import io

from ...takes.library import KEYPOINTS
from ..common.input_files import NamedInput, input_folder
from ..common.progress import show_text
from ..common.schema import schema
from ..common.sockets import PoseKeypointSocket


class Exo2EgoLoadKeypoints(io.ComfyNode):
    """Keypoints from OpenPose JSON files, or of the example figure."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoLoadKeypoints",
            "Load Keypoints",
            "input",
            "Loads keypoints saved as OpenPose JSON: a file with all frames, as DWPose's nodes save it, or a folder "
            "with one file a frame, as OpenPose does. Or those of the built-in example's figure.",
            search_aliases=["openpose json", "DWPose", "pose keypoint"],
            inputs=[
                NamedInput(
                    "file",
                    KEYPOINTS,
                    tooltip="A .json file or a folder of them below ComfyUI's input folder, or the built-in example's "
                    "figure (only for its own clip).",
                ),
                io.Int.Input(
                    "max_frames",
                    default=49,
                    min=1,
                    max=4097,
                    tooltip="Frames to load from the start: as many as the clip has.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=8192,
                    tooltip="Width in pixels of the image that the keypoints belong to, for files that do not contain "
                    "it (OpenPose's own). 0: taken from the file.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=8192,
                    tooltip="Height in pixels of that image. 0: taken from the file.",
                ),
            ],
            outputs=[PoseKeypointSocket.Output("keypoints", display_name="keypoints")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, file: str, max_frames: int, width: int, height: int) -> io.NodeOutput:
        frames = KEYPOINTS.load(input_folder(), file, max_frames=max_frames, width=width, height=height)
        counts = [len(frame["people"]) for frame in frames]
        show_text(cls, f"{len(frames)} frames, {min(counts)} to {max(counts)} people in each.")
        return io.NodeOutput(frames)


NODES = [Exo2EgoLoadKeypoints]
