"""Build and run the EgoX graph in-process, from the patches that the nodes apply and the stock KSampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exo2ego.geometry.directions.directions import GGADirections
from exo2ego.wan.egox.apply import ExoSettings, apply_egox
from exo2ego.wan.egox.gga import GGASettings, apply_gga

from .comfyui import k_sampler
from .egox_witness import Clip
from .wan_witnesses import egox_conditioning

SEED = 5
STEPS = 3
SHIFT = 8.0  # ComfyUI's default for Wan 2.1


@dataclass(frozen=True)
class KnownDirections:
    """Directions that are known already, in the place of a clip's geometry."""

    ego_queries: Tensor
    exo_keys: Tensor

    def directions(self, grid: Any, progress: Any = None) -> GGADirections:
        return GGADirections(self.ego_queries, self.exo_keys)


def with_egox(model: Any, clip: Clip, **settings: Any) -> Any:
    return apply_egox(model, clip.exo, ExoSettings(**settings))


def with_gga(model: Any, clip: Clip, **settings: Any) -> Any:
    """Apply GGA with the clip's directions."""
    return apply_gga(model, KnownDirections(clip.ego_queries, clip.exo_keys), GGASettings(**settings))


def with_shift(model: Any, shift: float) -> Any:
    """Apply stock ModelSamplingSD3."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    (patched,) = ModelSamplingSD3().patch(model, shift)
    return patched


def with_override(model: Any, override: Any) -> Any:
    """Set an attention override as other packs do."""
    patched = model.clone()
    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    return patched


def run_graph(model: Any, clip: Clip, *, cfg: float = 5.0, batch: int = 1, **settings: Any) -> Tensor:
    """Sample the clip's ego latent with the stock KSampler; returns [batch, 16, T, h, w_ego]."""
    settings = {"steps": STEPS, **settings}
    positive = egox_conditioning(clip.positive, clip.prior, clip.clip_features)
    negative = egox_conditioning(clip.negative, clip.prior, clip.clip_features)
    latent = torch.zeros(batch, *clip.prior.shape[1:])
    return k_sampler(model, positive, negative, latent, seed=SEED, cfg=cfg, **settings)


def noise_of(clip: Clip, batch: int = 1) -> Tensor:
    """Return the noise that the stock KSampler draws."""
    return torch.randn(batch, *clip.prior.shape[1:], generator=torch.manual_seed(SEED))


def one_call(model: Any, ego: Tensor, sigma: Tensor, conditioning: list) -> Tensor:
    """Run the model once from within a sampling run of the stock guider; returns the velocity [B, 16, T, h, w].

    Args:
        model: MODEL.
        ego: what is sampled, in the model's scale [B, 16, T, h, w].
        sigma: its noise level [1].
        conditioning: positive, without CFG.
    """
    import comfy.sample
    import comfy.samplers

    velocities = []

    def call(network: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
        denoised = network(ego, sigma.expand(len(ego)), **extra_args)
        velocities.append((ego - denoised) / sigma)
        return denoised

    sigmas = torch.cat([sigma, torch.zeros(1)])
    nothing = torch.zeros_like(ego)
    sampler = comfy.samplers.KSAMPLER(call)
    settings = {"disable_pbar": True, "seed": 0}
    with torch.inference_mode():
        comfy.sample.sample_custom(
            model, nothing, 1.0, sampler, sigmas, conditioning, conditioning, nothing, **settings
        )
    (velocity,) = velocities
    return velocity
