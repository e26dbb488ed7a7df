"""Results as tables in Markdown: one row a case, for `tools/benchmarks/README.md` and for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .results import Result

# What the sections are called over their tables.
TITLES = {
    "correctness": "Error against float64",
    "attention": "Attention alone",
    "gradients": "Forward and backward pass",
    "tiles": "Tiles of the kernel",
    "steps": "Whole steps",
    "memory": "Peak memory of a step",
    "prior": "Ego prior",
    "vae": "VAE",
    "run": "Whole runs of EgoX, random weights",
}
BEGIN, END = "<!-- results of the command gpu -->", "<!-- end of the results -->"
NOBODY = "**No card has run it yet**: the rows are empty until somebody's result lies in `results/`."

_HEAD = ("case", "size", "time", "/ baseline", "lowest to highest", "memory", "estimates", "error", "note")


def tables(results: Sequence[Result]) -> str:
    """Return the tables of results, or the sentence that there are none."""
    cards = [result for result in results if result.machine.get("device") == "cuda"]
    if not cards:
        return f"{NOBODY}\n\n{_lines([])}"
    parts = []
    for result in cards:
        parts.append(f"### {_escaped(result.title)}")
        parts += [_section(name, result) for name in result.sections]
    return "\n\n".join(parts)


def of_result(result: Result) -> str:
    """Return one result's tables, of whatever device."""
    return "\n\n".join([f"## {_escaped(result.title)}", *(_section(name, result) for name in result.sections)]) + "\n"


def _section(name: str, result: Result) -> str:
    section = result.sections[name]
    told = "" if section.state == "done" else f" ({section.state}{f': {section.why}' if section.why else ''})"
    title = f"{TITLES.get(name, name)}{told}"
    return f"{_escaped(title)}\n\n{_lines([_cells(row) for row in section.rows])}"


def _lines(rows: Sequence[Sequence[str]]) -> str:
    used = [place for place in range(len(_HEAD)) if not rows or place == 0 or any(row[place] for row in rows)]
    table = [_HEAD, *rows] if rows else [_HEAD, [""] * len(_HEAD)]
    lines = ["| " + " | ".join(_escaped(row[place]) for place in used) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(used), *lines[1:]])


def _cells(row: dict[str, Any]) -> list[str]:
    is_baseline = row["case"] == row["against"]
    size = f"{row['tokens']:,} tokens" if row["tokens"] else row["layout"]
    if row["empty"]:
        return [row["case"], size, "", "", "", "", "", "", f"none: {row['empty']}"]
    spread = row["ratio_low"] is not None and not is_baseline
    return [
        row["case"],
        size,
        "" if row["seconds"] is None else _time(row["seconds"]),
        "" if row["ratio"] is None else f"{row['ratio']:.3f}",
        f"{row['ratio_low']:.3f} to {row['ratio_high']:.3f}" if spread else "",
        "" if row["extra_bytes"] is None else f"{row['extra_bytes'] / 1e6:,.0f} MB",
        "; ".join(f"{whose} {size / 1e6:,.0f} MB" for whose, size in (row["estimates"] or {}).items()),
        "" if row["error"] is None else f"{row['error']:.1e}",
        row["note"] or (f"beside {row['against']}" if row["against"] and not is_baseline else ""),
    ]


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
