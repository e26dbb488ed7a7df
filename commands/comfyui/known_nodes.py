"""What the commands know of nodes by their ids, all in one place; tests hold it against the nodes' own schemas.

A server that runs says itself which inputs name files. This is for commands without one, and for servers with an older
pack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...common.file_inputs import FileInput, FileKind

# Inputs that name a file of the input folder, by node and input.
FILE_INPUTS: dict[tuple[str, str], FileInput] = {
    ("LoadVideo", "file"): FileInput(FileKind.FILE),
    ("LoadImage", "image"): FileInput(FileKind.FILE),
    ("LoadImageMask", "image"): FileInput(FileKind.FILE),
    ("LoadAudio", "audio"): FileInput(FileKind.FILE),
    ("Exo2EgoCameraFile", "file"): FileInput(FileKind.FILE, "example room"),
    ("Exo2EgoPointCloud", "scan"): FileInput(FileKind.FILE, "none"),
    ("Exo2EgoDepth", "file"): FileInput(FileKind.DEPTH, "none"),
    ("Exo2EgoLoadTake", "take"): FileInput(FileKind.TAKE, "example room"),
    ("Exo2EgoLoadEgoExo4D", "take"): FileInput(FileKind.EGO_EXO4D, "example room"),
    ("Exo2EgoLoadClip", "file"): FileInput(FileKind.CLIP, "example room"),
    ("Exo2EgoLoadKeypoints", "file"): FileInput(FileKind.KEYPOINTS, "example room"),
}

_PROMPTS = ("CLIPTextEncode", "Exo2EgoEncodePrompt")
# Short names of inputs, where a workflow has one such node: the node's types, its title where several may be there,
# and the input.
SHORT_NAMES: dict[str, tuple[tuple[str, ...], str | None, str]] = {
    "video": (("LoadVideo", "Exo2EgoLoadClip"), None, "file"),
    "image": (("LoadImage",), None, "image"),
    "camera": (("Exo2EgoCameraFile",), None, "file"),
    "take": (("Exo2EgoLoadTake",), None, "take"),
    "keypoints": (("Exo2EgoLoadKeypoints",), None, "file"),
    "prompt": (_PROMPTS, "Positive prompt", "text"),
    "negative_prompt": (_PROMPTS, "Negative prompt", "text"),
}

# Inputs that name a model, and ComfyUI's folders for it.
MODEL_INPUTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("UNETLoader", "unet_name"): ("diffusion_models",),
    ("CLIPLoader", "clip_name"): ("text_encoders",),
    ("VAELoader", "vae_name"): ("vae",),
    ("CLIPVisionLoader", "clip_name"): ("clip_vision",),
    ("Exo2EgoEgoXLoader", "lora_name"): ("loras",),
    ("LoraLoaderModelOnly", "lora_name"): ("loras",),
    ("Exo2EgoDepthPro", "weights"): ("depth_pro",),
    ("Exo2EgoFindPeople", "detector"): ("people",),
    ("Exo2EgoFindPeople", "pose"): ("people",),
    ("Exo2EgoFindPeople", "masks"): ("people",),
    ("Exo2EgoCaption", "weights"): ("vlm",),
    ("Exo2EgoSynLoader", "align"): ("exo2egosyn",),
    ("Exo2EgoSynLoader", "multiexocon"): ("exo2egosyn",),
    ("Exo2EgoSynLoader", "poseinj"): ("exo2egosyn",),
    ("Exo2EgoSynLoader", "lora"): ("exo2egosyn", "loras"),
    ("Exo2EgoSynLoader", "vawan"): ("exo2egosyn",),
}

# Nodes that show numbers which the batch's report tells; where they are unknown, it is worth to look for them.
TELLING = {"Exo2EgoRenderPrior"}


def file_input(node: str, name: str, declared: Sequence[Any] | None = None) -> FileInput | None:
    """Return what an input says of the files that it names; `None` where it names none.

    Args:
        node: the node's type.
        name: the input.
        declared: [type, options] as a server has it, which counts first.
    """
    marked = FileInput.from_options(declared[1]) if declared and len(declared) > 1 else None
    return marked or FILE_INPUTS.get((node, name))
