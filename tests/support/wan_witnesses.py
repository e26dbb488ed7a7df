"""Two networks behind one signature: ComfyUI's raw WanModel and diffusers' WanTransformer3DModel, with a dense bias."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from .egox_witness import Predict


def comfyui_predict(network: Any, blocks: set[int] | None = None) -> Predict:
    """Call ComfyUI's raw WanModel; attention over all tokens with itself is computed densely, with the bias.

    `blocks` limits the bias to some blocks, counted by their calls.
    """

    def predict(x: Tensor, timestep: Tensor, text: Tensor, features: Tensor, bias: Tensor | None) -> Tensor:
        tokens = x.shape[2] * x.shape[3] * x.shape[4] // 4
        block = itertools.count()

        def dense(function: Any, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any) -> Tensor:
            if k.shape[1] != tokens:
                return function(q, k, v, heads, *args, **kwargs)
            index = next(block)
            query, key, value = (z.unflatten(2, (heads, -1)).transpose(1, 2) for z in (q, k, v))
            logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            if bias is not None and (blocks is None or index in blocks):
                logits = logits + bias
            return (logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)

        options = {"optimized_attention_override": dense}
        return network(x, timestep, text, clip_fea=features, transformer_options=options)

    return predict


def diffusers_wan(state_dict: dict[str, Tensor], *, dim: int, ffn: int, layers: int) -> Any:
    """Return diffusers' transformer with the weights of an original Wan 2.1 I2V."""
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    network = WanTransformer3DModel(
        num_attention_heads=dim // 128,
        attention_head_dim=128,
        in_channels=36,
        out_channels=16,
        ffn_dim=ffn,
        num_layers=layers,
        image_dim=1280,
        added_kv_proj_dim=dim,
    )
    network.load_state_dict(convert_wan_transformer_to_diffusers(dict(state_dict)))
    return network.eval()


def diffusers_predict(network: Any) -> Predict:
    """Call diffusers' transformer; the bias goes in as the mask of every self-attention."""
    from diffusers.models.transformers.transformer_wan import WanAttnProcessor

    class Biased(WanAttnProcessor):
        bias: Tensor | None = None

        def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
            return super().__call__(attn, hidden_states, encoder_hidden_states, self.bias, rotary_emb)

    processor = Biased()
    for block in network.blocks:
        block.attn1.set_processor(processor)

    def predict(x: Tensor, timestep: Tensor, text: Tensor, features: Tensor, bias: Tensor | None) -> Tensor:
        processor.bias = None if bias is None else bias[None, None]
        return network(x, timestep, text, features, return_dict=False)[0]

    return predict


def clip_vision_output(features: Tensor) -> Any:
    """Return what stock CLIPVisionEncode gives, as far as Wan reads it."""
    from comfy.clip_vision import Output

    output = Output()
    output["penultimate_hidden_states"] = features
    return output


def egox_conditioning(text: Tensor, prior: Tensor, features: Tensor) -> list:
    """Return the CONDITIONING of EgoX: the ego prior as the ordinary condition, no frame given."""
    options = {
        "concat_latent_image": prior,
        "concat_mask": torch.ones_like(prior[:, :1]),
        "clip_vision_output": clip_vision_output(features),
    }
    return [[text, options]]
