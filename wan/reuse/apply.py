"""Exo reuse as a MODEL patch: of every so many steps one runs in full, the others compute the ego tokens alone.

The exo half of EgoX's input is clean at every step; only its timestep changes, and what it sees of the ego view. A full
step keeps the exo tokens' keys and values of every block, for each branch of CFG and each window of a long clip. The
steps after it take the ego tokens through the blocks, self-attention's queries, cross-attention and feed-forward, and
let them attend to the kept exo keys: at EgoX's size 36 % of the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.layout import TokenLayout
from ...common.safe_text import safe_logger
from ...common.wan_grid import PATCH
from ..egox.apply import ExoBesideEgo, applied_egox
from ..shared.base_model import require_wan21_i2v
from ..shared.memory import KeptMemoryEstimate
from ..shared.steps_of_run import StepsOfRun
from ..shared.wrappers import (
    REUSE_KEY,
    ModelCall,
    remove_wrappers,
    set_wrappers,
    transformer_options_of_run,
    window_frames,
)
from .hooks import EgoAlone, FullStep
from .kept import Branch, KeptTensors
from .plan import Plan, ReuseSettings, branches_of, planned
from .schedule import serves

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_log = safe_logger(__name__)


def apply_reuse(
    model: ModelPatcher, settings: ReuseSettings, report: Callable[[str], None] | None = None
) -> ModelPatcher:
    """Return a clone of a Wan 2.1 I2V MODEL that reuses the exo view of EgoX; as it is where every step runs in full.

    It goes in any order with EgoX, GGA, LoRA and long clips. Applied again, it replaces itself.

    Args:
        model: MODEL.
        settings: how.
        report: called with the plan when sampling starts.

    Raises:
        ValueError: for another model. Missing EgoX and what it cannot run beside are reported before the first step.
    """
    network = require_wan21_i2v(model)
    patched = model.clone()
    remove_wrappers(patched, REUSE_KEY)
    if settings.every == 1:
        return patched
    reuse = ExoReuse(settings, len(network.blocks), report)
    memory = KeptMemoryEstimate(reuse.outstanding_bytes, model.get_model_object("memory_required"))
    wrappers = {
        WrappersMP.OUTER_SAMPLE: reuse.outer_sample,
        WrappersMP.PREPARE_SAMPLING: memory.prepare_sampling,
        WrappersMP.DIFFUSION_MODEL: reuse,
    }
    set_wrappers(patched, REUSE_KEY, wrappers)
    patched.add_object_patch("memory_required", memory.memory_required)
    return patched


@dataclass
class ReuseRun:
    """One sampling run; it travels in transformer_options.

    Attributes:
        plan: what it keeps.
        steps: of its schedule.
        exo_columns: token columns of the exo view.
        kept: what it has kept so far.
        full, alone: model calls so far that ran in full, and for the ego tokens alone.
        incomplete: of the full ones, those in which not every block's self-attention was met.
    """

    plan: Plan
    steps: StepsOfRun
    exo_columns: int
    kept: KeptTensors
    full: int = 0
    alone: int = 0
    incomplete: int = field(default=0)

    def describe(self) -> str:
        """Return what it did."""
        return f"{self.full} model calls in full, {self.alone} of the ego view alone"


class ExoReuse:
    """The wrappers of a MODEL with exo reuse.

    Args:
        settings: how.
        n_blocks: of the model.
        report: called with the plan when sampling starts.
    """

    def __init__(self, settings: ReuseSettings, n_blocks: int, report: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self._n_blocks = n_blocks
        self._report = report
        self._run: ReuseRun | None = None

    def outstanding_bytes(self) -> int:
        """Return what the current run will keep on the device and does not hold yet; 0 between runs."""
        run = self._run
        return 0 if run is None else max(0, run.plan.device_bytes - run.kept.device_bytes)

    def outer_sample(
        self,
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """OUTER_SAMPLE wrapper: plan before anything is loaded; let go of everything at the end, however it comes."""
        guider = executor.class_obj
        run = self._run = self._prepared(guider, noise, sigmas)
        wrappers = _with_estimate_innermost(guider.model_options["transformer_options"]["wrappers"])
        try:
            with transformer_options_of_run(guider, **{REUSE_KEY: run, "wrappers": wrappers}):
                samples = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
        finally:
            self._run = None
            run.kept.free()
        self._tell_end(run)
        return samples

    # torch.compile traces what it calls, not this.
    @torch.compiler.disable(recursive=False)
    def __call__(self, executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """DIFFUSION_MODEL wrapper: run the model in full, or on the ego tokens alone."""
        call = ModelCall.of(executor, *args, **kwargs)
        run: ReuseRun = call.prepared(REUSE_KEY, "Exo Reuse")
        step = run.steps.at(float(call.options["sigmas"][0]))
        branches = [run.kept.branch(branch) for branch in _branches(call)]
        device = call.x.device
        if all(branch.device == device and serves(branch.step, step, self.settings.every) for branch in branches):
            hooks = EgoAlone(run.kept, branches, self._n_blocks, _layout(call.x, run.exo_columns))
            out = call.run(hooks.installed(call.options))
            run.alone += 1
            return out
        full = FullStep(run.kept, branches, self._n_blocks)
        out = call.run(full.installed(call.options))
        run.full += 1
        run.incomplete += not full.ended(step)
        return out

    def _prepared(self, guider: Any, noise: Tensor, sigmas: Tensor) -> ReuseRun:
        model = guider.model_patcher
        egox = _checked(applied_egox(model), guider.model_options)
        plan = planned(model, self.settings, egox.layout, noise.shape, branches_of(guider))
        text = plan.describe()
        _log.info("Exo Reuse: %s", text)
        if self._report is not None:
            self._report(text)
        exo_columns = egox.layout(noise.shape).exo_columns
        return ReuseRun(plan, StepsOfRun(sigmas.tolist()), exo_columns, KeptTensors(plan.keep))

    def _tell_end(self, run: ReuseRun) -> None:
        _log.info("Exo Reuse: %s.", run.describe())
        if run.full and run.incomplete == run.full:
            _log.warning(
                "Exo Reuse had no effect: another node replaces Wan's self-attention or skips blocks, and bypasses "
                "ComfyUI's attention override. Remove it to have Exo Reuse."
            )


def _checked(egox: ExoBesideEgo | None, model_options: dict) -> ExoBesideEgo:
    if egox is None:
        raise ValueError(
            "Exo Reuse keeps what the model makes of the exo view, but no exo view is applied to this model: put EgoX "
            "Apply before or after Exo Reuse on the same MODEL."
        )
    if egox.settings.noisy:
        raise ValueError(
            "Exo Reuse takes an exo latent that is clean at every step, but EgoX Apply adds noise to it (ablation): "
            "choose the clean latent, or set every to 1 (off)."
        )
    if model_options.get("context_handler") is not None:
        raise ValueError(
            "Exo Reuse keeps keys and values for every window, and those of ComfyUI's own context windows may move at "
            "each step: use Long Clip instead, whose windows stay, or set every to 1 (off)."
        )
    return egox


def _branches(call: ModelCall) -> list[Branch]:
    """Return what the call's batch is joined of."""
    window = window_frames(call.options)
    conditions = call.options.get("uuids") or call.options.get("cond_or_uncond") or [None]
    return [(condition, window) for condition in conditions]


def _layout(x: Tensor, exo_columns: int) -> TokenLayout:
    frames, height, width = x.shape[2:]
    return TokenLayout(frames, height // PATCH, exo_columns, width // PATCH)


def _with_estimate_innermost(wrappers: dict[str, dict]) -> dict[str, dict]:
    """Return wrappers in an order in which the estimate's bytes come behind all that changes the latent's shape."""
    estimates = dict(wrappers[WrappersMP.PREPARE_SAMPLING])
    estimates[REUSE_KEY] = estimates.pop(REUSE_KEY)
    return {**wrappers, WrappersMP.PREPARE_SAMPLING: estimates}
