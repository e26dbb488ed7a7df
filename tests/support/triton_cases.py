"""Print the errors of the Triton kernel, run by Triton's interpreter on the CPU, as JSON: case -> relative error.

With --memory: case -> error and the bytes of the tensors that it makes.

An interpreter of its own, for Triton chooses between compiling and interpreting when kernels are imported.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "tools")]

import numpy as np  # noqa: E402

import pack  # noqa: E402

pack.register()

import torch  # noqa: E402
from torch.nn.functional import normalize  # noqa: E402
from triton.runtime import interpreter  # noqa: E402

from exo2ego.attention.backends import triton as triton_attention  # noqa: E402
from exo2ego.attention.backends.reference import dense_attention, dense_bias  # noqa: E402
from exo2ego.attention.bias import GGABias, GGAForm  # noqa: E402
from exo2ego.attention.call import AttentionCall  # noqa: E402
from exo2ego.attention.directions import TokenDirections  # noqa: E402
from exo2ego.attention.guided_attention import gga_attention  # noqa: E402
from exo2ego.attention.layout import TokenLayout  # noqa: E402
from support.random_attention import (  # noqa: E402
    BIASES,
    HEADS,
    LAYOUTS,
    oracle,
    plain,
    random_directions,
    random_qkv,
    relative_error,
    with_missing,
)
from support.tensor_memory import counted_tensors  # noqa: E402

# Frames longer than a block of 64 queries, which begin within blocks, and one that begins with a block.
BORDERS = [TokenLayout(3, 9, 5, 8), TokenLayout(2, 8, 3, 8)]


def repair_interpreter() -> None:
    """Let bfloat16 be multiplied and rounded as GPUs do.

    Triton 3.6 interprets it as the integers that hold its bits, products of which are not products, and cuts float32
    off where GPUs round to the nearest.
    """
    builder = interpreter.InterpreterBuilder
    original = builder.create_dot

    def as_float(handle: interpreter.TensorHandle) -> interpreter.TensorHandle:
        if handle.dtype.scalar != interpreter.tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), interpreter.tl.float32)

    def create_dot(self, a, b, *rest):
        return original(self, as_float(a), as_float(b), *rest)

    def create_fp_trunc(self, source, type_):
        if source.dtype.scalar != interpreter.tl.float32 or type_.scalar != interpreter.tl.bfloat16:
            return self.cast_impl(source, type_)
        rounded = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16()
        return interpreter.TensorHandle(rounded.view(torch.int16).numpy().view(np.uint16), type_.scalar)

    builder.create_dot, builder.create_fp_trunc = create_dot, create_fp_trunc


def error(
    layout: TokenLayout,
    directions: TokenDirections,
    bias: GGABias,
    dtype: torch.dtype,
    head_dim: int = 64,
    scale: float = 1.0,
    batch: int = 2,
) -> float:
    q, k, v = random_qkv(layout, batch, dtype, head_dim)
    q = q * scale
    got = gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, bias), plain, "triton")
    return relative_error(got, oracle(q, k, v, layout, directions, bias))


def random_cases() -> dict[str, float]:
    errors = {}
    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        for layout in LAYOUTS:
            directions = random_directions(layout)
            sizes = f"{layout.frames}x{layout.rows}x{layout.exo_columns}+{layout.ego_columns}"
            errors[f"layout {sizes} {name}"] = error(layout, directions, GGABias(), dtype)
        for layout in BORDERS:
            sizes = f"{layout.frames}x{layout.rows}x{layout.exo_columns}+{layout.ego_columns}"
            found = error(layout, with_missing(random_directions(layout)), GGABias(), dtype)
            errors[f"borders {sizes} {name}"] = found
        directions = with_missing(random_directions(LAYOUTS[0]))
        for bias in BIASES:
            errors[f"{bias.form.value} {bias.strength} {name}"] = error(LAYOUTS[0], directions, bias, dtype)
        errors[f"128 channels {name}"] = error(LAYOUTS[0], directions, GGABias(), dtype, head_dim=128)
        errors[f"steep logits {name}"] = error(LAYOUTS[0], directions, GGABias(), dtype, scale=8.0)
        errors[f"lambda 100 {name}"] = error(LAYOUTS[0], directions, GGABias(GGAForm.PAPER, 100.0), dtype)
        behind = opposite(LAYOUTS[0])
        errors[f"all behind {name}"] = error(LAYOUTS[0], behind, GGABias(), dtype)
        errors[f"all behind, steep logits {name}"] = error(LAYOUTS[0], behind, GGABias(), dtype, scale=8.0)
        rounded = TokenDirections(1.0009 * behind.ego_queries, behind.exo_keys)
        errors[f"all behind, a little too long {name}"] = error(LAYOUTS[0], rounded, GGABias(), dtype, scale=8.0)
    return errors


def golden_case(path: str) -> dict[str, float]:
    """One frame of a real take, at its real size."""
    golden = np.load(path)
    directions = TokenDirections(torch.from_numpy(golden["q_dir"]), torch.from_numpy(golden["k_dir"])).frames([6])
    return {"golden": error(TokenLayout(1, 28, 49, 28), directions, GGABias(), torch.float16, batch=1)}


def memory_cases() -> dict[str, dict[str, float]]:
    """What the back end takes beside its inputs, and what its form of the directions takes alone."""
    cases = {}
    layout = LAYOUTS[0]
    for heads, batch in ((1, 1), (4, 1), (1, 2), (4, 2)):
        random = torch.Generator().manual_seed(1)
        with counted_tensors() as memory:
            shape = batch, layout.n_tokens, heads * 64
            q, k, v = (torch.randn(shape, generator=random).half() for _ in range(3))
            out = torch.zeros_like(q)
            directions, others = random_directions(layout), random_directions(layout)
            taken = {}
            before = memory.peak = memory.live
            triton_attention.attend(AttentionCall(q, k, v, heads, layout, directions, GGABias()), out)
            taken |= {"peak": memory.peak - before, "kept": memory.live - before}
            before = memory.peak = memory.live
            extended = others.extended(GGABias())
            kept = extended.split_queries, extended.joined_keys(layout)
            taken |= {"peak of directions": memory.peak - before, "kept by directions": memory.live - before}
            del kept
        exact = dense_attention(*(x.double() for x in (q, k, v)), heads, dense_bias(layout, directions, GGABias()))
        ego, expected = (layout.as_grid(x)[:, :, :, layout.exo_columns :] for x in (out, exact))
        cases[f"{heads} heads, batch {batch}"] = {"error": relative_error(ego, expected), **taken}
    return cases


def main() -> None:
    repair_interpreter()
    if "--golden" in sys.argv:
        cases = golden_case(sys.argv[2])
    else:
        cases = memory_cases() if "--memory" in sys.argv else random_cases()
    print(json.dumps(cases))


def opposite(layout: TokenLayout) -> TokenDirections:
    """Every exo token behind every ego token: factors of 1e-6."""
    ahead = normalize(torch.tensor([0.3, 0.4, 0.5]), dim=0)
    t, rows = layout.frames, layout.rows
    return TokenDirections(
        ahead.expand(t, rows, layout.ego_columns, 3).clone(), -ahead.expand(t, t, rows, layout.exo_columns, 3).clone()
    )


if __name__ == "__main__":
    main()
