"""A DepthPro far below its real size, for the real loaders."""

from __future__ import annotations

from pathlib import Path

import torch


def save_tiny_depth_pro(folder: Path, use_fov_model: bool = True) -> Path:
    """Save a DepthPro of 1 MB with random weights in Hugging Face's layout."""
    from transformers import (
        DepthProConfig,
        DepthProForDepthEstimation,
        DepthProImageProcessorFast,
        Dinov2Config,
    )

    def encoder():
        return Dinov2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8, mlp_ratio=2
        )

    torch.manual_seed(0)
    config = DepthProConfig(
        fusion_hidden_size=16,
        patch_size=32,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[16, 16],
        scaled_images_ratios=[0.25, 0.5, 1],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[16, 16, 16],
        merge_padding_value=1,
        use_fov_model=use_fov_model,
        num_fov_head_layers=1,
        initializer_range=0.2,
        image_model_config=encoder(),
        patch_model_config=encoder(),
        fov_model_config=encoder(),
    )
    model = DepthProForDepthEstimation(config)
    with torch.no_grad():
        # Positive everywhere: past the last ReLU, and inside the clamp of inverse depth.
        model.head.layers[-2].weight.mul_(0.004)
        model.head.layers[-2].bias.fill_(0.5)
        if use_fov_model:
            model.fov_model.head.layers[-1].bias.fill_(60.0)  # near 60 degrees, and each frame its own
    model.save_pretrained(folder)
    DepthProImageProcessorFast(size={"height": 128, "width": 128}).save_pretrained(folder)
    return folder
