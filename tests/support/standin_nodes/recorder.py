"""An output node that writes what the sampler got and gave, for tests that compute the same on their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from safetensors.torch import save_file


class StandInRecord(io.ComfyNode):
    """Writes conditioning and latents as safetensors."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInRecord",
            category="test",
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Latent.Input("exo_latent"),
                io.Latent.Input("samples"),
                io.String.Input("filename", default="record.safetensors"),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, positive: list, negative: list, exo_latent: dict, samples: dict, filename: str) -> io.NodeOutput:
        tensors = {"exo": exo_latent["samples"], "samples": samples["samples"]}
        for name, conditioning in (("positive", positive), ("negative", negative)):
            ((text, options),) = conditioning
            tensors[name] = text
            tensors[f"{name}_prior"] = options["concat_latent_image"]
            tensors[f"{name}_mask"] = options["concat_mask"]
            if (features := options.get("clip_vision_output")) is not None:
                tensors[f"{name}_clip"] = features.penultimate_hidden_states
        plain = {name: _plain(tensor) for name, tensor in tensors.items()}
        save_file(plain, Path(folder_paths.get_output_directory()) / filename)
        return io.NodeOutput()


class StandInRecordSyn(io.ComfyNode):
    """Writes what Exo2EgoSyn samples from and gives, as safetensors."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInRecordSyn",
            category="test",
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Latent.Input("first_latent"),
                io.Latent.Input("samples"),
                io.Custom("EXO2EGO_EXO_VIEWS").Input("views"),
                io.Custom("EXO2EGO_PLUCKER").Input("plucker", optional=True),
                io.String.Input("filename", default="record.safetensors"),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        positive: list,
        negative: list,
        first_latent: dict,
        samples: dict,
        views: Any,
        filename: str,
        plucker: Any | None = None,
    ) -> io.NodeOutput:
        tensors = {"exo": views.latents, "first": first_latent["samples"], "samples": samples["samples"]}
        if plucker is not None:
            tensors["plucker"] = plucker.maps
            tensors["poses"] = plucker.poses
        for name, conditioning in (("positive", positive), ("negative", negative)):
            ((text, options),) = conditioning
            tensors[name] = text
            tensors[f"{name}_condition"] = options["concat_latent_image"]
            tensors[f"{name}_mask"] = options["concat_mask"]
        plain = {name: _plain(tensor) for name, tensor in tensors.items()}
        save_file(plain, Path(folder_paths.get_output_directory()) / filename)
        return io.NodeOutput()


def _plain(tensor: Any) -> Any:
    return tensor.detach().cpu().contiguous().clone()
