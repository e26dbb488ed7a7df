"""DepthPro: metric depth that needs no other pack, where its weights are present."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import folder_paths
import torch
from comfy_api.latest import io
from torch import Tensor

from ...common.paths import entries, is_file, is_folder, size_of
from ...common.safe_text import is_fit_to_list
from ...geometry.depth.depth import Depth, DepthMeaning
from ...networks.depth_pro import estimate_depth
from ...networks.depth_pro_files import CONFIG_FILE, WEIGHTS_FILE
from ..common.model_files import ListedInput
from ..common.previews import depth_preview
from ..common.progress import progress_bar, show_text
from ..common.schema import schema

FOLDER = "depth_pro"  # below ComfyUI's models folder; each folder in it holds weights in Hugging Face's layout
_DEFAULT_WEIGHTS = "DepthPro-hf"

# DepthPro works on 35 patches of 384 px of a 1536 px picture, whatever came in. An estimate, on the safe side.
_ACTIVATION_BYTES = 4 * 1024**3

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


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
                ListedInput(
                    "weights",
                    _weights,
                    tooltip="Folder below models/depth_pro with the weights as Hugging Face has them "
                    "(apple/DepthPro-hf).",
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
        folder = _folder_of(weights)
        device = comfy.model_management.get_torch_device()
        dtype = torch.float16 if comfy.model_management.should_use_fp16(device) else torch.float32
        _make_room(folder, device)
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


def _weights() -> list[str]:
    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    found = {folder.name for root in roots for folder in entries(root) if is_file(folder / CONFIG_FILE)}
    return sorted(name for name in found if is_fit_to_list(name)) or [_DEFAULT_WEIGHTS]


def _folder_of(weights: str) -> Path:
    """Return the weights' folder; where there is none, the place where it belongs, for the error to name."""
    places = [Path(root) / weights for root in folder_paths.get_folder_paths(FOLDER)]
    return next((place for place in places if is_folder(place)), places[-1])


def _make_room(folder: Path, device: torch.device) -> None:
    """Have ComfyUI offload models for DepthPro, which is none of its own."""
    comfy.model_management.free_memory(size_of(folder / WEIGHTS_FILE) + _ACTIVATION_BYTES, device)


NODES = [Exo2EgoDepthPro]
