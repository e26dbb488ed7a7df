"""Print what the int8 kernel's results are off, run by Triton's interpreter on the CPU, as JSON: case -> errors.

`kernel` and `published` are the errors of the kernel and of SageAttention's scheme against float64, root mean square
relative to that of the values; `twin` is the kernel's largest difference from plain torch with its own steps.
"""

from __future__ import annotations

import json

import torch
from triton_cases import repair_interpreter  # first: it says that kernels are interpreted

from exo2ego.attention.backends import triton_int8
from exo2ego.attention.backends.reference import dense_bias
from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.layout import TokenLayout
from support.int8_attention import int8_attention
from support.random_attention import BIASES, HEADS, LAYOUTS, oracle, random_directions, random_qkv, with_missing

# More ego tokens than SageAttention's block of queries, more keys than some of its blocks.
LARGE = TokenLayout(2, 9, 11, 9)


def shared_by_all_keys(k: torch.Tensor, size: float) -> torch.Tensor:
    """Keys as transformers make them: channels with a large mean (SageAttention, figure 4)."""
    mean = torch.randn(k.shape[-1], generator=torch.Generator().manual_seed(9)) * size
    return (k.float() + mean).to(k.dtype)


def case(
    layout: TokenLayout,
    directions: TokenDirections,
    bias: GGABias,
    dtype: torch.dtype,
    head_dim: int = 64,
    scale: float = 1.0,
    mean: float = 0.0,
    batch: int = 2,
) -> dict[str, float]:
    q, k, v = random_qkv(layout, batch, dtype, head_dim)
    q, k = q * scale, shared_by_all_keys(k, mean)
    out = torch.full_like(q, 7.0)
    triton_int8.attend(AttentionCall(q, k, v, HEADS, layout, directions, bias), out)
    grid = layout.as_grid(out)
    assert (grid[:, :, :, : layout.exo_columns] == 7.0).all()  # exo tokens are not its business

    exact = TokenDirections(directions.ego_queries.double(), directions.exo_keys.double())
    pairs = layout.ego(dense_bias(layout, exact, bias).unsqueeze(0))[0]  # [ego tokens, n_tokens]
    query, key, value = (x.unflatten(2, (HEADS, -1)).transpose(1, 2) for x in (layout.ego(q), k, v))
    expected = _heads(layout.ego(oracle(q, k, v, layout, directions, bias)))
    got = _heads(layout.ego(out)).double()
    published = int8_attention(query, key, value, pairs)
    twin = int8_attention(query, key, value, pairs, queries=1, keys=32)
    return {
        "kernel": _off(got, expected),
        "published": _off(published, expected),
        "twin": float((got - twin).abs().max() / expected.abs().max()),
    }


def _heads(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


def _off(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).square().mean().sqrt() / expected.square().mean().sqrt())


def cases() -> dict[str, dict[str, float]]:
    found = {}
    directions = with_missing(random_directions(LARGE))
    for layout in (*LAYOUTS, LARGE):
        found[f"{layout.describe()}, float16"] = case(layout, random_directions(layout), GGABias(), torch.float16)
    for bias in BIASES:
        found[f"{bias.form.value} {bias.strength}, float16"] = case(LARGE, directions, bias, torch.float16)
    found["lambda 100, float16"] = case(LARGE, directions, GGABias(GGAForm.PAPER, 100.0), torch.float16)
    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        found[f"128 channels, {name}"] = case(LARGE, directions, GGABias(), dtype, head_dim=128)
        found[f"steep logits, {name}"] = case(LARGE, directions, GGABias(), dtype, scale=4.0)
        found[f"keys that share much, {name}"] = case(LARGE, directions, GGABias(), dtype, mean=8.0)
    triton_int8.PREPARED_BYTES = 1
    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        found[f"a head at a time, {name}"] = case(LAYOUTS[0], random_directions(LAYOUTS[0]), GGABias(), dtype)
    return found


if __name__ == "__main__":
    repair_interpreter()
    print(json.dumps(cases()))
