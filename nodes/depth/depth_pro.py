"""DepthPro: metric depth that needs no other pack, where its weights are present."""

from __future__ import annotations

import comfy.model_management
import torch
from comfy_api.latest import io
from torch import Tensor

from ...geometry.depth.depth import Depth, DepthMeaning
from ...networks.depth_pro import estimate_depth
from ...networks.pretrained_files import DEPTH_PRO
from ..common.pretrained import folder_of, make_room, weights_input
from ..common.previews import depth_preview
from ..common.progress import progress_bar, show_text
from ..common.schema import schema

# DepthPro works on 35 patches of 384 px of a 1536 px picture, whatever came in. An estimate, on the safe side.
_ACTIVATION_BYTES = 4 * 1024**3


class Exo2EgoDepthPro(io.ComfyNode):
    """Metric depth and field of view by Apple's DepthPro."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoDepthPro",
            "DepthPro (metric depth)",
            "depth",
            "Estimates metric depth and the field of view of every frame with DepthPro through transformers. Put the "
            "weights (config.json, preprocessor_config.json, model.safetensors) into a folder below models/depth_pro.",
            search_aliases=["monocular depth", "focal length", "fov"],
            inputs=[
                io.Image.Input("images", tooltip="The exo video."),
                weights_input(
                    "weights",
                    DEPTH_PRO,
                    "Folder below models/depth_pro with the weights as Hugging Face has them (apple/DepthPro-hf).",
                ),
                io.Float.Input(
                    "known_fov",
                    default=0.0,
                    min=0.0,
                    max=179.0,
                    step=0.1,
                    tooltip="Horizontal field of view in degrees, if you know it; 0 lets DepthPro estimate it. Give it "
                    "here and not in Camera: the metres depend on it.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "depth",
                    display_name="metric depth",
                    tooltip="Metres in all three channels (not an image to look at): for Depth, with 'metric depth'.",
                ),
                io.Float.Output("fov", display_name="field of view", tooltip="Horizontal, in degrees, for Camera."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, images: Tensor, weights: str, known_fov: float) -> io.NodeOutput:
        folder = folder_of(DEPTH_PRO, weights)
        device = comfy.model_management.get_torch_device()
        dtype = torch.float16 if comfy.model_management.should_use_fp16(device) else torch.float32
        make_room(folder, _ACTIVATION_BYTES, device)
        try:
            estimate = estimate_depth(
                images,
                folder,
                device=device,
                dtype=dtype,
                fov_degrees=known_fov or None,
                progress=progress_bar(),
            )
        except comfy.model_management.OOM_EXCEPTION as error:
            raise RuntimeError(
                "DepthPro ran out of memory. Close other programs that use the card, start ComfyUI with --cpu once and "
                "save the depth, or give a depth file to the Depth node."
            ) from error
        finally:
            comfy.model_management.soft_empty_cache()
        depth = Depth.from_array(estimate.depth, DepthMeaning.METRIC)
        show_text(cls, f"{depth.describe()} Field of view {estimate.fov_degrees:.1f} degrees.")
        metres = estimate.depth[..., None].expand(*estimate.depth.shape, 3)
        return io.NodeOutput(metres, float(estimate.fov_degrees), ui=depth_preview(depth))


NODES = [Exo2EgoDepthPro]
