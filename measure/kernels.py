"""Sections on attention alone: correctness against float64, time beside stock attention, both passes, tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..attention.backends import triton
from ..attention.backends.triton_tiles import capability_of, remember, tile_of_capability
from ..attention.choice import BACKENDS
from ..attention.guided_attention import PlainAttention, gga_attention
from ..attention.layout import TokenLayout
from . import attention, stock, tiles
from .compare import Case, Row, Run, compare, guarded
from .context import Context, LeftOutError, Watch
from .problem import Problem, described

# Heads whose results are compared with float64: a consumer card computes that 64 times slower than float32.
_CHECKED_HEADS = 2
_BOUNDS = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-2}


def names() -> list[str]:
    """Return the back ends that are measured: all but the oracle, whose memory is quadratic."""
    return [name for name in BACKENDS if name != "reference"]


def correctness(context: Context, watch: Watch) -> Iterator[Row]:
    """Hold result and gradients of every back end against float64, plain attention's error beside them."""
    layout = TokenLayout(*context.plan.correctness)
    for dtype in context.dtypes:
        told = str(dtype).removeprefix("torch.")
        problem = Problem(layout, _CHECKED_HEADS, context.plan.head_dim, 1, dtype, context.device)
        random = torch.Generator(context.device).manual_seed(3)
        grad = torch.randn(problem.q.shape, generator=random, device=context.device).to(dtype)
        for name in ("plain", *names()):
            for passes in ("forward", "backward"):
                case = f"{name}, {passes}, {told}"
                blank = Row(layout.n_tokens, described(layout), case)
                bound = _BOUNDS[dtype] if name == "plain" else max(_BOUNDS[dtype], BACKENDS[name].error)
                measure = partial(_checked, blank, problem, grad, name, passes == "backward", bound)
                yield guarded(blank, measure, context.device, watch)


def _checked(blank: Row, problem: Problem, grad: Tensor, name: str, backward: bool, bound: float) -> Row:
    for tensor in (problem.q, problem.k, problem.v):
        tensor.requires_grad_(backward)  # torch compiles FlexAttention for CPUs only where nobody wants a gradient
    with torch.set_grad_enabled(backward):
        call = problem.call()
        if name != "plain" and (reason := BACKENDS[name].unsupported(call)) is not None:
            return replace(blank, empty=reason)
        if backward:
            run = attention.both_passes(problem, grad, None if name == "plain" else name)
            error = attention.error_of_gradients(problem, grad, [0], name != "plain", run()[0])
        else:
            inputs = call.q, call.k, call.v
            plain = partial(problem.plain, *inputs, problem.heads)
            out = plain() if name == "plain" else gga_attention(call, problem.plain, name)
            error = problem.error(out, biased=name != "plain")
    verdict = "within" if error <= bound else "BEYOND"
    return replace(blank, error=error, note=f"{verdict} its bound of {bound:g}")


def alone(context: Context, watch: Watch) -> Iterator[Row]:
    """Time attention: stock variants, every back end beside stock attention, the best one beside each variant."""
    plan, device = context.plan, context.device
    layout = TokenLayout(*plan.attention)
    with torch.no_grad():
        problem = Problem(layout, plan.heads, plan.head_dim, 1, context.dtypes[0], device)
        plains = stock.variants(device)
        others = [name for name in plains if name != stock.DEFAULT]
        cases = [_gga_case(problem, name, stock.DEFAULT, stock.attend) for name in names()]
        cases += [_plain_case(problem, name, plains[name]) for name in others]
        rows = _compared(problem, _plain_case(problem, stock.DEFAULT, stock.attend), cases, context, watch)
        yield from rows
        best = next((row.case.partition(",")[0] for row in rows[1:] if row.ratio is not None), None)
        measured = {row.case for row in rows if row.ratio is not None}
        for name in others:
            if best is not None and f"plain, {name}" in measured:
                guided = [_gga_case(problem, best, name, plains[name])]
                yield from _compared(problem, _plain_case(problem, name, plains[name]), guided, context, watch)[1:]


def gradients(context: Context, watch: Watch) -> Iterator[Row]:
    """Time the forward and backward pass of a training."""
    plan = context.plan
    what = attention.Options(
        *(plan.heads, plan.head_dim, 1, context.dtypes[0], context.device, plan.repeats), watch=watch
    )
    for row in attention.gradient_rows_of(TokenLayout(*plan.gradients), what):
        yield replace(row, case=f"{row.case}, both passes", against="plain, both passes")


def best_tile(context: Context, watch: Watch) -> Iterator[Row]:
    """Time tiles of the kernel beside plain attention of the ego queries."""
    plan = context.plan
    layout = TokenLayout(*plan.attention)
    what = attention.Options(*(plan.heads, plan.head_dim, 1, context.dtypes[0], context.device, 3), watch=watch)
    with torch.no_grad():
        reason = triton.unsupported(what.problem(layout).call())
        if reason is not None:
            raise LeftOutError(reason)
        own = tile_of_capability(capability_of(context.device), plan.head_dim)
        rows = tiles.rows_of(layout, list(dict.fromkeys((str(own), *tiles.WORTH_TRYING))), what)
        yield from rows
        if better := better_tile(rows, str(own)):
            path = remember(context.device, plan.head_dim, tiles.tile_of(better.case))
            yield replace(better, case=f"{better.case}, kept", note=f"taken from now on: {path}")


def better_tile(rows: Sequence[Row], own: str) -> Row | None:
    """Return the fastest tile where it is faster than the table's own in every pair, else None."""
    measured = {row.case: row for row in rows[1:] if row.ratio is not None}
    if not measured:
        return None
    fastest = min(measured.values(), key=lambda row: row.ratio or 0.0)
    if own in measured and (fastest.ratio_high or 0.0) >= (measured[own].ratio_low or 0.0):
        return None
    return fastest


def _compared(problem: Problem, plain: Case, cases: list[Case], context: Context, watch: Watch) -> list[Row]:
    layout = problem.layout
    repeats = context.plan.repeats
    return compare(layout.n_tokens, described(layout), plain, cases, repeats, context.device, watch)


def _plain_case(problem: Problem, name: str, plain: PlainAttention) -> Case:
    def prepare() -> Run:
        return problem.timed(partial(plain, problem.q, problem.k, problem.v, problem.heads))

    return Case(f"plain, {name}", prepare, partial(problem.error, biased=False))


def _gga_case(problem: Problem, backend: str, variant: str, plain: PlainAttention) -> Case:
    def prepare() -> Run:
        return problem.timed(partial(gga_attention, problem.call(), plain, backend))

    reason = BACKENDS[backend].unsupported(problem.call())
    beside = "" if variant == stock.DEFAULT else f", exo queries by {variant}"
    return Case(f"{backend}{beside}", prepare, partial(problem.error, biased=True), reason or "")
