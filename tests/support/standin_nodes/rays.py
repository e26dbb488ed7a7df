"""An output node that writes Pluecker maps and core's camera embedding, for tests that make the same on their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from safetensors.torch import save_file
from torch import Tensor


class StandInRecordRays(io.ComfyNode):
    """Writes maps and embedding as safetensors, what the maps say of themselves as its metadata."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInRecordRays",
            category="testing",
            inputs=[
                io.Custom("EXO2EGO_PLUCKER").Input("plucker"),
                io.WanCameraEmbedding.Input("camera_embedding"),
                io.String.Input("filename", default="rays.safetensors"),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, plucker: Any, camera_embedding: Tensor, filename: str) -> io.NodeOutput:
        tensors = {"maps": plucker.maps, "embedding": camera_embedding}
        said = {"reference": plucker.reference.value, "rays": plucker.rays.value}
        save_file(tensors, Path(folder_paths.get_output_directory()) / filename, metadata=said)
        return io.NodeOutput()
