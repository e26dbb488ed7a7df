"""Build and run the Exo2EgoSyn graph in-process, from the patch that the nodes apply and the stock KSampler."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from exo2ego.geometry.plucker import PluckerMaps, PoseReference, RayModel
from exo2ego.networks.components.files import LoadedComponent
from exo2ego.networks.components.set import SynComponents
from exo2ego.wan.exo2egosyn.apply import apply_exo2egosyn
from exo2ego.wan.exo2egosyn.views import ExoViews

from .comfyui import k_sampler
from .egosyn_witness import SynClip, SynWeights, sample
from .tiny_wan import wan_state_dict

SEED = 5
STEPS = 3
SHIFT = 5.0


def components(*parts: LoadedComponent) -> SynComponents:
    return SynComponents({part.component: part for part in parts})


def views_of(clip: SynClip) -> ExoViews:
    names = tuple(f"exo {number}" for number in range(1, len(clip.exo) + 1))
    return ExoViews(clip.exo, 4 * clip.exo.shape[2] - 3, names)


def maps_of(clip: SynClip) -> PluckerMaps:
    return PluckerMaps(clip.plucker, PoseReference.EXO1, RayModel.PINHOLE, clip.poses)


def with_syn(model: Any, clip: SynClip, *parts: LoadedComponent, **settings: Any) -> Any:
    return apply_exo2egosyn(model, components(*parts), views_of(clip), maps_of(clip), **settings)


def syn_conditioning(text: Tensor, clip: SynClip) -> list:
    return [[text, {"concat_latent_image": clip.condition, "concat_mask": clip.mask}]]


def run_syn(model: Any, clip: SynClip, *, cfg: float = 3.5, batch: int = 1, **settings: Any) -> Tensor:
    """Sample the clip with the stock KSampler; returns [batch, 16, T, h, w]."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    (shifted,) = ModelSamplingSD3().patch(model, SHIFT)
    positive, negative = (syn_conditioning(text, clip) for text in (clip.positive, clip.negative))
    latent = torch.zeros(batch, *clip.condition.shape[1:])
    settings = {"steps": STEPS, **settings}
    return k_sampler(shifted, positive, negative, latent, seed=SEED, cfg=cfg, **settings)


def noise_of(clip: SynClip, batch: int = 1) -> Tensor:
    """Return the noise that the stock KSampler draws."""
    return torch.randn(batch, *clip.condition.shape[1:], generator=torch.manual_seed(SEED))


def witness(clip: SynClip, *parts: LoadedComponent, cfg: float = 3.5, batch: int = 1) -> Tensor:
    """Sample with the loop written out in plain torch."""
    tensors = {part.component.value: part.state_dict for part in parts}
    tensors.pop("align", None)
    weights = SynWeights(wan_state_dict("i2v_2.2"), **tensors)
    return sample(weights, clip, noise_of(clip, batch), steps=STEPS, shift=SHIFT, cfg=cfg)
