"""StandInCLIPLoader and StandInCLIPVisionLoader: same inputs and outputs as the stock loaders they stand in for."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import comfy.clip_vision
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import folder_paths
from comfy.text_encoders import wan
from comfy_api.latest import ComfyExtension, io

from .configs import CLIP_VISION_CONFIG, UMT5_CONFIG
from .names import StandInName
from .pose_data import StandInPoseData
from .quantised_ops import load_gguf
from .rays import StandInRecordRays
from .recorder import StandInRecord, StandInRecordSyn
from .spoil import StandInKeep, StandInKept, StandInLook, StandInSpoil
from .text_spy import StandInOtherCLIP, StandInRecordText, StandInSpyTokens


class StandInCLIPLoader(io.ComfyNode):
    """CLIPLoader (type wan) for a tiny umt5."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInCLIPLoader",
            category="testing",
            inputs=[
                io.Combo.Input("clip_name", options=folder_paths.get_filename_list("text_encoders")),
                io.Combo.Input("type", options=["wan"], default="wan", optional=True),
                io.Combo.Input("device", options=["default", "cpu"], default="default", optional=True),
            ],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def execute(cls, clip_name: str, type: str = "wan", device: str = "default") -> io.NodeOutput:
        path = folder_paths.get_full_path_or_raise("text_encoders", clip_name)
        weights = comfy.utils.load_torch_file(path, safe_load=True)
        # What load_clip makes of umt5-xxl. Itself it takes weights of this size for those of another T5, in versions
        # of ComfyUI that know more of them.
        clip = comfy.sd.CLIP(
            comfy.supported_models_base.ClipTarget(wan.WanT5Tokenizer, wan.te()),
            embedding_directory=folder_paths.get_folder_paths("embeddings"),
            tokenizer_data={"spiece_model": weights["spiece_model"]},
            model_options={"umt5xxl_model_config": UMT5_CONFIG},
        )
        missing, _ = clip.load_sd(weights)
        if missing:
            raise ValueError(f"{clip_name} is no stand-in umt5: missing {missing}")
        return io.NodeOutput(clip)


class StandInCLIPVisionLoader(io.ComfyNode):
    """CLIPVisionLoader for a vision transformer of 3 layers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInCLIPVisionLoader",
            category="testing",
            inputs=[io.Combo.Input("clip_name", options=folder_paths.get_filename_list("clip_vision"))],
            outputs=[io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls, clip_name: str) -> io.NodeOutput:
        path = folder_paths.get_full_path_or_raise("clip_vision", clip_name)
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.json"
            config.write_text(json.dumps(CLIP_VISION_CONFIG))
            model = comfy.clip_vision.ClipVisionModel(str(config))
        missing, unexpected = model.load_sd(comfy.utils.load_torch_file(path))
        if missing or unexpected:
            raise ValueError(f"{clip_name} is no stand-in CLIP vision model: missing {missing}, unknown {unexpected}")
        return io.NodeOutput(model)


class StandInUnetLoaderGGUF(io.ComfyNode):
    """ComfyUI-GGUF's loader: a model whose linear layers hold Q8_0, packed here from an ordinary file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInUnetLoaderGGUF",
            category="testing",
            inputs=[io.Combo.Input("unet_name", options=folder_paths.get_filename_list("diffusion_models"))],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, unet_name: str) -> io.NodeOutput:
        path = folder_paths.get_full_path_or_raise("diffusion_models", unet_name)
        return io.NodeOutput(load_gguf(comfy.utils.load_torch_file(path)))


class StandInExtension(ComfyExtension):
    """The loaders, the recorders and the name."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            StandInCLIPLoader,
            StandInCLIPVisionLoader,
            StandInUnetLoaderGGUF,
            StandInRecord,
            StandInRecordRays,
            StandInRecordSyn,
            StandInOtherCLIP,
            StandInRecordText,
            StandInSpyTokens,
            StandInName,
            StandInPoseData,
            StandInSpoil,
            StandInLook,
            StandInKeep,
            StandInKept,
        ]
