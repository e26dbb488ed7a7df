"""GGA's benchmark on tiny sizes: that every number is there and every result right, not how fast it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PNG = b"\x89PNG\r\n\x1a\n"

# Tokens, layout and case stand in columns of their own: a figure that looks like a number of tokens is not one.
COLUMNS = slice(0, 7), slice(8, 27), slice(28, 45)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "run.py"), "gga", "--device", "cpu", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def measured(tmp_path: Path, *arguments: str, **environment: str) -> tuple[str, dict[tuple[int, str], dict]]:
    """Run the benchmark; returns what it printed and its rows by tokens and case."""
    result = run("--repeats", "1", "--json", str(tmp_path / "rows.json"), *arguments, **environment)
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


APPROXIMATION = 0.15  # of the largest value; random tensors have 0.03 to 0.08


def check(rows: dict[tuple[int, str], dict], bound: float) -> None:
    for (_, case), row in rows.items():
        if case in ("triton", "triton_int8", "flex"):
            assert re.search("cpu|only worthwhile on a gpu", row["empty"].lower())
            assert row["ratio"] is row["error"] is row["extra_bytes"] is None
        else:
            assert not row["empty"]
            assert 0 < row["error"] < (APPROXIMATION if case == "harmonics" else bound)
            assert min(row["seconds"], row["ratio"], row["cpu_ratio"]) > 0


def test_attention_of_every_back_end(tmp_path):
    chart = tmp_path / "chart.png"
    sizes = "--sizes", "3x4x5x4", "4x8x7x5", "--heads", "8", "--head-dim", "16", "--chart", str(chart)
    _, rows = measured(tmp_path, *sizes)
    cases = ("plain", "triton", "flex", "sdpa", "triton_int8", "harmonics", "reference", "dense")
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


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed on this machine")
def test_gradients_of_every_back_end(tmp_path):
    """The fused kernel by Triton's interpreter."""
    sizes = "--sizes", "2x2x3x2", "--heads", "2", "--head-dim", "64", "--dtype", "float16"
    _, rows = measured(tmp_path, "--gradients", *sizes, TRITON_INTERPRET="1")
    flex = rows.pop((20, "flex"))
    assert "no backward pass on CPUs" in flex["empty"]
    assert set(rows) == {(20, "plain"), (20, "triton"), (20, "sdpa")}
    for row in rows.values():
        assert 0 < row["error"] < 5e-3
        assert min(row["seconds"], row["ratio"], row["cpu_ratio"]) > 0


def test_exact_gradients_are_those_of_autograd():
    """The formulas that the benchmark holds the back ends against; two chunks of queries."""
    script = """
import sys
sys.path[:0] = sys.argv[1:]
import pack; pack.register()
import torch
from exo2ego.measure import problem as gga_problem
from exo2ego.measure.problem import Problem, layout_of
problem = Problem(layout_of("2x3x3x2"), 2, 4, 2, torch.float32, torch.device("cpu"))
gga_problem._CHUNK_BYTES = 8 * 2 * 30 * 17
grad = torch.randn(problem.q.shape)
q, k, v, g = (x.unflatten(2, (2, -1))[:, :, 1].double() for x in (problem.q, problem.k, problem.v, grad))
inputs = [x.requires_grad_() for x in (q, k, v)]
bias = problem.exact_bias(torch.arange(30))
assert bias.abs().max() > 1
for biased in (False, True):
    out = ((q @ k.mT / 2 + (bias if biased else 0)).softmax(-1)) @ v
    expected = torch.stack([out.detach(), *torch.autograd.grad(out, inputs, g)])
    torch.testing.assert_close(problem.exact_gradients(grad, 1, biased), expected)
"""
    folders = [str(ROOT / "tools")]
    result = subprocess.run([sys.executable, "-c", script, *folders], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


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
    assert difference["ego, GGA"] == difference["ego, GGA, host"] > 1e-5
    assert difference["ego, GGA, fp8"] != difference["ego, GGA"]


def test_what_cannot_be_measured_is_refused_with_a_reason():
    tiles = run("--tiles", "--sizes", "3x4x5x4", "--heads", "1", "--head-dim", "64")
    assert tiles.returncode == 1
    assert "the device is cpu, not a CUDA GPU" in tiles.stderr
    dense = run("--gradients", "--backends", "dense")
    assert dense.returncode == 2
    assert "--gradients measures back ends" in dense.stderr
