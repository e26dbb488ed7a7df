"""A run that is killed, over and over and at any moment, ends with the weights of an undisturbed one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exo2ego.training.state import checkpoint_files
from support import killed_runs
from support.training import small_wan, write_cache

STEPS = 24
KILLS_ANYWHERE, KILLS_WITHIN_A_CHECKPOINT = 14, 6
RECIPE = f"""
[run]
out = "OUT"
steps = {STEPS}
batch = 2
precision = "fp32"
gradient_checkpointing = false
[model]
base = "tiny_wan.safetensors"
[lora]
rank = 4
alpha = 4.0
dropout = 0.1
[data]
held_out = ["clip_0"]
[optimizer]
lr = 1e-3
warmup = 2
ema = 0.9
[checkpoints]
every = 1
keep = 2
log_every = 1
held_out_every = 8
sample_every = 8
[samples]
steps = 1
cfg = 1.0
"""


@pytest.fixture
def server():
    """Give a function that runs the command in a process, to its end or its death."""
    process = subprocess.Popen(
        [sys.executable, killed_runs.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"

    def run(recipe: Path, at: int | None = None, of: str = "run") -> dict:
        order = {"recipe": str(recipe), "at": at, "of": of, "log": str(recipe.with_suffix(".log"))}
        process.stdin.write(f"{json.dumps(order)}\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield run
    process.stdin.close()
    process.wait()
    process.stdout.close()


def ended(folder: Path) -> dict[str, torch.Tensor]:
    (last,) = [
        path for path in checkpoint_files(folder / "checkpoints") if path.name == f"step-{STEPS:08d}.safetensors"
    ]
    return load_file(last)


def test_twenty_kills_at_random_moments(tmp_path, server):
    """Wherever a process is: in its imports' users, a step, a sample, or half-way through a file."""
    write_cache(tmp_path / "cache")
    save_file(small_wan(), tmp_path / "tiny_wan.safetensors")
    for out in ("undisturbed", "killed"):
        (tmp_path / f"{out}.toml").write_text(RECIPE.replace("OUT", out))
    whole = server(tmp_path / "undisturbed.toml")
    assert whole["status"] == 0, (tmp_path / "undisturbed.log").read_text()
    start, step = whole["marks"][0], (whole["events"] - whole["marks"][0]) // STEPS
    draw = random.Random(13)
    moments = [(draw.randrange(start + 2 * step), "run") for _ in range(KILLS_ANYWHERE)]
    moments += [(draw.randrange(1, whole["within"]), "checkpoint") for _ in range(KILLS_WITHIN_A_CHECKPOINT)]
    draw.shuffle(moments)
    unfinished = 0
    for at, of in moments:
        assert server(tmp_path / "killed.toml", at, of)["status"] == -signal.SIGKILL
        unfinished += bool(list((tmp_path / "killed" / "checkpoints").glob(".step-*")))
    assert unfinished >= 3, "some were killed while a file was half written"
    assert len(list((tmp_path / "killed").rglob("*"))) > 3, "it came some way"
    assert server(tmp_path / "killed.toml")["status"] == 0, (tmp_path / "killed.log").read_text()
    got, expected = ended(tmp_path / "killed"), ended(tmp_path / "undisturbed")
    assert got.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in got.items())
    assert "resumed from" in (tmp_path / "killed.log").read_text()
    assert not list((tmp_path / "killed" / "checkpoints").glob(".step-*"))
