"""What a text encoder was given and gave, for tests that compute the same on their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.sd
import comfy.sd1_clip
import folder_paths
import torch
from comfy_api.latest import io
from safetensors.torch import save_file


class StandInSpyTokens(io.ComfyNode):
    """Hands a text encoder on and writes the token ids that its first layer looks up, the last call's alone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInSpyTokens",
            category="testing",
            inputs=[io.Clip.Input("clip"), io.String.Input("filename")],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def execute(cls, clip: Any, filename: str) -> io.NodeOutput:
        embedding = clip.cond_stage_model.umt5xxl.transformer.get_input_embeddings()
        path = Path(folder_paths.get_output_directory()) / filename
        embedding.register_forward_pre_hook(lambda _, inputs: save_file({"tokens": inputs[0].cpu()}, path))
        return io.NodeOutput(clip)


class StandInRecordText(io.ComfyNode):
    """Writes a conditioning's vectors as safetensors, with the names and texts of its options."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInRecordText",
            category="testing",
            inputs=[io.Conditioning.Input("conditioning"), io.String.Input("filename")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, conditioning: list, filename: str) -> io.NodeOutput:
        ((vectors, options),) = conditioning
        plain = {name: value for name, value in options.items() if not torch.is_tensor(value)}
        path = Path(folder_paths.get_output_directory()) / filename
        save_file({"vectors": vectors.cpu().contiguous()}, path, metadata={"options": json.dumps(plain)})
        return io.NodeOutput()


class StandInOtherCLIP(io.ComfyNode):
    """A text encoder of another model family (Stable Diffusion's), with its real tokenizer and no weights."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="StandInOtherCLIP", category="testing", inputs=[], outputs=[io.Clip.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        clip = comfy.sd.CLIP(no_init=True)
        clip.tokenizer, clip.tokenizer_options = comfy.sd1_clip.SD1Tokenizer(), {}
        return io.NodeOutput(clip)
