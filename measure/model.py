"""Sections on the random Wan in ComfyUI: whole steps beside plain EgoX's, and peak memory beside the estimates."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..attention.choice import AUTO
from ..attention.layout import TokenLayout
from ..common.wan_grid import LATENT_CHANNELS, PATCH, WAN_BLOCKS, WAN_DIM
from . import memory, random_wan, stock
from .compare import Case, Row, compare, guarded
from .context import Context, LeftOutError, Watch, failure
from .kernels import names
from .problem import described
from .steps import Options, Steps

_OVERRIDE = "optimized_attention_override"
# Variants of stock attention that whole steps are timed with, beside torch's own choice.
_WHOLE = ("cudnn", stock.SAGE)


def start(context: Context) -> None:
    """Import ComfyUI.

    Raises:
        LeftOutError: if its folder is not known.
    """
    if context.comfyui is None:
        raise LeftOutError("ComfyUI's folder is not known: give it by --comfyui DIR")
    context.told("comfyui", random_wan.start(context.device, context.comfyui))


def release(device: torch.device) -> None:
    """Give back the memory of the random Wan and of what ComfyUI has loaded."""
    import comfy.model_management

    random_wan.model.cache_clear()
    comfy.model_management.unload_all_models()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def steps_of(context: Context, cfg: float) -> Steps:
    """Return the random Wan on a random clip of the plan's size."""
    plan = context.plan
    layout = TokenLayout(*plan.steps)
    return Steps(Options(layout, plan.blocks, plan.dim, plan.ffn, cfg, context.dtypes[0], context.device, plan.repeats))


@torch.inference_mode()
def whole_steps(context: Context, watch: Watch) -> Iterator[Row]:
    """Time one model call of one prompt: plain, with every back end, of the ego view alone, on stock variants."""
    start(context)
    steps = steps_of(context, cfg=1.0)

    def compared(baseline: Case, cases: list[Case]) -> Iterator[Row]:
        layout = TokenLayout(*context.plan.steps)
        repeats = context.plan.repeats
        for row in compare(layout.n_tokens, described(layout), baseline, cases, repeats, context.device, watch):
            yield _scaled(row, context)

    plain = _case("plain EgoX", steps, steps.with_egox)
    cases = [_case(f"GGA, {name}", steps, partial(steps.with_gga, name)) for name in (AUTO, *names())]
    cases.append(Case("ego view alone, GGA", lambda: partial(steps.run_second, _reusing(steps)), _no_error))
    yield from compared(plain, cases)
    variants = stock.variants(context.device)
    for name in [name for name in (_WHOLE if context.device.type == "cuda" else ("math",)) if name in variants]:
        own = stock.override(variants[name])
        baseline = _case(f"plain EgoX, {name}", steps, partial(_with_override, steps.with_egox, own))
        guided = [_case(f"GGA, {AUTO}, {name}", steps, partial(_with_gga_over, steps, own))]
        try:
            yield from compared(baseline, guided)
        except Exception as error:  # stock attention's kernels fail where a card lacks them
            layout = TokenLayout(*context.plan.steps)
            yield Row(layout.n_tokens, described(layout), baseline.name, empty=failure(error, context.device))


@torch.inference_mode()
def peak_memory(context: Context, watch: Watch) -> Iterator[Row]:
    """Measure the peak of a step beside its weights, for one and two prompts, and what ComfyUI plans with."""
    start(context)
    layout = TokenLayout(*context.plan.steps)
    for prompts in (1, 2):
        steps = steps_of(context, cfg=1.0 if prompts == 1 else 5.0)
        for name, made in {"plain EgoX": steps.with_egox, "GGA": partial(steps.with_gga, AUTO)}.items():
            case = f"{name}, {prompts} prompt{'s' * (prompts > 1)}"
            row = Row(layout.n_tokens, described(layout), case)
            measure = partial(_peak, row, steps, made, layout, prompts, context)
            yield guarded(row, measure, context.device, watch)


def _peak(row: Row, steps: Steps, made: Callable[[], Any], layout: TokenLayout, prompts: int, context: Context) -> Row:
    model = made()
    steps.run(model)  # what stays from run to run is not of this step
    taken = memory.taken(partial(steps.run, model), context.device)
    ego = [prompts, LATENT_CHANNELS, layout.frames, layout.rows * PATCH, layout.ego_columns * PATCH]
    estimates = {
        "ours": int(model.get_model_object("memory_required")(ego)),
        # The class's own, for ours stands in the loaded model's place.
        "ComfyUI's, of the ego latent alone": int(type(model.model).memory_required(model.model, ego)),
    }
    note = "" if prompts == 1 else "ComfyUI runs both prompts together only where it has room"
    return replace(row, extra_bytes=taken.peak, estimates=estimates, note=note)


def _case(name: str, steps: Steps, made: Callable[[], Any]) -> Case:
    return Case(name, lambda: partial(steps.run, made()), _no_error)


def _no_error(samples: Tensor) -> float:
    """Whole steps of random weights have no truth; that they are numbers is what can be told."""
    if not bool(samples.isfinite().all()):
        raise ValueError("the step gave numbers that are not finite")
    return 0.0


def _reusing(steps: Steps) -> Any:
    return steps.with_reuse(steps.with_gga(AUTO), "device")


def _with_override(made: Callable[[], Any], own: Callable[..., Tensor]) -> Any:
    model = made()
    model.model_options["transformer_options"][_OVERRIDE] = own
    return model


def _with_gga_over(steps: Steps, own: Callable[..., Tensor]) -> Any:
    return _with_override(partial(steps.with_gga, AUTO), own)


def _scaled(row: Row, context: Context) -> Row:
    """Return a row's time as of all blocks, and say so."""
    row = replace(row, error=None)
    blocks = context.plan.blocks
    if row.seconds is None or context.plan.dim != WAN_DIM or blocks == WAN_BLOCKS:
        return row
    note = f"{blocks} of {WAN_BLOCKS} blocks were timed, {row.seconds:.3f} s; the time is scaled up"
    return replace(row, seconds=row.seconds * WAN_BLOCKS / blocks, note=note)
