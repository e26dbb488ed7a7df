"""A clip as a phone, a camera or a 3D program wrote it."""

from __future__ import annotations

from comfy_api.latest import io

from ...takes.clips.framing import LARGEST_SIDE, Anchor, Fit, Wanted
from ...takes.clips.names import CLIPS
from ...takes.clips.timing import Part
from ..common.input_files import NamedInput, input_folder
from ..common.previews import video_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CutSocket


class Exo2EgoLoadClip(io.ComfyNode):
    """A part of a video or of pictures, at a wanted rate and size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoLoadClip",
            "Load Clip",
            "input",
            "Loads a part of a video, a GIF or pictures at any frame rate and size: upright, with its sound, in the "
            "4n+1 frames that Wan samples. Only what is handed out is decoded.",
            search_aliases=["load video", "resize video", "crop video", "frame rate", "image sequence", "GIF"],
            inputs=[
                NamedInput(
                    "file",
                    CLIPS,
                    tooltip="A video, a GIF, a picture or a folder of pictures below ComfyUI's input folder; or a "
                    "pattern such as shots/frame_%04d.png; or the built-in example's clip.",
                    upload=io.UploadType.video,
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=360_000.0,
                    step=0.1,
                    tooltip="Seconds from the clip's first frame.",
                ),
                io.Int.Input(
                    "frames",
                    default=49,
                    min=1,
                    max=4097,
                    step=4,
                    tooltip="Frames to hand out, fewer where the clip ends before. Cut to 4n+1, which Wan samples; "
                    "EgoX was trained on 49.",
                ),
                io.Float.Input(
                    "frame_rate",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=1.0,
                    tooltip="Frames a second to hand out: the frame nearest in time is taken for each. 0 keeps the "
                    "clip's own. EgoX was trained on 30; pictures without a rate count as 30.",
                ),
                io.Int.Input(
                    "width",
                    default=784,
                    min=0,
                    max=LARGEST_SIDE,
                    step=16,
                    tooltip="Width in pixels; EgoX wants 784 x 448. 0 follows the height; 0 for both keeps the clip's "
                    "size.",
                ),
                io.Int.Input(
                    "height",
                    default=448,
                    min=0,
                    max=LARGEST_SIDE,
                    step=16,
                    tooltip="Height in pixels; 0 follows the width.",
                ),
                io.Combo.Input(
                    "fit",
                    options=[fit.value for fit in Fit],
                    default=Fit.CROP.value,
                    tooltip="For a clip of another shape. crop: cuts off what is too much. squeeze: scales each side "
                    "by its own factor. pad: keeps all between black bars.",
                ),
                io.Combo.Input(
                    "anchor",
                    options=[anchor.value for anchor in Anchor],
                    default=Anchor.CENTER.value,
                    tooltip="Which part crop keeps, and where pad puts the picture. For a portrait clip: where the "
                    "person is.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="The frames."),
                io.Float.Output("fps", display_name="fps", tooltip="Frames a second of the frames handed out."),
                io.Audio.Output("audio", display_name="audio", tooltip="The sound of the same part, if any."),
                io.String.Output("report", display_name="report", tooltip="What was done, in words."),
                CutSocket.Output(
                    "cut",
                    display_name="cut",
                    tooltip="What was done, for Depth, Align Depth, Point Cloud, the cameras and Load Keypoints: what "
                    "was made for the whole clip follows.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        file: str,
        start: float,
        frames: int,
        frame_rate: float,
        width: int,
        height: int,
        fit: str,
        anchor: str,
    ) -> io.NodeOutput:
        clip = CLIPS.load(
            input_folder(),
            file,
            part=Part(start, frames, frame_rate),
            wanted=Wanted(width, height, Fit(fit), Anchor(anchor)),
            progress=progress_bar(),
        )
        if clip.remarks:
            warn(cls, clip.report)
        else:
            show_text(cls, clip.report)
        preview = video_preview(clip.images, clip.fps)
        return io.NodeOutput(clip.images, clip.fps, clip.audio, clip.report, clip.cut, ui=preview)


NODES = [Exo2EgoLoadClip]
