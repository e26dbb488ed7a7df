"""The command `gpu` end to end on the CPU, where everything is tiny: rows, files, keeping, stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from exo2ego.commands.gpu import cli, supervise
from exo2ego.commands.gpu.results import read_result
from exo2ego.measure.plan import SHARES
from support.comfyui import comfyui_folder

ROOT = Path(__file__).resolve().parents[3]


def command(*words) -> list[str]:
    return [sys.executable, str(ROOT), "gpu", *map(str, words)]


def run(*words) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*words), capture_output=True, text=True, env=environment, timeout=3600)


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu")
    done = run("--device", "cpu", "--comfyui", comfyui_folder(), "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def rows_of(out: Path) -> dict[str, dict[str, dict]]:
    sections = json.loads((out / "result.json").read_text())["sections"]
    return {name: {row["case"]: row for row in section["rows"]} for name, section in sections.items()}


def test_every_section_is_measured(tried):
    out, printed = tried
    result = read_result(out / "result.json")
    assert list(result.sections) == list(cli.SECTIONS) == list(SHARES)
    assert {name: section.state for name, section in result.sections.items() if section.state != "done"} == {
        "tiles": "left out"
    }
    assert result.machine["comfyui"]
    for name, section in result.sections.items():
        assert f"] {name}, about" in printed
        assert all(f"  {row['case']}: " in printed for row in section.rows)
        assert all(
            any(told in row["empty"] for told in ("not a CUDA GPU", "on CPUs", "a training takes the bias itself"))
            for row in section.rows
            if row["empty"]
        )


def test_errors_are_within_their_bounds(tried):
    rows = rows_of(tried[0])["correctness"]
    assert {name for name, row in rows.items() if not row["empty"]} == {
        *(f"{name}, {passes}, float32" for name in ("plain", "sdpa") for passes in ("forward", "backward")),
        "flex, forward, float32",
        "harmonics, forward, float32",
    }
    measured = {name: row for name, row in rows.items() if not row["empty"]}
    assert all(row["note"].startswith("within") for row in measured.values())
    assert 1e-3 < measured.pop("harmonics, forward, float32")["error"] < 0.2  # it approximates
    assert all(row["error"] < 1e-5 for row in measured.values())


def test_times_stand_beside_their_own_baseline(tried):
    sections = rows_of(tried[0])
    attention, steps = sections["attention"], sections["steps"]
    assert attention["sdpa"]["against"] == "plain, stock"
    assert attention["flex, exo queries by math"]["against"] == "plain, math"
    assert steps["GGA, auto, math"]["against"] == "plain EgoX, math"
    assert steps["ego view alone, GGA"]["ratio"] > 0
    for row in (*attention.values(), *steps.values()):
        if row["ratio"] is not None and row["case"] != row["against"]:
            assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]


def test_estimates_stand_beside_the_peak(tried):
    """Ours counts the exo view, which is one and a half times as wide here as the ego view."""
    for row in rows_of(tried[0])["memory"].values():
        ours, core = row["estimates"].values()
        assert ours / core == pytest.approx(5 / 2, rel=1e-6)
        assert row["extra_bytes"] > 0


def test_tables_and_chart_hold_every_row(tried):
    out, _ = tried
    tables, chart = (out / "tables.md").read_text(), ElementTree.parse(out / "chart.svg").getroot()
    texts = {element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")}
    for name, rows in rows_of(out).items():
        for case, row in rows.items():
            assert f"| {case} |" in tables
            is_charted = name in ("attention", "gradients", "steps") and row["ratio"] is not None
            assert not is_charted or row["case"] == row["against"] or case in texts


def test_what_is_done_is_kept(tried):
    out, _ = tried
    before = (out / "result.json").read_bytes()
    done = run("--device", "cpu", "--sections", "correctness,prior", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "kept from" in done.stdout
    assert "[1/2]" not in done.stdout
    assert (out / "result.json").read_bytes() == before
    other = run("--sections", "prior", "--out", out)
    assert other.returncode == 2
    assert "is of another device (cpu)" in other.stderr


@pytest.mark.parametrize("hangs", [False, True])
def test_a_stop_keeps_what_is_done_and_the_same_command_goes_on(tmp_path, hangs):
    """Also where the measuring process answers nothing more, as while a kernel hangs."""
    words = command("--device", "cpu", "--sections", "correctness,prior", "--out", tmp_path)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        printed = ""
        while "[2/2]" not in printed:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            printed += line
        (worker,) = children(process.pid)
        if hangs:
            os.kill(worker, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=600) == 130
        assert "the same command goes on" in process.stderr.read()
    assert not Path(f"/proc/{worker}").exists()
    stopped = read_result(tmp_path / "result.json")
    assert (stopped.sections["correctness"].state, stopped.sections["prior"].state) == ("done", "stopped")
    done = run("--device", "cpu", "--sections", "correctness,prior", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "result.json")
    assert result.sections["prior"].state == "done"
    assert result.sections["correctness"] == stopped.sections["correctness"]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_stop_waits_for_less_than_two_seconds():
    assert supervise._TICK + 2 * supervise._GRACE < 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_without_a_card_it_stops_with_a_sentence(tmp_path):
    done = run("--out", tmp_path / "none")
    assert done.returncode == 2
    assert "finds no CUDA GPU" in done.stderr
    assert "--device cpu is a tiny trial" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--sections", "attention,bach"), "there is no section bach: choose of correctness, attention"),
        (("--budget", "0"), "expected minutes above 0"),
        (("--device", "cpu", "--comfyui", "nowhere"), "nowhere is not a ComfyUI folder"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, words, told):
    done = run(*words, "--out", tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
