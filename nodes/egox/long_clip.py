"""Clips that are longer than what the model was trained on."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...common.wan_grid import TEMPORAL_STRIDE, latent_frames
from ...common.windows import Windows
from ...wan.shared.base_model import require_wan_i2v
from ...wan.shared.long_clips import sample_in_windows
from ..common.progress import show_text
from ..common.schema import schema


class Exo2EgoLongClip(io.ComfyNode):
    """A MODEL that samples a long clip in windows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoLongClip",
            "Long Clip",
            "egox",
            "Lets EgoX and Exo2EgoSyn make clips of any length: the model sees overlapping windows of frames, which "
            "are blended at every step of one sampling run. Memory is that of one window. Clips of a window or less "
            "stay as they are.",
            search_aliases=["context windows", "sliding window", "long video"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="Before or after EgoX Apply, Geometry-Guided Attention and Exo2EgoSyn Apply."
                ),
                io.Int.Input(
                    "frames",
                    default=49,
                    min=5,
                    max=4097,
                    step=4,
                    tooltip="Frames of a window: what the model was trained on. EgoX: 49. Exo2EgoSyn: 9, in its paper.",
                ),
                io.Int.Input(
                    "overlap",
                    default=16,
                    min=0,
                    max=4096,
                    step=4,
                    tooltip="Frames that neighboring windows share, at least. More is smoother and takes more time.",
                ),
            ],
            outputs=[io.Model.Output("model_in_windows", display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, frames: int, overlap: int) -> io.NodeOutput:
        require_wan_i2v(model)
        windows = Windows(latent_frames(frames), overlap // TEMPORAL_STRIDE)
        example = 6 * frames + 1
        count = len(windows.over(latent_frames(example)))
        show_text(cls, f"Windows of {frames} frames. A clip of {example} frames takes {count} windows a step.")
        return io.NodeOutput(sample_in_windows(model, windows))


NODES = [Exo2EgoLongClip]
