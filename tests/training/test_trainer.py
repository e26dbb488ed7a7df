"""The training loop: it learns, it goes on where it was, and it stops before it spoils anything."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from exo2ego.training.data.cache import ClipCache, write_shard
from exo2ego.training.network.lora import lora_factors
from exo2ego.training.recipe import OptimizerSettings
from exo2ego.training.session import build_network, open_trainer, train
from exo2ego.training.state import checkpoint_files, read_checkpoint
from exo2ego.training.trainer import TrainingFailedError, learning_rate
from support.training import IMAGE_WIDTH, TEXT_WIDTH, small_clip, tiny_recipe, write_cache

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    write_cache(tmp_path / "cache")
    return tmp_path


def opened(recipe):
    return open_trainer(recipe, recipe.data.cache.parent, on_cpu=True)


def finished(recipe):
    trainer = opened(recipe)
    train(trainer, lambda line: None)
    return trainer


def state(trainer):
    checkpoint = read_checkpoint(checkpoint_files(trainer.folder)[-1])
    return {f"{kind}.{name}": value for kind, some in checkpoint.tensors.items() for name, value in some.items()}


def assert_bit_equal(got, expected):
    assert got.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in got.items())


@pytest.fixture
def undisturbed(folder):
    recipe = tiny_recipe(folder, run={"out": "undisturbed"}, optimizer={"ema": 0.9}, lora={"dropout": 0.1})
    return recipe, state(finished(recipe))


def test_it_moves_every_factor_and_nothing_else(folder):
    recipe = tiny_recipe(folder)
    before = {name: value.clone() for name, value in build_network(recipe).named_parameters()}
    trainer = finished(recipe)
    for name, value in trainer._bare.named_parameters():
        assert torch.equal(value, before[name]) != ("lora_" in name), name
    assert len(trainer.parameters) == len(lora_factors(trainer._bare.transformer)) == 32


def test_one_clip_is_learnt(tmp_path):
    """To less than a tenth of the loss at the start, by an untrained transformer, all of whose weights train."""
    write_shard(tmp_path / "cache", {"only": (small_clip(0, frames=1), {})})
    recipe = tiny_recipe(
        tmp_path,
        run={"steps": 70, "batch": 4},
        model={"trained": "all"},
        new={"width": 128, "ffn": 128, "blocks": 1, "text": TEXT_WIDTH, "image": IMAGE_WIDTH},
        data={"held_out": []},
        noise={"lowest": 0.9},
        optimizer={"lr": 1e-2, "warmup": 5, "weight_decay": 0.0, "schedule": "cosine"},
        checkpoints={"every": 1000},
    )
    trainer = opened(replace(recipe, model=replace(recipe.model, base=None)))
    assert len(trainer.parameters) == len(list(trainer._bare.parameters()))
    losses = []
    trainer.run(lambda report: losses.append(report.loss))
    assert min(losses[-5:]) < 0.1 * losses[0], losses


@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_a_run_that_fails_goes_on_to_the_same_weights(undisturbed, killed_after):
    """Bit by bit, moving average, optimizer and dropout included; what came after the last checkpoint is done again."""
    recipe, expected = undisturbed
    recipe = replace(recipe, run=replace(recipe.run, out=recipe.run.out.with_name("disturbed")))

    def fail(report):
        if report.step == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(recipe).run(fail)
    assert opened(recipe).step == killed_after // 2 * 2
    assert_bit_equal(state(finished(recipe)), expected)


def test_a_process_that_is_killed_goes_on_to_the_same_weights(undisturbed):
    recipe, expected = undisturbed
    folder = recipe.run.out.parent
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'tools')!r}, {str(ROOT / 'tests')!r}]; import pack; pack.register()\n"
        f"from pathlib import Path\nfrom support.training import tiny_recipe\n"
        "from exo2ego.training.session import open_trainer\n"
        f"recipe = tiny_recipe(Path({str(folder)!r}), run={{'out': 'killed', 'steps': 6}}, optimizer={{'ema': 0.9}}, "
        "lora={'dropout': 0.1}, checkpoints={'every': 1})\n"
        "open_trainer(recipe, Path(), on_cpu=True).run(lambda report: print('step', report.step, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step 3"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    assert process.returncode == -signal.SIGKILL
    recipe = replace(recipe, run=replace(recipe.run, out=folder / "killed"))
    trainer = opened(recipe)
    assert 2 <= trainer.step < 6
    assert_bit_equal(state(finished(recipe)), expected)


def test_accumulated_batches_give_one_batch_s_weights(folder):
    slow = {"lr": 1e-4}  # AdamW makes of the rounding of the smallest gradients a share of its rate
    whole = finished(tiny_recipe(folder, run={"out": "whole"}, optimizer=slow))
    parts = finished(tiny_recipe(folder, run={"out": "parts", "accumulate": 2}, optimizer=slow))
    for name, value in whole.parameters.items():
        torch.testing.assert_close(parts.parameters[name], value, rtol=0, atol=1e-6)


def test_the_newest_checkpoints_stay(folder):
    trainer = finished(tiny_recipe(folder, checkpoints={"every": 1, "keep": 2}))
    assert [path.name for path in sorted(trainer.folder.iterdir())] == [
        "step-00000005.safetensors",
        "step-00000006.safetensors",
    ]


def test_a_stop_file_ends_the_run_and_it_goes_on(folder):
    recipe = tiny_recipe(folder)
    trainer = opened(recipe)

    def ask(report):
        if report.step == 3:
            (recipe.run.out / "stop").touch()

    assert trainer.run(ask).startswith("stopped after step 3")
    assert not (recipe.run.out / "stop").exists()
    again = opened(recipe)
    assert again.step == 3
    assert again.run() == "done: 6 steps"


def test_a_clip_that_is_not_finite_stops_the_run_by_name(folder):
    recipe = tiny_recipe(folder)
    finished(replace(recipe, run=replace(recipe.run, steps=2)))
    broken = small_clip(2)
    broken.prior[0, 0, 0, 0] = float("nan")
    write_shard(folder / "cache", {"clip_2": (broken, {})})
    before = state(opened(recipe))
    with pytest.raises(TrainingFailedError, match=r"clip clip_2 .* not finite: .*last good state is .*step-00000002"):
        opened(recipe).run()
    assert_bit_equal(state(opened(recipe)), before)


def test_a_loss_that_is_not_finite_stops_the_run(folder):
    trainer = opened(tiny_recipe(folder))
    with torch.no_grad():
        next(iter(trainer.parameters.values())).fill_(float("inf"))
    with pytest.raises(TrainingFailedError, match=r"take a lower lr.*there is no checkpoint yet"):
        trainer.run()
    assert checkpoint_files(trainer.folder) == []


def test_another_training_in_the_folder_is_refused(folder):
    finished(tiny_recipe(folder, run={"steps": 2}))
    with pytest.raises(ValueError, match=r"\[lora\] rank = 4, and the recipe says 8: choose another folder"):
        opened(tiny_recipe(folder, lora={"rank": 8}))


def test_the_loss_of_what_is_held_out_is_of_the_moving_average(folder):
    recipe = tiny_recipe(folder, optimizer={"ema": 0.9, "lr": 1e-2})
    trainer = finished(recipe)
    mine = {name: value.detach().clone() for name, value in trainer.parameters.items()}
    first = trainer.held_out_loss()
    assert first == trainer.held_out_loss()
    assert_bit_equal({name: value.detach() for name, value in trainer.parameters.items()}, mine)
    with trainer.best():
        averaged = {name: value.detach().clone() for name, value in trainer.parameters.items()}
    assert_bit_equal(averaged, trainer.average)
    trainer.average = {}
    assert trainer.held_out_loss() != first


def test_what_is_held_out_is_not_trained_on(folder):
    trainer = opened(tiny_recipe(folder, data={"held_out": ["clip_1", "clip_2"]}))
    assert {name for step in range(8) for name in trainer._order.of_step(step)} == {"clip_0"}


def test_curves_and_samples(folder):
    recipe = tiny_recipe(folder, run={"steps": 2}, checkpoints={"sample_every": 2, "held_out_every": 2})
    lines = []
    assert train(opened(recipe), lines.append) == "done: 2 steps"
    assert lines[-1].startswith("step 2: loss of the clips held out")
    assert (recipe.run.out / "samples" / "step-00000002" / "clip_0.safetensors").is_file()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(recipe.run.out / "tensorboard"))
    events.Reload()
    assert {"loss", "gradient", "lr", "held_out"} <= {tag.replace(" ", "_") for tag in events.Tags()["scalars"]}
    assert [event.step for event in events.Scalars("loss")] == [1, 2]


def test_learning_rates():
    settings = OptimizerSettings(lr=1.0, warmup=4)
    assert [learning_rate(settings, step, 10) for step in (0, 1, 3, 4, 9)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    cosine = replace(settings, schedule="cosine")
    assert learning_rate(cosine, 4, 10) == 1.0
    assert learning_rate(cosine, 7, 10) == pytest.approx(0.5)


def test_a_damaged_shard_is_named(folder):
    shard = ClipCache(folder / "cache").entries["clip_1"].shard
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{shard.name} is truncated or corrupt .*training cache"):
        opened(tiny_recipe(folder))
