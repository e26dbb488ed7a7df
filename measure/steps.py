"""Whole denoising steps of Wan 2.1 I2V under the pack's own patches: with and without GGA, and of the ego view alone.

A step of the ego view alone (Exo Reuse) comes after a full one, whose exo keys and values it takes; it is timed by
itself, beside a full step that runs just before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..attention.backends.reference import dense_bias
from ..attention.bias import GGABias
from ..attention.choice import AUTO
from ..attention.directions import TokenDirections
from ..attention.layout import TokenLayout
from ..geometry.directions.directions import GGADirections
from . import memory, paired, problem, random_wan
from .attention import DENSE, bytes_of_dense_bias
from .compare import Case, Row, compare


@dataclass(frozen=True)
class Options:
    """The model, the clip and how to measure."""

    layout: TokenLayout
    layers: int
    dim: int
    ffn: int
    cfg: float
    dtype: torch.dtype
    device: torch.device
    repeats: int


def rows_of(options: Options) -> list[Row]:
    """Measure every case.

    The error is the largest difference from the step with GGA on `sdpa`, relative to the largest value; that of the
    plain step says what GGA does. That of a step of the ego view alone is its difference from the same step in full.

    Raises:
        SystemExit: if the model does not fit.
    """
    # Self-attention has 4 square matrices a block, cross-attention to text and image 6.
    weights = options.layers * options.dim * (10 * options.dim + 2 * options.ffn) * options.dtype.itemsize
    if reason := memory.lacking(weights, options.device):
        raise SystemExit(f"The model does not fit ({reason}): choose smaller --layers, --dim or --ffn.")
    steps = Steps(options)
    expected = steps.run(steps.with_gga("sdpa"))[0]

    def difference(samples: Tensor) -> float:
        return float((samples - expected).abs().max() / expected.abs().max())

    def alone(name: str, full: Callable[[], Any], keep: str) -> Case:
        def error(samples: Tensor) -> float:
            wanted = steps.run_second(full())[0]
            return float((samples - wanted).abs().max() / wanted.abs().max())

        return Case(f"ego, {name}", lambda: partial(steps.run_second, steps.with_reuse(full(), keep)), error)

    too_large = memory.lacking(bytes_of_dense_bias(options.layout, options.dtype), options.device)
    plain = Case("plain EgoX", lambda: partial(steps.run, steps.with_egox()), difference)
    cases = [
        Case("GGA, auto", lambda: partial(steps.run, steps.with_gga(AUTO)), difference),
        Case("GGA, sdpa", lambda: partial(steps.run, steps.with_gga("sdpa")), difference),
        Case(DENSE, lambda: partial(steps.run, steps.with_dense_bias()), difference, too_large),
        alone("plain", steps.with_egox, "device"),
        alone("GGA", partial(steps.with_gga, AUTO), "device"),
        alone("GGA, fp8", partial(steps.with_gga, AUTO), "device fp8"),
        alone("GGA, host", partial(steps.with_gga, AUTO), "host"),
    ]
    layout = options.layout
    return compare(layout.n_tokens, problem.described(layout), plain, cases, options.repeats, options.device)


@dataclass(frozen=True)
class KnownDirections:
    """Directions that are known already, in the place of a clip's geometry."""

    ego_queries: Tensor
    exo_keys: Tensor

    def directions(self, grid: TokenLayout, progress: Callable[[int, int], None] | None = None) -> GGADirections:
        """Return them, whatever the grid."""
        return GGADirections(self.ego_queries, self.exo_keys)


class Steps:
    """Steps of one model on one clip, each a run of ComfyUI's sampler with one step of euler."""

    def __init__(self, options: Options) -> None:
        import comfy.samplers

        self._options = options
        self._clip = random_wan.Clip.random(options.layout)
        self._model = random_wan.model(options.layers, options.dim, options.ffn, options.dtype, options.device)
        sampling = self._model.get_model_object("model_sampling")
        self._sigmas, self._two = (comfy.samplers.calculate_sigmas(sampling, "simple", steps) for steps in (1, 2))
        self._directions = problem.random_directions(options.layout)

    def with_egox(self) -> Any:
        """Return the MODEL with the exo view and without GGA."""
        from ..wan.egox.apply import apply_egox

        return apply_egox(self._model, self._clip.exo)

    def with_gga(self, backend: str) -> Any:
        """Return the MODEL with GGA, as the node makes it."""
        from ..wan.egox.gga import GGASettings, apply_gga

        return apply_gga(self.with_egox(), KnownDirections(*self._directions), GGASettings(backend=backend))

    def with_dense_bias(self) -> Any:
        """Return the MODEL with one [L, L] bias as the mask of every self-attention, made here, once."""
        layout, device = self._options.layout, self._options.device
        directions = TokenDirections(*(part.to(device) for part in self._directions))
        mask = dense_bias(layout, directions, GGABias()).to(self._options.dtype)

        def masked(function: Callable[..., Tensor], q: Tensor, k: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if q.shape[1] == k.shape[1] == layout.n_tokens:
                kwargs["mask"] = mask
            return function(q, k, *args, **kwargs)

        model = self.with_egox()
        model.model_options["transformer_options"]["optimized_attention_override"] = masked
        return model

    def with_reuse(self, model: Any, keep: str) -> Any:
        """Return a MODEL that runs every second step for the ego view alone."""
        from ..wan.reuse.apply import apply_reuse
        from ..wan.reuse.plan import Keep, ReuseSettings

        return apply_reuse(model, ReuseSettings(2, Keep(keep)))

    def run(self, model: Any) -> tuple[Tensor, paired.Lap]:
        """Sample with one step; the lap is that of the step, without ComfyUI's work before and after it."""
        return self._sampled(model, self._sigmas)

    def run_second(self, model: Any) -> tuple[Tensor, paired.Lap]:
        """Sample with two steps; the lap is that of the second."""
        return self._sampled(model, self._two)

    def _sampled(self, model: Any, sigmas: Tensor) -> tuple[Tensor, paired.Lap]:
        import comfy.sample
        import comfy.samplers
        from comfy.k_diffusion.sampling import sample_euler

        laps: list[paired.Lap] = []

        def timed_euler(network: Any, x: Tensor, sigmas: Tensor, **kwargs: Any) -> Tensor:
            for first in range(len(sigmas) - 1):
                step = partial(sample_euler, network, x, sigmas[first : first + 2], **kwargs)
                x, lap = paired.timed(step, self._options.device)
                laps.append(lap)
            return x

        clip, sampler = self._clip, comfy.samplers.KSAMPLER(timed_euler)
        samples = comfy.sample.sample_custom(
            *(model, clip.noise, self._options.cfg, sampler, sigmas, clip.positive, clip.negative),
            torch.zeros_like(clip.noise),
            disable_pbar=True,
            seed=0,
        )
        return samples, laps[-1]
