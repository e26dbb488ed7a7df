"""GGA's attention against plain attention on the same tensors: time, memory and error of every back end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..attention.backends.reference import dense_bias
from ..attention.choice import BACKENDS
from ..attention.guided_attention import gga_attention
from ..attention.layout import TokenLayout
from . import memory
from .compare import Case, Row, Run, compare
from .context import NOBODY, Watch
from .problem import Problem, described

# The released code's way: the bias of all pairs as one tensor, handed to torch's attention.
DENSE = "dense"

CASES = (*BACKENDS, DENSE)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        heads, head_dim, batch: of the attention.
        dtype, device: of the tensors.
        repeats: pairs of runs a case.
        cases: some of CASES; None for all that are worth it on the device.
        watch: who looks on.
    """

    heads: int
    head_dim: int
    batch: int
    dtype: torch.dtype
    device: torch.device
    repeats: int
    cases: tuple[str, ...] | None = None
    watch: Watch = NOBODY

    def problem(self, layout: TokenLayout) -> Problem:
        """Return tensors of a size."""
        return Problem(layout, self.heads, self.head_dim, self.batch, self.dtype, self.device)


def rows_of(layout: TokenLayout, options: Options) -> list[Row]:
    """Measure every case at one size."""
    problem = options.problem(layout)
    plain = Case("plain", partial(_plain, problem), partial(problem.error, biased=False))
    cases = [
        Case(
            name,
            partial(_dense if name == DENSE else partial(_gga, name), problem),
            partial(problem.error, biased=True),
            _left_out(name, problem, options),
        )
        for name in options.cases or CASES
    ]
    return compare(layout.n_tokens, described(layout), plain, cases, options.repeats, options.device, options.watch)


def gradient_rows_of(layout: TokenLayout, options: Options) -> list[Row]:
    """Measure every back end at one size; its error is the largest of the result and the gradients of q, k and v."""
    problem = options.problem(layout)
    for tensor in (problem.q, problem.k, problem.v):
        tensor.requires_grad_()
    random = torch.Generator(problem.device).manual_seed(3)
    grad = torch.randn(problem.q.shape, generator=random, device=problem.device).to(problem.q.dtype)
    heads = sorted({0, problem.heads - 1})
    plain = Case(
        "plain", partial(both_passes, problem, grad, None), partial(error_of_gradients, problem, grad, heads, False)
    )
    names = options.cases or tuple(name for name, backend in BACKENDS.items() if backend.automatic)
    cases = [
        Case(
            name,
            partial(both_passes, problem, grad, name),
            partial(error_of_gradients, problem, grad, heads, True),
            _left_out(name, problem, options),
        )
        for name in names
    ]
    return compare(layout.n_tokens, described(layout), plain, cases, options.repeats, options.device, options.watch)


def _plain(problem: Problem) -> Run:
    return problem.timed(partial(problem.plain, problem.q, problem.k, problem.v, problem.heads))


def _dense(problem: Problem) -> Run:
    mask = dense_bias(problem.layout, problem.directions(), problem.bias).to(problem.q.dtype)
    return problem.timed(partial(problem.plain, problem.q, problem.k, problem.v, problem.heads, mask))


def _gga(backend: str, problem: Problem) -> Run:
    return problem.timed(partial(gga_attention, problem.call(), problem.plain, backend))


def both_passes(problem: Problem, grad: Tensor, backend: str | None) -> Run:
    """Return a run: result and gradients as one tensor [4, B, n_tokens, heads * d], and the time without stacking."""
    call, plain = problem.call(), problem.plain
    inputs = call.q, call.k, call.v

    def forward_and_backward() -> tuple[Tensor, ...]:
        out = plain(*inputs, problem.heads) if backend is None else gga_attention(call, plain, backend)
        return out.detach(), *torch.autograd.grad(out, inputs, grad)

    timed = problem.timed(forward_and_backward)

    def run() -> tuple[Tensor, object]:
        results, lap = timed()
        return torch.stack(results), lap

    return run


def error_of_gradients(problem: Problem, grad: Tensor, heads: list[int], biased: bool, got: Tensor) -> float:
    """Return the largest error against float64 among some heads, each tensor's relative to its largest value."""
    errors = []
    for head in heads:
        expected = problem.exact_gradients(grad, head, biased)
        mine = got.unflatten(3, (problem.heads, -1))[..., head, :].double()  # [4, B, n_tokens, d]
        largest = expected.abs().amax(dim=(1, 2, 3))
        errors.append(((mine - expected).abs().amax(dim=(1, 2, 3)) / largest).max())
    return float(torch.stack(errors).max())


def _left_out(name: str, problem: Problem, options: Options) -> str:
    """Return why a case is not measured, or nothing."""
    device, size = problem.q.device, problem.q.element_size()
    if name != DENSE:
        call = problem.call()
        if (reason := BACKENDS[name].unsupported(call)) is not None:
            return reason
        if options.cases is None and (reason := BACKENDS[name].declined(call)) is not None:
            return f"{reason}; --backends {name} measures it"
    need = 0
    if name == DENSE:
        need = bytes_of_dense_bias(problem.layout, problem.q.dtype)
    elif name == "reference":
        logits = problem.layout.n_tokens**2 * len(problem.q) * problem.heads * size
        need = bytes_of_dense_bias(problem.layout, problem.q.dtype) + 3 * logits  # logits, with the bias, softmax
    return memory.lacking(need, device)


def bytes_of_dense_bias(layout: TokenLayout, dtype: torch.dtype) -> int:
    """Return what making the bias of all pairs takes: float32, a temporary and the copy that is kept."""
    return layout.n_tokens**2 * (4 + 4 + dtype.itemsize)
