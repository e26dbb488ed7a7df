"""A detector, a pose estimator and a video segmenter far below their real size, for the real loaders.

Random weights, but for what makes them find something: the detector is sure of people in the boxes that are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

JOINTS = 17


def save_tiny_detector(folder: Path, labels: tuple[str, ...] = ("person", "bicycle"), sure: float = 2.0) -> Path:
    """Save an RT-DETR of 2 MB; its queries are people with a confidence about sigmoid(`sure`)."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor, RTDetrResNetConfig

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
        out_indices=[2, 3, 4],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=[8, 16, 16],
        feat_strides=[8, 16, 32],
        encoder_hidden_dim=32,
        encoder_ffn_dim=32,
        encoder_layers=1,
        encoder_attention_heads=2,
        d_model=32,
        num_queries=6,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_denoising=0,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = RTDetrForObjectDetection(config)
    with torch.no_grad():
        for head in model.class_embed:
            head.bias.fill_(-8.0)
            head.bias[0] = sure
        model.bbox_embed[-1].layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 2.0, 3.0]))  # upright, and not small
    model.eval().save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_tiny_pose(folder: Path, joints: int = JOINTS, experts: int = 1) -> Path:
    """Save a ViTPose of 1 MB that finds joints everywhere in a box."""
    from transformers import VitPoseBackboneConfig, VitPoseForPoseEstimation

    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=(64, 48),
        patch_size=[8, 8],
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        num_experts=experts,
        part_features=8 if experts > 1 else 0,
        out_features=["stage2"],
        out_indices=[2],
    )
    model = VitPoseForPoseEstimation(_pose_config(backbone, joints))
    with torch.no_grad():
        model.head.conv.bias.fill_(0.6)
    return _save_pose(model, folder)


# COCO's joints of somebody who faces the camera, as (row, column) of 16 x 13 cells of 3 cm: nose, eyes, ears,
# shoulders, elbows, wrists, hips, knees, ankles, left of each pair first, which is the right in the picture.
STANDING = (
    *((2, 6), (1, 7), (1, 5), (2, 8), (2, 4), (8, 12), (8, 0)),
    *((11, 12), (11, 0), (14, 12), (14, 0), (15, 9), (15, 3), (15, 10), (15, 2), (15, 11), (15, 1)),
)


def save_standing_pose(folder: Path) -> Path:
    """Save a ViTPose of 1 MB that sees `STANDING` in every box, whatever is in it.

    Its places are told by their embeddings alone, one feature a cell; the layers hand them on; each joint listens to
    its cell.
    """
    from transformers import VitPoseBackboneConfig, VitPoseForPoseEstimation

    rows, columns, patch = 16, 13, 5
    n = rows * columns
    backbone = VitPoseBackboneConfig(
        image_size=(rows * patch, columns * patch),
        patch_size=[patch, patch],
        hidden_size=n,
        num_hidden_layers=1,
        num_attention_heads=1,
        mlp_ratio=0.1,
        out_features=["stage1"],
        out_indices=[1],
    )
    model = VitPoseForPoseEstimation(_pose_config(backbone, len(STANDING)))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if not (name.startswith("backbone.layernorm") or "layernorm_" in name):
                weights.zero_()
        model.backbone.embeddings.position_embeddings[0, 1:] = torch.eye(n)
        for joint, (row, column) in enumerate(STANDING):
            # A feature is the square root of n where it is, after the last layer's normalisation: confidence 0.9.
            model.head.conv.weight[joint, row * columns + column, 1, 1] = 0.9 / (n - 1) ** 0.5
    return _save_pose(model, folder)


def _pose_config(backbone: Any, joints: int) -> Any:
    from transformers import VitPoseConfig

    return VitPoseConfig(
        backbone_config=backbone,
        initializer_range=0.5,
        use_simple_decoder=True,
        id2label={number: f"joint {number}" for number in range(joints)},
    )


def _save_pose(model: Any, folder: Path) -> Path:
    from transformers import VitPoseImageProcessor

    height, width = model.config.backbone_config.image_size
    model.eval().save_pretrained(folder)
    VitPoseImageProcessor(size={"height": height, "width": width}).save_pretrained(folder)
    return folder


def save_tiny_masks(folder: Path) -> Path:
    """Save a SAM 2 for video of 2 MB."""
    from transformers import (
        Sam2ImageProcessorFast,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    torch.manual_seed(0)
    side, hidden = 64, 128  # twice the 64 of its memory, which transformers has fixed
    hiera = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [side, side],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 2, 2],
        "window_size_per_stage": [8, 4, 4, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [2, 2],
    }
    vision = {
        "backbone_config": hiera,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
        "fpn_hidden_size": hidden,
        "fpn_top_down_levels": [2, 3],
    }
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": hidden, "image_size": side, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": hidden,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        image_size=side,
        memory_attention_hidden_size=hidden,
        memory_attention_num_layers=1,
        memory_attention_num_attention_heads=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[side // 16, side // 16],
        memory_encoder_hidden_size=hidden,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=hidden,
        memory_fuser_embed_dim=hidden,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
    )
    model = Sam2VideoModel(config)
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(10.0)  # sure that the person is there
    model.eval().save_pretrained(folder)
    size = {"height": side, "width": side}
    processor = Sam2VideoProcessor(
        Sam2ImageProcessorFast(size=size, mask_size={"height": side // 4, "width": side // 4}),
        Sam2VideoVideoProcessor(size=size),
        target_size=side,
    )
    processor.save_pretrained(folder)
    return folder
