"""Optimizers beside AdamW: what they do, what they keep, and that a run goes on with them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
import torch

from exo2ego.training.memory.optimizers import is_matrix, optimizer_of, state_bytes
from exo2ego.training.muon import Muon
from exo2ego.training.session import open_trainer
from exo2ego.training.state import checkpoint_files, read_checkpoint
from support.training import IMAGE_WIDTH, TEXT_WIDTH, tiny_recipe, write_cache

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
SETTINGS = {"lr": 0.02, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}


def recipe_of(folder, method, out):
    tables = {"optimizer": {"method": method, "lr": 1e-3}, "run": {"out": out, "steps": 4}}
    if method == "muon":
        tables["model"] = {"trained": "all"}
        tables["new"] = {"width": 128, "ffn": 64, "blocks": 1, "text": TEXT_WIDTH, "image": IMAGE_WIDTH}
    recipe = tiny_recipe(folder, **tables)
    return replace(recipe, model=replace(recipe.model, base=None)) if method == "muon" else recipe


def test_muon_takes_the_matrices_of_blocks_and_adamw_the_rest():
    """Beside the two optimizers, each on its own parameters."""
    torch.manual_seed(0)
    names = ("blocks.0.ffn.weight", "blocks.0.ffn.bias", "head.weight")
    values = {name: torch.randn(6, 4) if name.endswith("weight") else torch.randn(6) for name in names}
    ours, theirs = ({name: torch.nn.Parameter(values[name].clone()) for name in names} for _ in range(2))
    optimizer = optimizer_of(
        "muon", [{"params": list(ours.values())}], {value: name for name, value in ours.items()}, **SETTINGS
    )
    muon = Muon([theirs[names[0]]], 0.02, weight_decay=0.1, as_adamw=True)
    adamw = torch.optim.AdamW([theirs[names[1]], theirs[names[2]]], 0.02, (0.9, 0.95), 1e-8, 0.1)
    for step in range(3):
        for name in names:
            ours[name].grad = theirs[name].grad = torch.randn(values[name].shape)
        for group in (*optimizer.param_groups, *muon.param_groups, *adamw.param_groups):
            group["lr"] = 0.02 / (1 + step)  # as the trainer sets it
        for one in (optimizer, muon, adamw):
            one.step()
    assert all(torch.equal(ours[name], theirs[name]) for name in names)
    assert not torch.equal(ours[names[0]], values[names[0]])
    assert set(optimizer.state[ours[names[0]]]) == {"momentum_buffer"}


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (8, 8)])
@pytest.mark.parametrize(("as_adamw", "theirs"), [(True, "match_rms_adamw"), (False, "original")])
def test_muon_is_that_of_torch(shape, as_adamw, theirs):
    """Bit by bit in bfloat16, in which torch's iterates; and in float32 as near as bfloat16 is to it."""
    torch.manual_seed(0)
    start, gradients = torch.randn(shape), torch.randn(3, *shape)
    optimizers = {
        "torch": lambda values: torch.optim.Muon(values, 0.02, 0.1, adjust_lr_fn=theirs),
        "bfloat16": lambda values: Muon(values, 0.02, weight_decay=0.1, as_adamw=as_adamw, dtype=torch.bfloat16),
        "float32": lambda values: Muon(values, 0.02, weight_decay=0.1, as_adamw=as_adamw, dtype=torch.float32),
    }
    ends = {}
    for name, make in optimizers.items():
        parameter = torch.nn.Parameter(start.clone())
        optimizer = make([parameter])
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        ends[name] = parameter.detach()
    assert torch.equal(ends["bfloat16"], ends["torch"])
    moved = (ends["torch"] - start).norm()
    assert (ends["float32"] - ends["torch"]).norm() < 0.05 * moved


@pytest.mark.parametrize(
    "method",
    ["adamw", "muon", pytest.param("adamw 8-bit", marks=pytest.mark.skipif(not HAS_BITSANDBYTES, reason="no library"))],
)
def test_a_run_goes_on_and_keeps_what_is_planned(tmp_path, method):
    """To the weights of an undisturbed run, bit by bit; and the state's bytes are those that the plan counts."""
    write_cache(tmp_path / "cache")
    whole = open_trainer(recipe_of(tmp_path, method, "whole"), tmp_path, on_cpu=True)
    whole.run()
    recipe = recipe_of(tmp_path, method, "stopped")

    def stop(report):
        trainer.stop_asked = report.step == 2

    trainer = open_trainer(recipe, tmp_path, on_cpu=True)
    trainer.run(stop)
    trainer = open_trainer(recipe, tmp_path, on_cpu=True)
    assert trainer.step == 2
    trainer.run()
    ends = [read_checkpoint(checkpoint_files(one.folder)[-1]).tensors for one in (whole, trainer)]
    for kind, tensors in ends[0].items():
        for name, value in tensors.items():
            assert torch.equal(ends[1][kind][name], value), name
    beside = ("step", "qmap1", "qmap2")  # a number for each parameter, and tables that all share
    kept = [tensor for state in trainer.optimizer.state.values() for key, tensor in state.items() if key not in beside]
    assert sum(tensor.nbytes for tensor in kept) == state_bytes(method, trainer.parameters.items())
    if method == "muon":
        matrices = [name for name, value in trainer.parameters.items() if is_matrix(name, value)]
        assert len(matrices) == 4 + 6 + 2


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[optimizer\]: muon is for whole matrices"):
        tiny_recipe(tmp_path, optimizer={"method": "muon"})
    if not HAS_BITSANDBYTES:
        write_cache(tmp_path / "cache")
        with pytest.raises(ValueError, match=r'method = "adamw 8-bit" is that of bitsandbytes.*pip install'):
            open_trainer(tiny_recipe(tmp_path, optimizer={"method": "adamw 8-bit"}), tmp_path, on_cpu=True)
