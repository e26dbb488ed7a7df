"""Geometry-guided self-attention (paper, Sec. 3.3) as a MODEL patch.

When sampling starts, the latent sizes are known and the directions are computed, once. Every model call then hooks the
self-attention of the chosen blocks for the chosen part of the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.bias import GGABias
from ...attention.choice import requested
from ...attention.directions import TokenDirections
from ...attention.layout import TokenLayout
from ...common.safe_text import safe_logger
from ..shared.base_model import require_wan21_i2v
from ..shared.progress import progress_bar
from ..shared.replayed_graphs import outside_replayed_graphs
from ..shared.wrappers import (
    GGA_KEY,
    ModelCall,
    model_call_wrapper,
    set_wrappers,
    transformer_options_of_run,
    window_frames,
)
from .apply import applied_egox
from .gga_hooks import GGAHooks, HookCounts
from .gga_settings import DirectionSource, GGASettings, Guidance
from .match import Match

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_log = safe_logger(__name__)


def apply_gga(model: ModelPatcher, geometry: DirectionSource, settings: GGASettings | None = None) -> ModelPatcher:
    """Return a clone of a Wan 2.1 I2V MODEL with geometry-guided self-attention, whatever the run's `Match`.

    Args:
        model: MODEL.
        geometry: of the clip that is sampled.
        settings: defaults to the release's inference.

    Raises:
        ValueError: see `apply_matched_gga`.
    """
    return apply_matched_gga(model, dict.fromkeys(Match, Guidance(geometry, settings or GGASettings())))


def apply_matched_gga(
    model: ModelPatcher,
    guidance: Mapping[Match, Guidance],
    report: Callable[[str], None] | None = None,
) -> ModelPatcher:
    """Return a clone of a Wan 2.1 I2V MODEL with geometry-guided self-attention, as the exo view's `Match` says.

    EgoX must be applied to the same MODEL, before or after. Applied again, GGA replaces itself.

    Args:
        model: MODEL.
        guidance: what guides the runs of every `Match`.
        report: called with what is in force when sampling starts.

    Raises:
        ValueError: for another model or blocks that it lacks. Missing EgoX and directions that do not fit are reported
            before the first step.
    """
    network = require_wan21_i2v(model)
    for match in Match:
        guidance[match].settings.blocks(len(network.blocks))
    gga = GeometryGuidance(guidance, len(network.blocks), report)
    patched = model.clone()
    set_wrappers(patched, GGA_KEY, {WrappersMP.OUTER_SAMPLE: gga.outer_sample, WrappersMP.DIFFUSION_MODEL: gga})
    return patched


def without_gga(model: ModelPatcher) -> ModelPatcher:
    """Return a clone of a MODEL without GGA (the paper's ablation "w/o GGA", section 4.4, but of inference alone)."""
    patched = model.clone()
    for kind in (WrappersMP.OUTER_SAMPLE, WrappersMP.DIFFUSION_MODEL):
        patched.remove_wrappers_with_key(kind, GGA_KEY)
    return patched


def applied_gga(model: ModelPatcher) -> GeometryGuidance | None:
    """Return GGA's wrapper where it is applied to a MODEL."""
    return model_call_wrapper(model, GGA_KEY)


@dataclass
class GGARun:
    """What one sampling run needs; it travels in transformer_options.

    Attributes:
        directions: of the whole clip, on the CPU.
        bias: what GGA adds.
        blocks: where GGA acts.
        backend: who computes the attention of the ego queries.
        start_sigma, end_sigma: noise levels between which GGA acts.
        counts: what the hooks met.
    """

    directions: TokenDirections
    bias: GGABias
    blocks: range
    backend: str
    start_sigma: float
    end_sigma: float
    counts: HookCounts = field(default_factory=HookCounts)
    _on_device: dict[torch.device, TokenDirections] = field(default_factory=dict)

    def is_active(self, sigmas: Tensor) -> bool:
        """Whether GGA acts at a noise level."""
        return self.end_sigma <= float(sigmas[0]) <= self.start_sigma

    def directions_on(self, device: torch.device) -> TokenDirections:
        """Return the directions on a device, copied there once a run."""
        if device not in self._on_device:
            self._on_device[device] = self.directions.to(device)
        return self._on_device[device]


class GeometryGuidance:
    """The wrappers of GGA: one prepares a sampling run, one hooks every model call.

    Args:
        guidance: what guides the runs of every `Match`.
        block_count: of the model.
        report: called with what is in force when sampling starts.
    """

    def __init__(
        self, guidance: Mapping[Match, Guidance], block_count: int, report: Callable[[str], None] | None = None
    ) -> None:
        self.guidance = guidance
        self._block_count = block_count
        self._report = report
        self._computed: dict[tuple[Match, TokenLayout], TokenDirections] = {}

    def outer_sample(self, executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Any:
        """OUTER_SAMPLE wrapper: compute directions and noise levels before anything is loaded."""
        guider = executor.class_obj
        run = self._prepare(guider.model_patcher, noise)
        with transformer_options_of_run(guider, **{GGA_KEY: run}):
            samples = executor(noise, *args, **kwargs)
        run.counts.warn_of_no_effect()
        return samples

    # torch.compile traces what it calls, not this: counts would be a new guard at every call.
    @torch.compiler.disable(recursive=False)
    def __call__(self, executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """DIFFUSION_MODEL wrapper: run the model with hooked self-attention."""
        call = ModelCall.of(executor, *args, **kwargs)
        run = call.prepared(GGA_KEY, "GGA")
        counts = HookCounts()
        out = call.run(self._hooked(run, counts, call.x.device, call.options))
        run.counts.add(counts)
        return out

    @torch.compiler.disable
    def _hooked(self, run: GGARun, counts: HookCounts, device: torch.device, options: dict) -> dict:
        if not run.is_active(options["sigmas"]):
            return options
        window = window_frames(options)
        with outside_replayed_graphs():
            directions = run.directions_on(device)
            if window is not None:
                directions = directions.frames(window)
        return GGAHooks(directions, run.bias, run.blocks, counts, run.backend).installed(options)

    def _prepare(self, model: ModelPatcher, noise: Tensor) -> GGARun:
        egox = applied_egox(model)
        if egox is None:
            raise ValueError(
                "GGA guides the attention from the ego to the exo view, but no exo view is applied to this model: put "
                "EgoX Apply before or after GGA on the same MODEL."
            )
        if not egox.is_one_clip:
            raise ValueError(
                "GGA has the cameras and the depth of one clip, but the exo latent holds a batch of different clips: "
                "sample them one after the other, each with its own GGA."
            )
        match = egox.settings.match
        guidance = self.guidance[match]
        settings = guidance.settings
        requested(settings.backend)  # a wrong name in the environment is told now, not in the first step
        layout = egox.layout(noise.shape)
        if (match, layout) not in self._computed:
            found = guidance.geometry.directions(layout, progress_bar())
            directions = TokenDirections(found.ego_queries, found.exo_keys)
            directions.check(layout)
            self._computed = {(match, layout): directions}
        self._tell(guidance.text)
        sampling = model.get_model_object("model_sampling")
        start, end = settings.start_percent, settings.end_percent
        return GGARun(
            self._computed[match, layout],
            GGABias(settings.form, settings.strength),
            settings.blocks(self._block_count),
            settings.backend,
            start_sigma=math.inf if start <= 0.0 else float(sampling.percent_to_sigma(start)),
            end_sigma=float(sampling.percent_to_sigma(end)),
        )

    def _tell(self, text: str) -> None:
        if not text:
            return
        _log.info("GGA: %s", text)
        if self._report is not None:
            self._report(text)
