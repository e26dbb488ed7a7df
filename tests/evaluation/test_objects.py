"""Object scores: by hand on drawn masks, and through SAM 2 and DINOv3 on small random weights."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.evaluation.networks.object_matching import NAMES, box_of, matches, object_scores


def masks(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """Draw a box a frame: one object [1, F, 40, 40]; an empty box is a frame without it."""
    drawn = torch.zeros(1, len(boxes), 40, 40, dtype=torch.bool)
    for frame, (left, top, right, bottom) in enumerate(boxes):
        drawn[0, frame, top:bottom, left:right] = True
    return drawn


def test_all_pairs_that_look_alike_count():
    true = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    made = torch.tensor([[3.0, 0.1], [1.0, 1.0], [0.0, -1.0], [0.5, 0.01]])
    assert matches(true, made) == [(0, 0), (0, 3)]
    assert matches(true[:0], made) == []


def test_a_box_that_moved():
    scores = object_scores(masks((0, 0, 10, 10)), masks((5, 0, 15, 10)), [(0, 0)])
    assert float(scores["object_location"]) == 5
    assert float(scores["object_iou"]) == pytest.approx(50 / 150)
    assert float(scores["object_contour"]) == 1, "its outline is the same"


def test_an_outline_that_changed():
    one, other = masks((10, 10, 20, 20)), masks((10, 10, 20, 20))
    other[0, 0, 10:20, 15:20] = False
    other[0, 0, 10, 10:20] = True  # a box as large, half of it empty
    scores = object_scores(one, other, [(0, 0)])
    assert float(scores["object_iou"]) == 1
    assert float(scores["object_contour"]) == pytest.approx(55 / 100)


def test_frames_without_one_of_both_do_not_count():
    gone = (0, 0, 0, 0)
    scores = object_scores(masks((0, 0, 4, 4), (0, 0, 4, 4)), masks((0, 3, 4, 7), gone), [(0, 0)])
    assert float(scores["object_location"]) == 3
    nothing = object_scores(masks((0, 0, 4, 4)), masks(gone), [(0, 0)])
    assert all(math.isnan(nothing[name]) for name in NAMES)
    assert all(math.isnan(value) for value in object_scores(masks(gone), masks(gone), []).values())
    assert box_of(masks((2, 3, 7, 9))[0, 0]) == (2, 3, 7, 9)


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory):
    """SAM 2 and DINOv3 as small as they go, random, in folders named as the real ones."""
    from transformers import (
        DINOv3ViTConfig,
        DINOv3ViTImageProcessorFast,
        DINOv3ViTModel,
        Sam2ImageProcessorFast,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    backbone = {
        **{"model_type": "sam2_hiera_det_model", "hidden_size": 12, "image_size": [128, 128]},
        **{"blocks_per_stage": [1, 1, 1, 1], "embed_dim_per_stage": [12, 24, 48, 96], "global_attention_blocks": []},
    }
    sizes = [[32, 32], [16, 16], [8, 8]]
    vision = {"backbone_config": backbone, "backbone_channel_list": [96, 48, 24, 12], "backbone_feature_sizes": sizes}
    wide = ("memory_attention_hidden_size", "memory_encoder_hidden_size", "mask_downsampler_embed_dim")
    config = Sam2VideoConfig(
        vision_config={**vision, "fpn_hidden_size": 128},
        prompt_encoder_config={"hidden_size": 128, "image_size": 128},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 16, "num_hidden_layers": 1, "iou_head_hidden_dim": 16},
        image_size=128,
        **dict.fromkeys((*wide, "memory_fuser_embed_dim"), 128),
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
        memory_attention_rope_feat_sizes=[8, 8],
    )
    square, small = {"height": 128, "width": 128}, {"height": 32, "width": 32}
    Sam2VideoModel(config).save_pretrained(folder / "sam2-hiera-large")
    images = Sam2ImageProcessorFast(size=square, mask_size=small)
    processor = Sam2VideoProcessor(images, Sam2VideoVideoProcessor(size=square), target_size=128)
    processor.save_pretrained(folder / "sam2-hiera-large")
    layers = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    look = DINOv3ViTModel(DINOv3ViTConfig(**layers, num_register_tokens=2, image_size=32, patch_size=16))
    look.save_pretrained(folder / "dinov3-vitl16-pretrain-lvd1689m")
    DINOv3ViTImageProcessorFast(size=small).save_pretrained(folder / "dinov3-vitl16-pretrain-lvd1689m")
    return folder


def test_sam_2_and_dinov3_run_on_a_clip(small_weights):
    """Random weights find nothing worth a name; a clip's objects are its own at least."""
    from exo2ego.evaluation.networks.objects import ObjectScores
    from exo2ego.evaluation.networks.weights import Weights

    loose = {"pred_iou_thresh": -9.0, "stability_score_thresh": -9.0, "points": 8, "points_per_batch": 64}
    measure = ObjectScores(Weights(small_weights, torch.device("cpu")), least_area=1, **loose)
    clip = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    first = torch.zeros(2, 64, 64, dtype=torch.bool)
    first[0, :32], first[1, :, :20] = True, True
    measure._found = lambda picture: list(first)
    found, looks = measure._objects(clip)
    assert found.shape == (2, 2, 64, 64)
    assert looks.shape == (2, 32)
    assert torch.equal(found[:, 0], first), "the first frame is what was found there"
    scores = measure(clip, clip)
    assert set(scores) == set(NAMES)
    del measure._found
    assert all(mask.shape == (64, 64) for mask in measure._found(pictures(clip)))


def pictures(clip: torch.Tensor) -> object:
    from PIL import Image

    return Image.fromarray(clip[0].mul(255).round().byte().numpy())
