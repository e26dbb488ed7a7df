"""Two processes with half of each batch, beside one with all of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from exo2ego.training.session import open_trainer
from exo2ego.training.state import checkpoint_files, read_checkpoint
from exo2ego.training.trainer import share_of_step
from support.training import tiny_recipe, write_cache, write_tiny_recipe

ROOT = Path(__file__).resolve().parents[2]
TABLES = {"run": {"steps": 3, "batch": 4, "accumulate": 2}, "checkpoints": {"every": 3}, "optimizer": {"lr": 1e-4}}


@pytest.mark.parametrize("shard", [False, True], ids=["a copy each", "shared"])
def test_two_processes_equal_one(tmp_path, shard):
    write_cache(tmp_path / "cache", count=4)
    open_trainer(tiny_recipe(tmp_path, **TABLES), tmp_path, on_cpu=True).run()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    recipe = tmp_path / "two.toml"
    more = {"run": {**TABLES["run"], "out": "two"}, "checkpoints": {"every": 3, "held_out_every": 3}}
    write_tiny_recipe(recipe, **{**TABLES, **more, "memory": {"shard": shard}})
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(ROOT), "training", "train", str(recipe), "--cpu"],
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(told)
    for line in ("step 3/3: loss ", "step 3: loss of the clips held out "):  # by the main process alone
        assert [lines.count(line) for lines in told] == [1, 0], "\n".join(told)
    one, two = (read_checkpoint(checkpoint_files(tmp_path / out / "checkpoints")[-1]) for out in ("run", "two"))
    for name, value in one.tensors["trained"].items():
        torch.testing.assert_close(two.tensors["trained"][name], value, rtol=0, atol=1e-6)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    recipe = tiny_recipe(tmp_path, run={"batch": 4, "accumulate": 2})
    assert share_of_step(recipe, 2, 1) == [[2], [3]]
    with pytest.raises(ValueError, match=r"batch is 4, of 3 processes .* a multiple of 6"):
        share_of_step(recipe, 3, 0)
