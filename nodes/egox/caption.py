"""Describe Clip: the two-view prompt's four fields, written by a local vision-language model."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import torch
from comfy_api.latest import io
from torch import Tensor

from ...common.paths import is_folder
from ...networks.pretrained_files import CAPTION
from ...networks.vlm import write_about
from ...wan.egox.vlm_instruction import VLM_INSTRUCTION, Fields, fields_of
from ..common.pretrained import NONE, folder_of, make_room, weights_input
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema

# Bytes beside the weights: some thousand tokens of pictures and answer. An estimate, on the safe side.
_ACTIVATIONS = 3 * 1024**3
_FIELDS = {
    "exo_scene": "The place and its objects as the third-person camera sees them.",
    "exo_action": "What the person and the hands do over the clip, from outside.",
    "ego_scene": "The same place as the person sees it.",
    "ego_action": "The same actions as the person sees them.",
}


class Exo2EgoCaption(io.ComfyNode):
    """Frames of a clip to the four descriptions of the two-view prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def field(name: str, about: str) -> io.Input:
            return io.String.Input(
                name,
                default="",
                multiline=True,
                optional=True,
                tooltip=f"{about} Empty: the model writes it, and the editor puts it here, to be changed. What stands "
                "here is kept; with all four filled the model is not asked.",
            )

        return schema(
            "Exo2EgoCaption",
            "Describe Clip",
            "conditioning",
            "Describes frames of the clip for Two-View Prompt with a local vision-language model through transformers, "
            "which gets this pack's own instruction. Put its files into a folder below models/vlm. Read the answer "
            "before a long run: the ego view is worked out, not seen.",
            search_aliases=["caption", "vlm", "qwen", "image to text", "describe"],
            inputs=[
                io.Image.Input("images", tooltip="The exo video."),
                weights_input(
                    "weights",
                    CAPTION,
                    "Folder below models/vlm with a model of transformers' image-text-to-text kind "
                    f"({CAPTION.repository}, or another that follows instructions). none, or no folder there: the "
                    "fields stay as they are.",
                    or_none=True,
                ),
                io.Int.Input(
                    "frames",
                    default=8,
                    min=1,
                    max=64,
                    tooltip="How many frames the model sees, spread over the clip. More frames take more memory.",
                ),
                io.String.Input(
                    "wearer",
                    default="",
                    tooltip="Who wears the camera, where several people are seen: 'the woman in the red jumper'. "
                    "Empty: the one whose hands are busiest.",
                ),
                *(field(name, about) for name, about in _FIELDS.items()),
            ],
            outputs=[
                *(
                    io.String.Output(
                        f"{name}_text", display_name=name.replace("_", " "), tooltip=f"{about} For Two-View Prompt."
                    )
                    for name, about in _FIELDS.items()
                ),
                io.String.Output(
                    "answer", display_name="answer", tooltip="What the model wrote, word for word; empty if not asked."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        weights: str,
        frames: int,
        wearer: str,
        exo_scene: str = "",
        exo_action: str = "",
        ego_scene: str = "",
        ego_action: str = "",
    ) -> io.NodeOutput:
        written = Fields(exo_scene.strip(), exo_action.strip(), ego_scene.strip(), ego_action.strip())
        answer, folder = "", folder_of(CAPTION, weights)
        if not written.missing():
            show_text(cls, "All four fields are filled; the model was not asked.")
        elif weights == NONE:
            warn(cls, f"No model is chosen, so {_named(written)} empty. Write them by hand, or choose weights.")
        elif not is_folder(folder):
            warn(
                cls,
                f"There is no model in {folder}, so {_named(written)} empty. Put the files of {CAPTION.repository} "
                f"(about {CAPTION.gigabytes:g} GB) there, or write the fields by hand; nothing is downloaded.",
            )
        else:
            answer = _ask(images, folder, frames, wearer.strip())
            found = fields_of(answer)
            written = Fields(*(getattr(written, name) or getattr(found, name) for name in _FIELDS))
            if written.missing():
                warn(
                    cls,
                    f"The model's answer does not keep to the form, so {_named(written)} empty. Read 'answer', write "
                    "them by hand, or choose a larger model.",
                )
            else:
                show_text(cls, f"Written from {min(frames, len(images))} frames. Read the ego view before a long run.")
        texts = [getattr(written, name) for name in _FIELDS]
        return io.NodeOutput(*texts, answer, ui={"fields": texts, "text": [answer] if answer else []})


def _ask(images: Tensor, folder: Path, frames: int, wearer: str) -> str:
    device = comfy.model_management.get_torch_device()
    if comfy.model_management.should_use_bf16(device):
        dtype = torch.bfloat16
    else:
        dtype = torch.float16 if comfy.model_management.should_use_fp16(device) else torch.float32
    make_room(folder, _ACTIVATIONS, device)
    places = torch.linspace(0, len(images) - 1, min(frames, len(images))).round().long()
    request = f"{VLM_INSTRUCTION}\nThe wearer is {wearer}." if wearer else VLM_INSTRUCTION
    try:
        return write_about(images[places], request, folder, device=device, dtype=dtype, progress=progress_bar())
    except comfy.model_management.OOM_EXCEPTION as error:
        raise RuntimeError(
            "The vision-language model ran out of memory. Give fewer frames, choose a smaller model, close other "
            "programs that use the card, or write the fields by hand."
        ) from error
    finally:
        comfy.model_management.soft_empty_cache()


def _named(fields: Fields) -> str:
    names = [name.replace("_", " ") for name in fields.missing()]
    return f"{', '.join(names)} {'stays' if len(names) == 1 else 'stay'}"


NODES = [Exo2EgoCaption]
