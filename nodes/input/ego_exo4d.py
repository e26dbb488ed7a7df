"""Takes with several exo views: Ego-Exo4D's own layout, or the example room from four sides."""

from __future__ import annotations

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...takes.library import VIEWS
from ...takes.views import MAX_EXO_VIEWS, Clip, EgoView, MultiViewTake
from ..common.input_files import NamedInput, input_folder
from ..common.links import linked_outputs
from ..common.previews import image_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket
from ..drawings.contact_sheet import contact_sheet

_SHEET_ROW = 128  # pixels: five rows of small pictures


class Exo2EgoLoadEgoExo4D(io.ComfyNode):
    """Loads a clip of one to four exo views, the ego view and their cameras."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        exo = range(1, MAX_EXO_VIEWS + 1)
        return schema(
            "Exo2EgoLoadEgoExo4D",
            "Load Ego-Exo4D Take",
            "input",
            "Loads a short clip of an Ego-Exo4D take for Exo2EgoSyn: up to four fixed exo cameras, the ego camera's "
            "poses and the recorded ego video. The built-in example room needs no files at all.",
            search_aliases=["ego-exo4d", "egoexo4d", "multi view", "exo2egosyn dataset"],
            inputs=[
                NamedInput(
                    "take",
                    VIEWS,
                    tooltip="FOLDER#TAKE, where FOLDER lies below ComfyUI's input folder and holds Ego-Exo4D's "
                    f"takes.json, or '{VIEWS.built_in}'. Press R to find takes you have just added.",
                ),
                io.Int.Input(
                    "start_frame",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="First frame, counted at 30 a second from the task's start: before that the cameras film "
                    "a QR code used to synchronise them.",
                ),
                io.Int.Input(
                    "frames",
                    default=9,
                    min=1,
                    max=4097,
                    step=4,
                    tooltip="Frames to load: 4n+1, as Wan samples. Exo2EgoSyn was trained on 9.",
                ),
                io.Int.Input(
                    "stride",
                    default=4,
                    min=1,
                    max=120,
                    tooltip="Take every n-th frame. 4 as Exo2EgoSyn: 7.5 frames a second.",
                ),
                io.Int.Input(
                    "size",
                    default=256,
                    min=16,
                    max=2048,
                    step=16,
                    tooltip="Width and height of all images in pixels; they are squeezed, not cropped. 256 as "
                    "Exo2EgoSyn.",
                ),
                io.Combo.Input(
                    "ego_view",
                    options=[view.value for view in EgoView],
                    default=EgoView.UNDISTORTED.value,
                    tooltip="undistorted: the ego video as a pinhole would show it, with pinhole rays. As recorded: "
                    "the fisheye image, with its own rays, or with the pinhole's as the paper most likely did.",
                ),
            ],
            outputs=[
                *(
                    io.Image.Output(f"exo_{number}", display_name=f"exo {number}", tooltip="An exo video.")
                    for number in exo
                ),
                *(
                    CameraSocket.Output(
                        f"exo_{number}_camera",
                        display_name=f"exo {number} camera",
                        tooltip="Its fixed camera; it describes the whole image before it is squeezed.",
                    )
                    for number in exo
                ),
                CameraSocket.Output("ego_camera", display_name="ego camera", tooltip="One pose a frame, upright."),
                io.Image.Output("ego", display_name="true ego video", tooltip="The recorded first-person clip."),
                io.Float.Output("fps", display_name="fps", tooltip="Frames a second of these clips."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, take: str, start_frame: int, frames: int, stride: int, size: int, ego_view: str) -> io.NodeOutput:
        clip = Clip(start_frame, frames, stride, size)
        loaded = VIEWS.load(input_folder(), take, clip=clip, ego_view=EgoView(ego_view), progress=progress_bar())
        for remark in loaded.remarks:
            warn(cls, remark)
        show_text(cls, _describe(loaded))
        missing = _missing_views(loaded, linked_outputs(cls))
        rows = [(view.name, view.frames) for view in loaded.exo]
        return io.NodeOutput(
            *(view.frames for view in loaded.exo),
            *missing,
            *(view.camera for view in loaded.exo),
            *missing,
            loaded.ego_camera,
            loaded.ego,
            loaded.fps,
            ui=image_preview(contact_sheet([*rows, ("ego", loaded.ego)], times=3, row_height=_SHEET_ROW)),
        )


def _describe(take: MultiViewTake) -> str:
    names = ", ".join(view.name for view in take.exo)
    return f"{take.name}: {names} and ego, {take.n_frames} frames at {take.fps:g} fps."


def _missing_views(take: MultiViewTake, linked: set[int]) -> list[ExecutionBlocker]:
    """Return what goes out for the views that the take does not have.

    Raises:
        ValueError: if one of them is linked. The blockers alone would end the run without an error in its history; they
            serve links that are made later, when this node's result is kept from an earlier run.
    """
    blockers = []
    for view in range(len(take.exo), MAX_EXO_VIEWS):
        text = (
            f"The take {take.name} has {len(take.exo)} exo views, so there is no exo {view + 1}. Disconnect its video "
            "and its camera, or choose another take."
        )
        if linked & {view, MAX_EXO_VIEWS + view}:
            raise ValueError(text)
        blockers.append(ExecutionBlocker(text))
    return blockers


NODES = [Exo2EgoLoadEgoExo4D]
