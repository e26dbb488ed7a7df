"""Takes: one exo clip with its cameras, depth and prompt."""

from __future__ import annotations

from comfy_api.latest import io

from ...geometry.cameras.presets import NAMED_PRESETS, LensPreset
from ...takes.library import TAKES
from ..common.input_files import NamedInput, input_folder
from ..common.previews import video_preview
from ..common.progress import progress_bar, show_text
from ..common.schema import schema
from ..common.sockets import CameraSocket, DepthSocket


class Exo2EgoLoadTake(io.ComfyNode):
    """Loads a take folder, one take of EgoX's dataset, or the built-in example."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoLoadTake",
            "Load Take",
            "input",
            "Loads a third-person clip with its cameras, metric depth and prompt: a take folder, one take of EgoX's "
            "own dataset, or the built-in example room that needs no files at all.",
            search_aliases=["egox dataset", "ego-exo4d take", "exo2ego example"],
            inputs=[
                NamedInput(
                    "take",
                    TAKES,
                    tooltip="A folder below ComfyUI's input folder that holds meta.json, or FOLDER#NAME for one take "
                    f"of EgoX's dataset layout, or '{TAKES.built_in}'. Press R to find folders you have just added.",
                ),
                io.Combo.Input(
                    "ego_lens",
                    options=[preset.value for preset in NAMED_PRESETS],
                    default=LensPreset.EGOX_RELEASE.value,
                    tooltip="The lens of the ego view. The released LoRA was trained on the Aria fisheye; a pinhole "
                    "looks like an ordinary camera of 90 degrees.",
                ),
                io.Int.Input(
                    "max_frames",
                    default=49,
                    min=1,
                    max=4097,
                    step=4,
                    tooltip="Frames to load from the start. Wan samples 4n+1 frames; EgoX was trained on 49.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=8192,
                    step=16,
                    optional=True,
                    tooltip="Height of all views in pixels, a multiple of 16; 0 keeps the take's own. Cameras and "
                    "depth follow. The pocket model wants 128, EgoX 448.",
                ),
            ],
            outputs=[
                io.Image.Output("exo", display_name="exo video", tooltip="The third-person clip."),
                CameraSocket.Output("exo_camera", display_name="exo camera"),
                DepthSocket.Output("depth", display_name="depth", tooltip="Metric depth of the exo clip."),
                CameraSocket.Output("ego_camera", display_name="ego camera"),
                io.String.Output("prompt", display_name="prompt"),
                io.Float.Output("fps", display_name="fps"),
                io.Image.Output(
                    "ego_truth",
                    display_name="true ego video",
                    tooltip="The recorded first-person clip, where the take has one; otherwise nothing.",
                ),
                io.Image.Output(
                    "ego_prior",
                    display_name="released ego prior",
                    tooltip="The ego prior that came with the take, where it has one; otherwise nothing.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, take: str, ego_lens: str, max_frames: int, height: int = 0) -> io.NodeOutput:
        loaded = TAKES.load(
            input_folder(),
            take,
            lens=LensPreset(ego_lens),
            max_frames=max_frames,
            height=height,
            progress=progress_bar(),
        )
        kind = loaded.exo_camera.take_kind
        name = f"{loaded.name} ({kind.value})" if kind else loaded.name
        show_text(cls, f"{name}: {len(loaded.exo)} frames at {loaded.fps:g} fps. {loaded.depth.describe()}")
        return io.NodeOutput(
            loaded.exo,
            loaded.exo_camera,
            loaded.depth,
            loaded.ego_camera,
            loaded.prompt,
            float(loaded.fps),
            loaded.ego_truth,
            loaded.ego_prior,
            ui=video_preview(loaded.exo, loaded.fps),
        )


NODES = [Exo2EgoLoadTake]
