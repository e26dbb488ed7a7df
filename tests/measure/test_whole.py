"""The random VAE that the command `gpu` times: weights that are numbers, and none of them what lay in memory."""

from __future__ import annotations

import torch

from exo2ego.measure.whole import _randomize
from support.comfyui import import_comfyui


def test_the_vae_computes_with_random_numbers():
    """ComfyUI's layers begin with memory as it lies: here full of what is not a number."""
    import_comfyui()
    from comfy.ldm.wan.vae import WanVAE

    vae = WanVAE(dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False])
    with torch.no_grad():
        for weight in vae.parameters():
            weight.fill_(torch.nan)
    _randomize(vae)
    with torch.inference_mode():
        latent = vae.encode(torch.rand(1, 3, 1, 16, 16))
        frames = vae.decode(latent)
    for found in (latent, frames):
        assert found.isfinite().all()
        assert 1e-2 < float(found.std()) < 1e2
