"""Exo2EgoSyn as a MODEL patch: exo tokens, the ego camera's path, VAWAN's channels and the trained weights.

Every model call of Wan 2.2 I2V then runs so (the paper's sections 3.4.1 and 3.4.2, and docs/exo2egosyn-format.md):

    tokens = patch embedding of [noise 16 | mask 4 | first frame 16], plus VAWAN's part of the exo latents
    tokens = PoseInj(tokens, ego camera's path)
    every block: tokens += AC3D's light block of VAWAN, or its poses come with the time step
                 cross-attention sees the exo tokens in the place of the text

In CFG's null branch the exo latents are zero; first frame and path stay. What has no component stays Wan's own, bit by
bit. VAWAN's further input channels are added as tokens, since a convolution is a sum over its input channels: a wider
patch embedding would not fit the base model's conditioning, nor a quantised weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...common.safe_text import safe_logger
from ...common.wan_grid import WAN_PATCH
from ...geometry.plucker import PluckerMaps
from ...networks.components.metadata import Component
from ...networks.components.set import SynComponents
from ...networks.weights.finite import check_strength
from ..shared.base_model import require_wan22_i2v
from ..shared.finite_steps import FiniteSteps
from ..shared.memory import TokenMemoryEstimate
from ..shared.replayed_graphs import outside_replayed_graphs
from ..shared.side_model import SideNetwork
from ..shared.wrappers import (
    SYN_KEY,
    ModelCall,
    model_call_wrapper,
    set_wrappers,
    transformer_options_of_run,
    window_frames,
)
from .adapters import CallFeatures, SynAdapters
from .checks import check_guider, check_poses, check_sampled_latent, check_views
from .hooks import SynCounts, SynHooks
from .posed_time import PosedTimeEmbedding, add_time_embedding, remove_time_embedding
from .views import ExoViews
from .weights import patch_weights, remove_weights

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


_UNCOND = 1  # in cond_or_uncond

_log = safe_logger(__name__)


def apply_exo2egosyn(
    model: ModelPatcher,
    components: SynComponents,
    views: ExoViews | None = None,
    plucker: PluckerMaps | None = None,
    lora_strength: float = 1.0,
    files: Iterable[str] = (),
) -> ModelPatcher:
    """Return a clone of a Wan 2.2 I2V MODEL with Exo2EgoSyn's components.

    Applied again, it replaces itself. It goes in any order with LoRA, shift, caches and torch.compile.

    Args:
        model: MODEL, the low-noise expert.
        components: what was loaded; none leaves the model as it is.
        views: exo videos, for MultiExoCon and VAWAN.
        plucker: the ego camera's path relative to exo camera 1, for PoseInj and VAWAN's camera conditioning.
        lora_strength: 1 as trained.
        files: names of the files that the model may have been loaded from.

    Raises:
        ValueError: for another model, a component of another size, or views or poses that a component needs and that
            are not there or do not fit it. Whether they fit the sampled latent is checked before the first step.
    """
    check_strength(lora_strength)
    network = require_wan22_i2v(model, files)
    components.check_fits(network.dim, len(network.blocks))
    check_views(components, views)
    check_poses(components, plucker)
    patched = model.clone()
    if (before := applied_exo2egosyn(patched)) is not None:
        remove_weights(patched, before.weights)
        remove_time_embedding(patched)
    weights = patch_weights(patched, components, lora_strength)
    exo = views.latents if views is not None and components.needs_views else None
    path = plucker if components.needs_poses else None
    maps, poses = (None, None) if path is None else (path.maps, path.poses)
    adapters = SideNetwork(partial(SynAdapters, components, exo, maps, poses))
    posed_time = None if adapters.own.pose_time is None else add_time_embedding(patched)
    syn = ExoToEgo(adapters, components, exo, maps, len(network.blocks), weights, posed_time)
    n_tokens = views.n_tokens if Component.MULTIEXOCON in components.parts else 0
    memory = TokenMemoryEstimate(n_tokens, network.dim, model, adapters.own.numbers_per_token())
    wrappers = {
        WrappersMP.OUTER_SAMPLE: syn.outer_sample,
        WrappersMP.PREPARE_SAMPLING: memory.prepare_sampling,
        WrappersMP.DIFFUSION_MODEL: syn,
    }
    set_wrappers(patched, SYN_KEY, wrappers)
    patched.add_object_patch("memory_required", memory.memory_required)
    patched.set_additional_models(SYN_KEY, [adapters.patcher(model)] if any(adapters.own.children()) else [])
    return patched


def applied_exo2egosyn(model: ModelPatcher) -> ExoToEgo | None:
    """Return Exo2EgoSyn's wrapper where it is applied to a MODEL."""
    return model_call_wrapper(model, SYN_KEY)


