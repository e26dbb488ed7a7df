"""Keypoints of people, for graphs without a pose estimator."""

from __future__ import annotations

from comfy_api.latest import io

from ...takes.clips.cut import Cut
from ...takes.clips.cut_keypoints import keypoints_through
from ...takes.library import KEYPOINTS
from ..common.input_files import NamedInput, input_folder
from ..common.own_inputs import cut_input
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
                cut_input("keypoints", " max_frames does not count then."),
            ],
            outputs=[PoseKeypointSocket.Output("keypoints", display_name="keypoints")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, file: str, max_frames: int, width: int, height: int, cut: Cut | None = None) -> io.NodeOutput:
        if cut is not None:  # the whole clip; of a file one more, which tells that it belongs to another
            max_frames = cut.n_source + (file != KEYPOINTS.built_in)
        frames = KEYPOINTS.load(input_folder(), file, max_frames=max_frames, width=width, height=height)
        frames = frames if cut is None else keypoints_through(cut, frames)
        counts = [len(frame["people"]) for frame in frames]
        show_text(cls, f"{len(frames)} frames, {min(counts)} to {max(counts)} people in each.")
        return io.NodeOutput(frames)


NODES = [Exo2EgoLoadKeypoints]
