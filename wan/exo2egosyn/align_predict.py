"""The first ego latent: predicted by EgoExo-Align from the exo views, or encoded from a real frame.

The paper's section 3.3; what it leaves open is listed in docs/exo2egosyn-format.md.

The network sees of every exo view the latent of its first frame, which Wan's causal VAE makes of that frame alone, and
the Pluecker map of the ego camera's rays in that view's frame, on the latent's grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...geometry.plucker import align_maps, ray_model
from ...networks.components.build import build_align
from ...networks.components.files import LoadedComponent
from ..shared.vae import check_sides, encode_video
from .views import ExoViews


def predict_first_latent(
    align: LoadedComponent, views: ExoViews, exo_cameras: Mapping[str, Camera], ego_camera: Camera
) -> Tensor:
    """Predict the ego latent of the first frame.

    Args:
        align: the component.
        views: the exo videos.
        exo_cameras: a camera for each view, by the views' names.
        ego_camera: its first pose counts; its whole picture is what the latent shows.

    Returns:
        [1, 16, 1, h, w] in the VAE's scale, on the CPU.

    Raises:
        ValueError: if the cameras are not those of the views.
    """
    check_cameras(views, exo_cameras)
    latent_format = comfy.latent_formats.Wan21()
    first = latent_format.process_in(views.latents[:, :, :1].float().cpu())[:, :, 0]  # [V, 16, h, w]
    height, width = first.shape[-2:]
    in_order = [exo_cameras[name] for name in views.names]
    maps = torch.cat([first, align_maps(in_order, ego_camera, width, height)], dim=1)[None]  # [1, V, 22, h, w]
    device = comfy.model_management.get_torch_device()
    network = build_align(align, comfy.ops.manual_cast)
    offload_device = comfy.model_management.unet_offload_device()
    patcher = comfy.model_patcher.ModelPatcher(network, load_device=device, offload_device=offload_device)
    comfy.model_management.load_models_gpu([patcher])
    with torch.inference_mode():
        predicted = network(maps.to(device)).cpu()
    return latent_format.process_out(predicted)


def check_cameras(views: ExoViews, exo_cameras: Mapping[str, Camera]) -> None:
    """Check that every exo view has its own camera: as many of both may still belong to different views.

    Raises:
        ValueError: if their names differ.
    """
    if set(exo_cameras) != set(views.names):
        raise ValueError(
            f"Every exo view needs the camera of its number: got the views {', '.join(views.names)} and the cameras of "
            f"{', '.join(sorted(exo_cameras)) or 'none'}. Connect the missing cameras, and disconnect those without a "
            "view."
        )


def encode_first_frame(vae: Any, image: Tensor) -> Tensor:
    """Return the latent [1, 16, 1, h, w] of a real first frame [1, H, W, 3], as the VAE gives it; of a video the first.

    Raises:
        ValueError: if its sides are no multiples of 16.
    """
    height, width = image.shape[1:3]
    check_sides("first ego", width, height)
    return encode_video(vae, image[:1], "Exo2EgoSyn")


def align_notes(align: LoadedComponent, views: ExoViews, ego_camera: Camera) -> list[str]:
    """Return what differs from the training of EgoExo-Align, which is likely to spoil its prediction."""
    metadata = align.metadata
    notes = []
    if metadata.num_views not in (None, views.n_views):
        notes.append(f"{align.file} was trained with {metadata.num_views} exo views, got {views.n_views}.")
    if (rays := ray_model(ego_camera).value) != metadata.rays:
        notes.append(f"{align.file} was trained on rays of the kind {metadata.rays}, and the ego camera's are {rays}.")
    return notes
