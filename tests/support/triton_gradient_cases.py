"""Print what Triton's interpreter makes of the fused kernel's backward pass on the CPU, as JSON.

Its errors, case -> relative error of the result and of the gradients of q, k and v against float64 gradients of the
readable twin; and what a training holds. Cases in float32, which the back end refuses on GPUs, hold the formulas to
more digits than half precision has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from support import triton_cases  # noqa: E402 (it switches the interpreter on and registers the pack)

import torch  # noqa: E402 isort: skip
from torch import Tensor  # noqa: E402

from exo2ego.attention.backends import triton as triton_attention  # noqa: E402
from exo2ego.attention.backends import triton_gradients  # noqa: E402
from exo2ego.attention.backends.triton_launch import launch  # noqa: E402
from exo2ego.attention.backends.triton_tiles import Tile  # noqa: E402
from exo2ego.attention.bias import GGABias  # noqa: E402
from exo2ego.attention.call import AttentionCall  # noqa: E402
from exo2ego.attention.directions import TokenDirections  # noqa: E402
from exo2ego.attention.guided_attention import gga_attention  # noqa: E402
from exo2ego.attention.layout import TokenLayout  # noqa: E402
from support.random_attention import (  # noqa: E402
    BIASES,
    HEADS,
    LAYOUTS,
    kept_under_checkpointing,
    oracle,
    plain_sdpa,
    random_directions,
    random_qkv,
    relative_error,
    with_missing,
)
from support.tensor_memory import counted_tensors  # noqa: E402

NAMES = ("out", "q", "k", "v")
# Frames of a token or two, two clips; frames of one block and a part of one, keys of several.
SIZES = {
    "1x2x1+3, two clips": (TokenLayout(1, 2, 1, 3), 64, 2),
    "5x3x2+1, 128 channels": (TokenLayout(5, 3, 2, 1), 128, 1),
    "2x5x9+7": (TokenLayout(2, 5, 9, 7), 64, 1),
}


def errors(
    layout: TokenLayout,
    directions: TokenDirections,
    bias: GGABias,
    dtype: torch.dtype,
    head_dim: int = 64,
    scale: float = 1.0,
    batch: int = 1,
) -> dict[str, float]:
    """Of the ego queries alone: what exo tokens get is not the kernel's."""
    q, k, v = random_qkv(layout, batch, dtype, head_dim)
    inputs = [x.requires_grad_() for x in (q * scale, k, v)]
    weights = torch.randn(q.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    layout.as_grid(weights)[:, :, :, : layout.exo_columns] = 0

    def results(out: Tensor, of: list[Tensor]) -> list[Tensor]:
        return [out * (weights != 0), *torch.autograd.grad((out * weights.to(out.dtype)).sum(), of)]

    out = torch.zeros_like(q)
    triton_attention.attend(AttentionCall(*inputs, HEADS, layout, directions, bias), out)
    got = results(out, inputs)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    expected = results(oracle(*exact, layout, directions, bias), exact)
    return {name: relative_error(*pair) for name, *pair in zip(NAMES, got, expected)}


def random_cases() -> dict[str, dict[str, float]]:
    cases = {}
    first = LAYOUTS[0]
    missing = with_missing(random_directions(first))
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        for bias in BIASES:
            cases[f"{bias.form.value} {bias.strength} {name}"] = errors(first, missing, bias, dtype)
        for sizes, (layout, head_dim, batch) in SIZES.items():
            directions = random_directions(layout)
            cases[f"{sizes} {name}"] = errors(layout, directions, GGABias(), dtype, head_dim, batch=batch)
        cases[f"steep logits {name}"] = errors(first, missing, GGABias(), dtype, scale=8.0)
        behind = triton_cases.opposite(first)
        cases[f"all behind {name}"] = errors(first, behind, GGABias(), dtype)
    cases["release 3.0 float16"] = errors(first, missing, GGABias(), torch.float16)
    return cases


def tiles_case() -> dict[str, float]:
    """Blocks of another size, larger than a frame and not, and tensors whose last axis is not contiguous."""
    layout, bias = LAYOUTS[0], GGABias()
    directions = random_directions(layout)
    q, k, v = random_qkv(layout, 1, torch.float32, 64)
    grad = torch.randn(q.shape, generator=torch.Generator().manual_seed(3))
    call = AttentionCall(q, k, v, HEADS, layout, directions, bias)
    out, log_sums = torch.zeros_like(q), torch.zeros(HEADS, layout.frames * layout.ego_tokens_per_frame)
    launch(call, out, log_sums)
    fixed = log_sums, HEADS, layout, directions.extended(bias)
    expected = triton_gradients.gradients(q, k, v, out, grad, *fixed)
    q, k, grad = (x.mT.contiguous().mT for x in (q, k, grad))
    tiles = Tile(16, 64, 4, 1), Tile(64, 16, 4, 1)
    got = triton_gradients.gradients(q, k, v, out, grad, *fixed, tiles)
    return {name: relative_error(*pair) for name, *pair in zip(NAMES[1:], got, expected)}


def whole_case() -> dict[str, float]:
    """Exo and ego tokens, as a training calls it, in bfloat16."""
    layout, bias = LAYOUTS[0], GGABias()
    directions = random_directions(layout)
    inputs = [x.requires_grad_() for x in random_qkv(layout, 2, torch.bfloat16, 64)]
    weights = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(3)).bfloat16()
    out = gga_attention(AttentionCall(*inputs, HEADS, layout, directions, bias), plain_sdpa, "triton")
    got = out, *torch.autograd.grad((out * weights).sum(), inputs)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    out = oracle(*exact, layout, directions, bias)
    expected = out, *torch.autograd.grad((out * weights.double()).sum(), exact)
    return {name: relative_error(*pair) for name, *pair in zip(NAMES, got, expected)}


def memory_case() -> dict[str, int]:
    """Numbers that autograd keeps, and bytes that the backward pass makes, beside the inputs and the result."""
    layout = TokenLayout(2, 5, 9, 7)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with counted_tensors() as memory:
        inputs = [x.requires_grad_() for x in random_qkv(layout, 1, torch.float16, 64)]
        out, grad = torch.zeros_like(inputs[0]), torch.ones_like(inputs[0])
        call = AttentionCall(*inputs, HEADS, layout, random_directions(layout), GGABias())
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            triton_attention.attend(call, out)
        before = memory.peak = memory.live
        gradients = torch.autograd.grad(out, inputs, grad)
        peak = memory.peak - before
    own = [x for x in kept if all(x.data_ptr() != known.data_ptr() for known in (*inputs, out))]
    n_queries = layout.frames * layout.ego_tokens_per_frame
    return {
        "tensors kept": len(kept),
        "numbers of its own": sum(x.numel() for x in own),
        "queries and heads": n_queries * HEADS,
        "pairs": n_queries * layout.n_tokens,
        "peak": peak,
        "gradients and deltas": sum(x.nbytes for x in gradients) + 4 * n_queries * HEADS,
    }


def main() -> None:
    triton_cases.repair_interpreter()
    kept = kept_under_checkpointing(LAYOUTS[0], "triton", torch.bfloat16)
    found = {"kept": kept, "memory": memory_case(), "whole": whole_case(), "tiles": tiles_case()}
    print(json.dumps(found | {"errors": random_cases()}))


if __name__ == "__main__":
    main()
