"""Geometry-guided self-attention (paper, Sec. 3.3) as a MODEL patch.

When sampling starts, the latent sizes are known and the directions are computed, once. Every model call then hooks the
self-attention of the chosen blocks for the chosen part of the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..attention.backends import Backend, requested
from ..attention.bias import RELEASE_STRENGTH, GGABias, GGAForm
from ..attention.directions import TokenDirections
from ..attention.layout import TokenLayout
from .base_model import require_wan21_i2v
from .egox_patch import applied_egox
from .gga_hooks import GGAHooks, HookCounts
from .guider_options import transformer_options_of_run
from .joined_tokens import window_frames

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

GGA_KEY = "exo2ego_gga"


class DirectionSource(Protocol):
    """Computes the directions of a token layout."""

    def __call__(self, layout: TokenLayout) -> tuple[Tensor, Tensor]:
        """Return ego queries [T, rows, ego columns, 3] and exo keys [query T, key T, rows, exo columns, 3].

        A zero vector is a missing direction. ValueError if the clip does not have the layout's frames.
        """
        ...


@dataclass(frozen=True)
class GGASettings:
    """Where and how strongly GGA acts.

    Attributes:
        form: the paper's formula or the released one.
        strength: lambda; the inference scripts of the release use 3.0, its training 1.0.
        start_percent, end_percent: part of the schedule, as for ControlNet.
        first_block, last_block: transformer blocks, both included; -1 is the last one.
        backend: who computes the attention of the ego queries.
    """

    form: GGAForm = GGAForm.RELEASE
    strength: float = RELEASE_STRENGTH
    start_percent: float = 0.0
    end_percent: float = 1.0
    first_block: int = 0
    last_block: int = -1
    backend: Backend = Backend.AUTO

    def __post_init__(self) -> None:
        GGABias(self.form, self.strength)
        if not 0.0 <= self.start_percent <= self.end_percent <= 1.0:
            raise ValueError(
                f"GGA acts from start_percent to end_percent, 0 <= start <= end <= 1, got {self.start_percent} and "
                f"{self.end_percent}."
            )

    def blocks(self, count: int) -> range:
        """Return the chosen blocks of a model with `count` blocks; see `block_range`."""
        return block_range(self.first_block, self.last_block, count)


def block_range(first: int, last: int, count: int) -> range:
    """Return the blocks from `first` to `last`, both included, of a model with `count`; -1 is the last one.

    Raises:
        ValueError: if that is none.
    """
    end = count - 1 if last < 0 else min(last, count - 1)
    if not 0 <= first <= end:
        raise ValueError(
            f"The blocks {first} to {last} are none of the model's 0 to {count - 1}: choose first_block <= last_block "
            "(-1 is the last one)."
        )
    return range(first, end + 1)


def apply_gga(model: ModelPatcher, source: DirectionSource, settings: GGASettings | None = None) -> ModelPatcher:
    """Return a clone of a Wan 2.1 I2V MODEL with geometry-guided self-attention.

    EgoX must be applied to the same MODEL, before or after. Applied again, GGA replaces itself.

    Args:
        model: MODEL.
        source: gives the directions once the latent sizes are known.
        settings: defaults to the release's inference.

    Raises:
        ValueError: for another model or blocks that it lacks. Missing EgoX and directions that do not fit are reported
            before the first step.
    """
    network = require_wan21_i2v(model)
    settings = settings or GGASettings()
    gga = GeometryGuidance(source, settings, settings.blocks(len(network.blocks)))
    patched = model.clone()
    for kind, wrapper in ((WrappersMP.OUTER_SAMPLE, gga.outer_sample), (WrappersMP.DIFFUSION_MODEL, gga)):
        patched.remove_wrappers_with_key(kind, GGA_KEY)
        patched.add_wrapper_with_key(kind, GGA_KEY, wrapper)
    return patched


@dataclass
class GGARun:
    """What one sampling run needs; it travels in transformer_options.

    Attributes:
        directions: of the whole clip, on the CPU.
        bias: what GGA adds.
        blocks: where GGA acts.
        start_sigma, end_sigma: noise levels between which GGA acts.
        counts: what the hooks met.
    """

    directions: TokenDirections
    bias: GGABias
    blocks: range
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
    """The wrappers of GGA: one prepares a sampling run, one hooks every model call."""

    def __init__(self, source: DirectionSource, settings: GGASettings, blocks: range) -> None:
        self._source = source
        self._settings = settings
        self._blocks = blocks
        self._bias = GGABias(settings.form, settings.strength)
        self._computed: dict[TokenLayout, TokenDirections] = {}

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
    def __call__(
        self,
        executor: Callable[..., Tensor],
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None = None,
        time_dim_concat: Tensor | None = None,
        transformer_options: dict | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """DIFFUSION_MODEL wrapper: run the model with hooked self-attention."""
        run = self._run_of(transformer_options or {})
        options = self._hooked(run, x.device, transformer_options)
        out = executor(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)
        run.counts.warn_of_missed_blocks()
        return out

    @torch.compiler.disable
    def _hooked(self, run: GGARun, device: torch.device, options: dict) -> dict:
        if not run.is_active(options["sigmas"]):
            return options
        window = window_frames(options)
        directions = run.directions_on(device)
        if window is not None:
            directions = directions.frames(window)
        return GGAHooks(directions, run.bias, run.blocks, run.counts, self._settings.backend).installed(options)

    @staticmethod
    @torch.compiler.disable
    def _run_of(options: dict) -> GGARun:
        if GGA_KEY not in options:
            raise ValueError(
                "GGA was not prepared: this sampler bypasses ComfyUI's guider (OUTER_SAMPLE). Use KSampler or "
                "SamplerCustomAdvanced."
            )
        return options[GGA_KEY]

    def _prepare(self, model: ModelPatcher, noise: Tensor) -> GGARun:
        requested(self._settings.backend)  # a wrong name in the environment is told now, not in the first step
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
        layout = egox.layout(noise.shape)
        if layout not in self._computed:
            directions = TokenDirections(*self._source(layout))
            directions.check(layout)
            self._computed = {layout: directions}
        sampling = model.get_model_object("model_sampling")
        start, end = self._settings.start_percent, self._settings.end_percent
        return GGARun(
            self._computed[layout],
            self._bias,
            self._blocks,
            start_sigma=math.inf if start <= 0.0 else float(sampling.percent_to_sigma(start)),
            end_sigma=float(sampling.percent_to_sigma(end)),
        )
