"""The trainer's benchmark on tiny sizes: that every figure is there, not how fast it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_figure_is_there(tmp_path):
    sizes = ("--size", "2x2x3x2", "--width", "128", "--ffn", "32", "--blocks", "1", "--rank", "4", "--batch", "2")
    command = [sys.executable, str(ROOT / "tools" / "run.py"), "training", "--device", "cpu", "--repeats", "1", *sizes]
    result = subprocess.run(
        [*command, "--json", str(tmp_path / "rows.json")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    content = json.loads((tmp_path / "rows.json").read_text())
    plain, step, read, full = content["rows"]
    assert (step["aim"], read["aim"]) == (1.1, 0.02)
    assert step["ratio"] == step["seconds"] / plain["seconds"]  # of one pair
    assert 0 < read["ratio"] < 1
    assert full["ratio"] is None
    assert "20 tokens" in result.stdout
    for row in content["rows"]:
        assert f"{1e3 * row['seconds']:.2f} ms" in result.stdout
