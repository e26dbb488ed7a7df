"""ComfyUI's euler, uni_pc and uni_pc_bh2 on a flow, written out in plain torch for the witnesses.

They share no code with the pack or with ComfyUI. UniPC (Zhao et al. 2023, arXiv 2302.04867) is not written as its
authors' matrices but as what these stand for: the flow x = (1 - s) x0 + s noise obeys dx/ds = (x - x0) / s, so from
noise level s to t, with l = -log s and h = l(t) - l(s),

    x(t) = t / s x(s) + integral of exp(l - l(t)) x0(l) dl

and a step of order p integrates the polynomial through p predictions of x0. The published exceptions are B(h)'s only
effect: the predictor of order 2 and the corrector of order 1 weigh a difference by B(h) / 2, with B(h) = -h in the
variant bh1 (ComfyUI's uni_pc) and exp(-h) - 1 in bh2 (uni_pc_bh2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

# (x [B, ...], noise level []) -> velocity [B, ...]
Velocity = Callable[[Tensor, Tensor], Tensor]

HIGHEST_ORDER = 3  # ComfyUI's UniPC; the published EgoX pipeline has 2
LAST_LEVEL = 0.001  # where ComfyUI's UniPC ends, for l would be infinite at 0

_B = {"uni_pc": lambda h: -h, "uni_pc_bh2": lambda h: math.expm1(-h)}
SAMPLERS = ("euler", *_B)


def levels(sampler: str, simple: Callable[[int], Tensor], steps: int) -> Tensor:
    """Return the noise levels of a number of steps, [steps + 1], from the schedule for a number of steps.

    ComfyUI makes the schedule of UniPC for one step more and leaves out the last level above 0.
    """
    if sampler == "euler":
        return simple(steps)
    longer = simple(steps + 1)
    return torch.cat([longer[:-2], longer[-1:]])


def solve(sampler: str, velocity: Velocity, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Integrate from noise to the sample, both [B, ...], along noise levels [steps + 1] that end in 0."""
    if sampler == "euler":
        x = noise
        for sigma, following in pairwise(sigmas):
            x = x + velocity(x, sigma) * (following - sigma)
        return x
    return _uni_pc(_B[sampler], velocity, noise, sigmas)


def _uni_pc(b: Callable[[float], float], velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    sigmas = torch.cat([sigmas[:-1], sigmas.new_tensor([LAST_LEVEL])])
    steps = len(sigmas) - 1
    highest = min(HIGHEST_ORDER, steps - 1)
    places = [-math.log(_as_computed(sigma)) for sigma in sigmas]
    past: list[tuple[float, Tensor]] = [(places[0], x - sigmas[0] * velocity(x, sigmas[0]))]
    for step in range(1, steps + 1):
        order = min(highest, step, steps + 1 - step)
        known = past[-order:]
        start = past[-1][0]
        end = places[step]
        h = end - start
        carried = math.exp(-h) * x
        if order == 2:
            (earlier, first), (_, second) = known
            slope = (first - second) / ((earlier - start) / h)
            predicted = carried - math.expm1(-h) * second - b(h) * slope / 2
        else:
            predicted = carried + _integral(known, start, h)
        if step == steps:
            return predicted / (1 - sigmas[-1])  # the share of the sample at the last level
        denoised = predicted - sigmas[step] * velocity(predicted, sigmas[step])
        if order == 1:
            latest = known[-1][1]
            x = carried - math.expm1(-h) * latest - b(h) * (denoised - latest) / 2
        else:
            x = carried + _integral([*known, (end, denoised)], start, h)
        past.append((end, denoised))
    raise AssertionError("not reached: the last step returns")


def _as_computed(sigma: Tensor) -> float:
    """Return a noise level s as ComfyUI's single precision has it: sqrt(1 - a) / sqrt(a) with a = 1 / (1 + s^2).

    It matters at `LAST_LEVEL` alone, which becomes 0.000977.
    """
    share = 1 / (1 + sigma.float() ** 2)
    return float(((1 - share) / share).sqrt())


def _integral(known: Sequence[tuple[float, Tensor]], start: float, h: float) -> Tensor:
    """Integrate exp(l - end) times the polynomial through (l, x0), from l = start to end = start + h."""
    places = torch.tensor([(place - start) / h for place, _ in known], dtype=torch.float64)
    moments = [-math.expm1(-h)]  # of the powers 0, 1, ... of (l - start) / h, by parts
    for power in range(1, len(known)):
        moments.append(1 - power / h * moments[-1])
    powers = torch.stack([places**power for power in range(len(known))])
    weights = torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64))
    return sum(weight.item() * x0 for weight, (_, x0) in zip(weights, known))
