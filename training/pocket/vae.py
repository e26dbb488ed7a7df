"""A small VAE in the shape of Wan 2.1's, trained mostly as two-dimensional convolutions.

diffusers' `AutoencoderKLWan` with 16 base channels: 8 x 8 in space, 4 in time, 16 latent channels. Where the images are
large its causal convolutions over three frames would cost nine times what they bring on clips of small motion. There
only the tap of the present frame is trained; the older ones are zero, so that the exported file is exactly what was
trained. Time is mixed at an eighth of the size and where time itself is halved or doubled.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

BASE_CHANNELS = 16

# Blocks that stay identities, because at the largest sizes they cost most to train: the second convolution is zero. The
# decoder, whose pictures people look at, trains all of its own.
_IDENTITIES = ("encoder.down_blocks.0", "encoder.down_blocks.1", "encoder.down_blocks.4")
# Parts that mix time in their convolutions; all others see one frame at a time.
_MIX_TIME = (
    *("encoder.down_blocks.9", "encoder.down_blocks.10", "encoder.mid_block", "encoder.conv_out", "quant_conv"),
    *("post_quant_conv", "decoder.conv_in", "decoder.mid_block", "decoder.up_blocks.0.resnets", "time_conv"),
)


def pocket_vae(base_channels: int = BASE_CHANNELS) -> AutoencoderKLWan:
    """Make an untrained VAE that trains fast; its state dict has diffusers' names."""
    from diffusers import AutoencoderKLWan

    vae = AutoencoderKLWan(base_dim=base_channels)
    _start_near_identity(vae)
    for name, module in vae.named_modules():
        if type(module).__name__ == "WanRMS_norm":
            module.forward = partial(_normalized, module)
        if name.startswith(_IDENTITIES) and name in _IDENTITIES:
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
            module.requires_grad_(False)
            module.forward = _unchanged
        elif _is_causal(module) and not any(part in name for part in _MIX_TIME):
            with torch.no_grad():
                module.weight[:, :, :-1] = 0
            module.forward = _frame_by_frame(module)
    return vae


def encode(vae: AutoencoderKLWan, frames: Tensor) -> Tensor:
    """Encode frames [B, 3, 1 + 4 n, H, W] in [-1, 1] to the latent's mean [B, 16, 1 + n, H / 8, W / 8]."""
    return vae._encode(frames).chunk(2, dim=1)[0]


def decode(vae: AutoencoderKLWan, latent: Tensor) -> Tensor:
    """Decode a latent [B, 16, 1 + n, h, w] to frames [B, 3, 1 + 4 n, 8 h, 8 w], about [-1, 1].

    diffusers' `decode` clamps its result, and so has no gradient where a color goes beyond.
    """
    vae.clear_cache()
    inner, decoded = vae.post_quant_conv(latent), []
    for frame in range(latent.shape[2]):
        part = inner[:, :, frame : frame + 1]
        decoded.append(vae.decoder(part, feat_cache=vae._feat_map, feat_idx=[0], first_chunk=frame == 0))
    vae.clear_cache()
    return torch.cat(decoded, dim=2)


def is_of_encoder(name: str) -> bool:
    """Whether a parameter belongs to the encoder, by its name."""
    return name.startswith(("encoder.", "quant_conv."))


@torch.no_grad()
def _start_near_identity(vae: AutoencoderKLWan) -> None:
    """Let every block begin as what passes its input on, so that the first steps train the ends already."""
    for name, module in vae.named_modules():
        if _is_causal(module):
            taps = module.weight.shape[2] if any(part in name for part in _MIX_TIME) else 1
            nn.init.normal_(module.weight, std=(taps * module.weight[0, :, 0].numel()) ** -0.5)
            nn.init.zeros_(module.bias)
    for module in vae.modules():
        kind = type(module).__name__
        if kind == "WanAttentionBlock":
            nn.init.zeros_(module.proj.weight)
            nn.init.zeros_(module.proj.bias)
        elif kind == "WanResidualBlock":
            nn.init.zeros_(module.conv2.weight)
            if _is_causal(module.conv_shortcut):
                module.conv_shortcut.weight.mul_(0.3)
                _add_identity(module.conv_shortcut.weight[:, :, -1, 0, 0])
        elif kind == "WanResample" and hasattr(module, "time_conv"):
            weight = module.time_conv.weight[..., 0, 0]  # [out, in, 3]
            weight.mul_(0.3)
            if len(weight) == weight.shape[1]:  # halves the frames: their mean
                for tap, share in enumerate((0.2, 0.4, 0.4)):
                    _add_identity(weight[:, :, tap], share)
            else:  # doubles them: both are the frame of now
                for half in weight.chunk(2):
                    _add_identity(half[:, :, -1])
    for convolution in (vae.quant_conv, vae.post_quant_conv):
        nn.init.zeros_(convolution.weight)
        _add_identity(convolution.weight[:, :, -1, 0, 0])
        convolution.requires_grad_(False)


def _add_identity(matrix: Tensor, share: float = 1.0) -> None:
    """Add what passes the first channels on to a matrix [out, in], in place."""
    matrix.diagonal().add_(share)


def _is_causal(module: nn.Module) -> bool:
    return type(module).__name__ == "WanCausalConv3d"


def _unchanged(x: Tensor, feat_cache: Any = None, feat_idx: Any = None) -> Tensor:
    return x


def _normalized(norm: nn.Module, x: Tensor) -> Tensor:
    """Do what the norm's own forward pass does, for x [B, C, ...], in half the time."""
    with torch.autocast(x.device.type, enabled=False):
        length = torch.rsqrt((x * x).sum(dim=1, keepdim=True, dtype=torch.float32) + 1e-12)
        return x * length.to(x.dtype) * (norm.gamma * norm.scale).to(x.dtype)


def _frame_by_frame(convolution: nn.Conv3d) -> Any:
    """Return a forward pass that applies the last tap to each frame [B, C, T, H, W] by itself."""
    padding = convolution._padding[0]  # of the width, as of the height

    def forward(x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        batch, _, n_frames, height, width = x.shape
        images = x.transpose(1, 2).reshape(batch * n_frames, -1, height, width)
        images = images.contiguous(memory_format=torch.channels_last)  # more than twice as fast on a CPU
        weight = convolution.weight[:, :, -1].contiguous(memory_format=torch.channels_last)
        done = nn.functional.conv2d(images, weight, convolution.bias, padding=padding)
        return done.reshape(batch, n_frames, *done.shape[1:]).transpose(1, 2)

    return forward
