"""Tiny stand-ins of umt5-xxl and CLIP ViT-H, for the loaders in `standin_nodes`.

Stock loaders build these two in full size only, so the files carry fewer and thinner layers, and the nodes say so to
ComfyUI's own classes. Widths that the Wan model sees (4096 and 1280) are the real ones.
"""

from __future__ import annotations

import io

import torch

from .standin_nodes.configs import CLIP_VISION_CONFIG, UMT5_CONFIG
from .tiny_weights import Weights

SENTENCES = (
    "[Exo view] **Scene Overview:** a person stands at a table in a bright kitchen and the camera is fixed.",
    "**Action Analysis:** the person reaches for a cup, lifts it, pours water and puts it back on the table.",
    "[Ego view] **Scene Overview:** seen from the eyes of the person, both hands hold a bowl above the table.",
    "**Action Analysis:** the left hand turns the bowl while the right hand stirs with a wooden spoon.",
    "0123456789 ,;:!?()'\"-_/%&+= ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz",
)


def umt5_state_dict(*, seed: int = 4) -> dict[str, torch.Tensor]:
    """Return a tiny umt5 in half precision, with a sentencepiece model trained here on a few sentences."""
    spiece = _sentencepiece_model()
    vocabulary = UMT5_CONFIG["vocab_size"]
    width, thin = 4096, UMT5_CONFIG["d_kv"] * UMT5_CONFIG["num_heads"]
    weights = Weights(seed, torch.float16)
    weights.normal("shared.weight", vocabulary, width)
    for index in range(UMT5_CONFIG["num_layers"]):
        name = f"encoder.block.{index}.layer"
        for layer in ("q", "k", "v"):
            weights.linear(f"{name}.0.SelfAttention.{layer}", thin, width, bias=False)
        weights.linear(f"{name}.0.SelfAttention.o", width, thin, bias=False)
        weights.normal(f"{name}.0.SelfAttention.relative_attention_bias.weight", 32, UMT5_CONFIG["num_heads"])
        weights.scale(f"{name}.0.layer_norm.weight", width)
        weights.linear(f"{name}.1.DenseReluDense.wi_0", UMT5_CONFIG["d_ff"], width, bias=False)
        weights.linear(f"{name}.1.DenseReluDense.wi_1", UMT5_CONFIG["d_ff"], width, bias=False)
        weights.linear(f"{name}.1.DenseReluDense.wo", width, UMT5_CONFIG["d_ff"], bias=False)
        weights.scale(f"{name}.1.layer_norm.weight", width)
    weights.scale("encoder.final_layer_norm.weight", width)
    return {**weights.tensors, "spiece_model": torch.frombuffer(bytearray(spiece), dtype=torch.uint8)}


def _sentencepiece_model() -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        model_type="unigram",
        vocab_size=UMT5_CONFIG["vocab_size"],
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        num_threads=1,
    )
    return model.getvalue()


def clip_vision_state_dict(*, seed: int = 5) -> dict[str, torch.Tensor]:
    """Return a CLIP vision transformer in half precision: 3 layers, width and patches of ViT-H."""
    config = CLIP_VISION_CONFIG
    width, ffn = config["hidden_size"], config["intermediate_size"]
    patches = (config["image_size"] // config["patch_size"]) ** 2
    weights = Weights(seed, torch.float16)
    weights.normal("vision_model.embeddings.class_embedding", width)
    weights.linear("vision_model.embeddings.patch_embedding", width, 3, 14, 14, bias=False)
    weights.normal("vision_model.embeddings.position_embedding.weight", patches + 1, width)
    weights.layer_norm("vision_model.pre_layrnorm", width)
    for index in range(config["num_hidden_layers"]):
        name = f"vision_model.encoder.layers.{index}"
        weights.layer_norm(f"{name}.layer_norm1", width)
        for layer in ("q_proj", "k_proj", "v_proj", "out_proj"):
            weights.linear(f"{name}.self_attn.{layer}", width, width)
        weights.layer_norm(f"{name}.layer_norm2", width)
        weights.linear(f"{name}.mlp.fc1", ffn, width)
        weights.linear(f"{name}.mlp.fc2", width, ffn)
    weights.layer_norm("vision_model.post_layernorm", width)
    weights.linear("visual_projection", config["projection_dim"], width, bias=False)
    return weights.tensors
