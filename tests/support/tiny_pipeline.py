"""A tiny pipeline in diffusers' layout: the folder that `training cache` encodes with."""

from __future__ import annotations

from pathlib import Path

import torch

from .egox_witness import MEAN, STD
from .tiny_vae import WIDTH, vae_state_dict

TEXT_WIDTH, IMAGE_WIDTH = 32, 16


def write_tiny_pipeline(folder: Path) -> Path:
    """Write VAE, umt5, tokenizer, CLIP and image processor with tiny random weights."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    tiny_vae().save_pretrained(folder / "vae")
    umt5 = UMT5Config(vocab_size=300, d_model=TEXT_WIDTH, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    UMT5EncoderModel(umt5).save_pretrained(folder / "text_encoder")
    _tokenizer().save_pretrained(folder / "tokenizer")
    clip = CLIPVisionConfig(
        hidden_size=IMAGE_WIDTH, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32,
        patch_size=16,
    )  # fmt: skip
    CLIPVisionModel(clip).save_pretrained(folder / "image_encoder")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder / "image_processor")
    return folder


def tiny_vae():
    """The VAE that ComfyUI loads from the weights of `tiny_vae`."""
    from diffusers import AutoencoderKLWan
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    vae = AutoencoderKLWan(base_dim=WIDTH, latents_mean=MEAN, latents_std=STD)
    vae.load_state_dict(convert_wan_vae_to_diffusers(vae_state_dict()))
    return vae.eval()


def _tokenizer():
    """A token a byte, and the end token after them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")
