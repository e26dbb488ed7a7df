"""A chart of cases beside a baseline."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timing  # noqa: F401 (registers the pack)

from exo2ego.measure import memory
from exo2ego.measure.compare import Row

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

# What GGA may take on a GPU, in MB.
_ALLOWED = 64

# The memory axis is linear up to this many MB, and logarithmic beyond.
_LINEAR = 1.0


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Write a PNG of time and memory: lines over the number of tokens where there are several sizes, else bars."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row.ratio is not None]
    cases = list(dict.fromkeys(row.case for row in rows))
    sizes = sorted({row.tokens for row in rows})
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(title, 120)), fontsize=9)
    values = [lambda row: row.ratio, lambda row: row.extra_bytes / memory.MB]
    for axis, value in zip(axes, values):
        for case, color in zip(cases, _COLORS):
            own = {row.tokens: value(row) for row in rows if row.case == case}
            if len(sizes) > 1:
                axis.plot(own.keys(), own.values(), "o-", color=color, label=case)
            else:
                bars = axis.bar([case], own.values(), color=color)
                axis.bar_label(bars, fmt="%.3g")
        if len(sizes) > 1:
            _tokens_below(axis, sizes)
    axes[0].set_ylabel("time against plain (1 = as fast)")
    axes[0].set_ylim(bottom=0)
    axes[0].axhline(1, color="0.7", linewidth=1, zorder=0)
    axes[1].set_ylabel("memory on top of plain, MB")
    axes[1].set_yscale("symlog", linthresh=_LINEAR)
    axes[1].set_ylim(0, max(2 * _ALLOWED, axes[1].get_ylim()[1]))
    axes[1].axhline(_ALLOWED, color="0.7", linewidth=1, zorder=0)
    axes[1].yaxis.set_major_formatter("{x:,.0f}")
    axes[1].annotate(f" {_ALLOWED} MB", (0, _ALLOWED), xycoords=("axes fraction", "data"), va="bottom", color="0.4")
    if len(sizes) > 1:
        axes[0].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _tokens_below(axis: Any, sizes: Sequence[int]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=30)
    axis.minorticks_off()
    axis.set_xlabel("tokens of both views")
    axis.grid(axis="y", color="0.9")