@dataclass
class SynRun:
    """What one sampling run needs; it travels in transformer_options.

    Attributes:
        frames: latent frames of the whole clip.
        counts: what the hooks met.
    """

    frames: int
    counts: SynCounts = field(default_factory=SynCounts)


class ExoToEgo:
    """The wrappers: one checks a sampling run, one gives every model call its exo tokens and poses.

    Attributes:
        weights: values of the weight patches that belong to this application.
    """

    def __init__(
        self,
        adapters: SideNetwork[SynAdapters],
        components: SynComponents,
        exo: Tensor | None,
        maps: Tensor | None,
        n_blocks: int,
        weights: tuple[Any, ...],
        posed_time: PosedTimeEmbedding | None = None,
    ) -> None:
        self._adapters = adapters
        self._components = components
        self._exo_shape = None if exo is None else tuple(exo.shape)
        self._maps_shape = None if maps is None else tuple(maps.shape)
        self._n_blocks = n_blocks
        self._posed_time = posed_time
        self.weights = weights
        self._told: set[str] = set()

    def outer_sample(
        self,
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None = None,
        callback: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """OUTER_SAMPLE wrapper: refuse what does not fit before anything is loaded, and predictions that are NaN."""
        guider = executor.class_obj
        joined = self._exo_shape if Component.VAWAN in self._components.parts else None
        check_sampled_latent(noise.shape, joined, self._maps_shape)
        self._check_gpus(guider.model_patcher)
        for note in check_guider(self._components, guider):
            if note not in self._told:
                self._told.add(note)
                _log.warning("%s", note)
        finite = FiniteSteps("Exo2EgoSyn", callback)
        with transformer_options_of_run(guider, **{SYN_KEY: SynRun(noise.shape[2])}):
            return finite.check(executor(noise, latent_image, sampler, sigmas, denoise_mask, finite, *args, **kwargs))

    # torch.compile traces what it calls, not this: counts would be a new guard at every call.
    @torch.compiler.disable(recursive=False)
    def __call__(self, executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """DIFFUSION_MODEL wrapper: run the model with the features of this call, whose input is [B, 36, T, h, w]."""
        call = ModelCall.of(executor, *args, **kwargs)
        call.refuse_appended_frames("Exo2EgoSyn")
        run = call.prepared(SYN_KEY, "Exo2EgoSyn")
        adapters = self._adapters.on(call.x.device)
        features = self._features(adapters, run, call.x, call.options)
        if features is None:
            return call.run(call.options)
        hooks = SynHooks(features, adapters.enter, self._n_blocks, run.counts)
        with self._posed(features, call.x):
            out = call.run(hooks.installed(call.options))
        hooks.check()
        self._check_time(run.counts)
        return out

    @torch.compiler.disable
    def _features(self, adapters: SynAdapters, run: SynRun, x: Tensor, options: dict) -> CallFeatures | None:
        if self._exo_shape is None and self._maps_shape is None:
            return None
        is_null = [kind == _UNCOND for kind in options["cond_or_uncond"]]
        window = window_frames(options)
        frames = None if window is None else list(window)
        with outside_replayed_graphs():  # they last for the whole call
            return adapters.features(x, is_null, self._frames_of_exo(frames, run), frames)

    def _posed(self, features: CallFeatures, x: Tensor) -> AbstractContextManager[None]:
        """Return a context in which the time embedding has the poses of a call."""
        if features.time is None:
            return nullcontext()
        return self._posed_time.adding(features.time, len(x), x.shape[3] * x.shape[4] // math.prod(WAN_PATCH))

    @torch.compiler.disable
    def _check_time(self, counts: SynCounts) -> None:
        if self._posed_time is not None and counts.calls == 1 and not self._posed_time.was_used:
            raise ValueError(
                "VAWAN with Time&Pose has no effect: another node computes Wan's time embedding on its own. Remove it "
                "from the MODEL."
            )

    def _check_gpus(self, model: ModelPatcher) -> None:
        if self._posed_time is not None and model.get_additional_models_with_key("multigpu"):
            raise ValueError(
                "VAWAN with Time&Pose changes Wan's time embedding on one GPU, and this MODEL is split between "
                "several: remove MultiGPU CFG Split."
            )

    def _frames_of_exo(self, frames: list[int] | None, run: SynRun) -> list[int] | None:
        """Return the exo frames that belong to a window: the same ones, or all where the clips differ in length."""
        return frames if self._exo_shape is not None and self._exo_shape[2] == run.frames else None
