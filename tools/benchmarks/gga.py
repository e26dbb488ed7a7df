"""What geometry-guided attention costs beside plain attention.

python tools/run.py gga              attention alone: time, memory and error of every back end, at several sizes
python tools/run.py gga --gradients  forward and backward pass, as in a training: time, memory, error of the gradients
python tools/run.py gga --step       whole denoising steps of Wan 2.1 I2V 14B with random weights, on a GPU
python tools/run.py gga --tiles      tiles of the Triton kernel, on a GPU

--json FILE and --chart FILE.png write the rows too; --help names all options.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import timing
import torch
from compare import draw

import environment  # isort: skip (timing puts tools/ on the path)
from exo2ego.measure import attention, problem, random_wan, steps, tiles
from exo2ego.measure.compare import Row
from exo2ego.measure.memory import MB

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# What is measured where the options do not say.
DEFAULTS = {
    "cuda": {
        "dtype": "bfloat16",
        "sizes": ["1001", "2002", "4004", "8008", "14014", "28028"],
        "layers": 40,
        "dim": 5120,
        "ffn": 13824,
    },
    "cpu": {
        "dtype": "float32",
        "sizes": ["1001", "2002", "4004"],
        "layers": 2,
        "dim": 512,
        "ffn": 1024,
    },
}


def arguments() -> argparse.Namespace:
    """Return the options, with the defaults of the device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", help="default: a CUDA GPU where there is one, else cpu")
    add("--dtype", choices=DTYPES, help="default: bfloat16 on a GPU, float32 on the CPU")
    add("--sizes", nargs="+", help="numbers of tokens, or FRAMESxROWSxEXOxEGO in tokens, such as 13x28x49x28")
    add("--repeats", type=int, help="pairs of runs; default: 7 for attention on a GPU, else 3")
    add("--json", type=Path, help="also write the rows to this file")
    add("--chart", type=Path, help="also draw time and memory into this PNG")
    add = parser.add_argument_group("attention alone").add_argument
    add("--heads", type=int, default=40)
    add("--head-dim", type=int, default=128)
    add("--batch", type=int, default=1, help="2 is what Wan gets with positive and negative prompt")
    add("--backends", nargs="+", choices=attention.CASES, help="what to measure; default: all worth it")
    add("--tiles", nargs="*", metavar="QxKxWxS", help="tiles of the kernel instead: queries, keys, warps, stages")
    add("--gradients", action="store_true", help="measure the forward and backward pass of a training instead")
    add = parser.add_argument_group("whole steps").add_argument
    add("--step", action="store_true", help="measure whole denoising steps instead, at the last size")
    add("--layers", type=int, help="transformer blocks; default: 40 on a GPU, 2 on the CPU")
    add("--dim", type=int, help="width, a multiple of 128; default: 5120 on a GPU, 512 on the CPU")
    add("--ffn", type=int, help="width of the feed-forward layers; default: 13824 on a GPU, 1024 on the CPU")
    add("--cfg", type=float, default=5.0, help="1 leaves the negative prompt out")
    options = parser.parse_args()
    if options.chart and options.tiles is not None:
        parser.error("--chart draws back ends and steps, no tiles: leave it out.")
    if options.gradients and (options.step or options.tiles is not None or attention.DENSE in (options.backends or ())):
        parser.error("--gradients measures back ends: leave --step, --tiles and the back end dense out.")
    options.device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if options.device.type not in DEFAULTS:
        parser.error(f"--device is cpu or cuda, got {options.device}.")
    for name, value in DEFAULTS[options.device.type].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.repeats = options.repeats or (7 if options.device.type == "cuda" and not options.step else 3)
    try:
        options.layouts = [problem.layout_of(size) for size in options.sizes]
    except ValueError as error:
        parser.error(str(error))
    return options


def main() -> None:
    """Measure and print."""
    options = arguments()
    dtype, device = DTYPES[options.dtype], options.device
    neighbours = timing.Neighbours()
    title = f"{timing.machine(device)}, Triton {triton_version()}; {options.dtype}"
    print(title)
    with torch.inference_mode(not options.gradients):
        if options.step:
            title = f"{title}; ComfyUI {random_wan.start(device, environment.prepare().comfyui)}"
            rows = step_rows(options, dtype)
        else:
            rows = attention_rows(options, dtype)
    neighbours.warn()
    if options.json:
        content = {"machine": title, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(content, indent=1))
    if options.chart:
        draw(rows, title, options.chart)


def attention_rows(options: argparse.Namespace, dtype: torch.dtype) -> list[Row]:
    """Measure and print attention alone."""
    what = attention.Options(
        *(options.heads, options.head_dim, options.batch, dtype, options.device, options.repeats),
        cases=options.backends,
    )
    print(
        f"{what.heads} heads x {what.head_dim}, batch {what.batch}, median of {what.repeats} pairs; error against "
        "float64; layout: frames x rows x (exo + ego columns)"
    )
    if options.gradients:
        print("forward and backward pass; error: the largest of the result and the gradients of q, k and v, two heads")
        return print_rows(attention.gradient_rows_of(layout, what) for layout in options.layouts)
    if options.tiles is not None:
        return print_rows([tiles.rows_of(options.layouts[-1], options.tiles or tiles.TRIED, what)])
    return print_rows(attention.rows_of(layout, what) for layout in options.layouts)


def step_rows(options: argparse.Namespace, dtype: torch.dtype) -> list[Row]:
    """Measure and print whole steps."""
    what = steps.Options(
        *(options.layouts[-1], options.layers, options.dim, options.ffn, options.cfg),
        *(dtype, options.device, options.repeats),
    )
    print(
        f"{what.layers} blocks, {what.dim} wide, feed-forward {what.ffn}, CFG {what.cfg:g}, median of {what.repeats} "
        "pairs; error: difference from GGA on sdpa"
    )
    return print_rows([steps.rows_of(what)])


def triton_version() -> str:
    """Return Triton's version, or none."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return "none"


LINE = "{:>7} {:>19} {:17} {:>10} {:>8} {:>7} {:>9} {:>8} {:>8}".format


def print_rows(tables: Iterable[list[Row]]) -> list[Row]:
    """Print the rows of every table as soon as it is there, and return them all."""
    printed = []
    for table in tables:
        if not printed:
            print(LINE("tokens", "layout", "case", "ms", "x plain", "x CPU", "extra MB", "held MB", "error"))
        for row in table:
            place = f"{row.tokens:,}", row.layout, row.case
            if row.empty:
                print(f"{LINE(*place, 'none:', '', '', '', '', '').rstrip()} {row.empty}")
                continue
            numbers = (
                number(row.seconds, 1e3, ".1f"),
                number(row.ratio, 1, ".3f"),
                number(row.cpu_ratio, 1, ".3f"),
                number(row.extra_bytes, 1 / MB, ".1f"),
                number(row.held_bytes, 1 / MB, ".1f"),
                number(row.error, 1, ".1e"),
            )
            print(LINE(*place, *numbers), flush=True)
        printed += table
    return printed


def number(value: float | None, factor: float, form: str) -> str:
    """Write a number, or nothing where there is none."""
    return "" if value is None else format(value * factor, form)


if __name__ == "__main__":
    main()
