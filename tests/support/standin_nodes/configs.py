"""Sizes of the stand-in encoders, shared by their makers and their loaders. Imports nothing."""

from __future__ import annotations

# 24 layers, as stock detection asks for; thin ones.
UMT5_CONFIG = {"d_ff": 8, "d_kv": 8, "num_heads": 1, "num_layers": 24, "vocab_size": 320}

CLIP_VISION_CONFIG = {
    "model_type": "clip_vision_model",
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "image_size": 224,
    "intermediate_size": 64,
    "num_attention_heads": 16,
    "num_channels": 3,
    "num_hidden_layers": 3,
    "patch_size": 14,
    "projection_dim": 1024,
}
