"""GGA's benchmark on tiny sizes: that every number is there and every result right, not how fast it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PNG = b"\x89PNG\r\n\x1a\n"

# Tokens, layout and case stand in columns of their own: a figure that looks like a number of tokens is not one.
COLUMNS = slice(0, 7), slice(8, 27), slice(28, 45)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "run.py"), "gga", "--device", "cpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def measured(tmp_path: Path, *arguments: str) -> tuple[str, dict[tuple[int, str], dict]]:
    """Run the benchmark; returns what it printed and its rows by tokens and case."""
    result = run("--repeats", "1", "--json", str(tmp_path / "rows.json"), *arguments)
    assert result.returncode == 0, result.stderr
    content = json.loads((tmp_path / "rows.json").read_text())
    assert "PyTorch" in content["machine"]
    lines = result.stdout.splitlines()
    assert content["machine"].split("; ComfyUI")[0] in lines
    printed = [(tuple(line[column].strip() for column in COLUMNS), line) for line in lines]
    for row in content["rows"]:
        (line,) = (line for place, line in printed if place == (f"{row['tokens']:,}", row["layout"], row["case"]))
        assert row["empty"] in line
        assert row["empty"] or f"{1e3 * row['seconds']:.1f}" in line.split()
    return result.stdout, {(row["tokens"], row["case"]): row for row in content["rows"]}


def check(rows: dict[tuple[int, str], dict], bound: float) -> None:
    for (_, case), row in rows.items():
        if case in ("triton", "flex"):
            assert re.search("cpu|only worthwhile on a gpu", row["empty"].lower())
            assert row["ratio"] is row["error"] is row["extra_bytes"] is None
        else:
            assert not row["empty"]
            assert 0 < row["error"] < bound
            assert min(row["seconds"], row["ratio"], row["cpu_ratio"]) > 0


def test_attention_of_every_back_end(tmp_path):
    chart = tmp_path / "chart.png"
    sizes = "--sizes", "3x4x5x4", "4x8x7x5", "--heads", "8", "--head-dim", "16", "--chart", str(chart)
    _, rows = measured(tmp_path, *sizes)
    cases = ("plain", "triton", "flex", "sdpa", "reference", "dense")
    assert set(rows) == {(tokens, case) for tokens in (108, 384) for case in cases}
    check(rows, 1e-5)
    assert chart.read_bytes()[:8] == PNG
    # What must be there at least: the oracle's logits and their softmax; the bias of all pairs; the directions of 160
    # ego queries and of 4 x 224 exo keys, and the five numbers that stand for each.
    assert rows[384, "reference"]["extra_bytes"] > 2 * 4 * 8 * 384**2
    assert rows[384, "dense"]["held_bytes"] == 4 * 384**2
    assert rows[384, "sdpa"]["held_bytes"] == 4 * (160 + 4 * 224) * (3 + 5)
    assert rows[384, "sdpa"]["held_bytes"] < rows[384, "sdpa"]["extra_bytes"] < 4 * 8 * 384**2


def test_attention_in_bfloat16_of_chosen_back_ends(tmp_path):
    sizes = "--sizes", "3x4x5x4", "--heads", "2", "--head-dim", "32", "--batch", "2", "--dtype", "bfloat16"
    _, rows = measured(tmp_path, *sizes, "--backends", "sdpa", "dense")
    assert set(rows) == {(108, "plain"), (108, "sdpa"), (108, "dense")}
    check(rows, 1e-2)


def test_whole_steps(tmp_path):
    model = "--layers", "2", "--dim", "256", "--ffn", "64", "--cfg", "1"
    _, rows = measured(tmp_path, "--step", "--sizes", "3x4x5x4", *model)
    assert "ComfyUI" in json.loads((tmp_path / "rows.json").read_text())["machine"]
    assert not any(row["empty"] for row in rows.values())
    assert all(row["seconds"] > 0 for row in rows.values())
    difference = {case: row["error"] for (_, case), row in rows.items()}
    assert difference["GGA, auto"] == difference["GGA, sdpa"] == 0.0
    assert difference["dense"] < 1e-4
    assert difference["plain EgoX"] > 1e-3


def test_what_cannot_be_measured_is_refused_with_a_reason():
    tiles = run("--tiles", "--sizes", "3x4x5x4", "--heads", "1", "--head-dim", "64")
    assert tiles.returncode == 1
    assert "the device is cpu, not a CUDA GPU" in tiles.stderr
