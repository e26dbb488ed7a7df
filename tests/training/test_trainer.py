"""The training loop: it learns, it goes on where it was, and it stops before it spoils anything."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from exo2ego.takes.video import read_video
from exo2ego.training.data.cache import ClipCache, write_shard
from exo2ego.training.data.decoder import load_decoder
from exo2ego.training.network.lora import lora_factors
from exo2ego.training.recipe import OptimizerSettings
from exo2ego.training.session import build_network, open_trainer, train
from exo2ego.training.state import checkpoint_files, read_checkpoint
from exo2ego.training.trainer import TrainingFailedError, learning_rate
from support.egox_witness import MEAN, STD
from support.tiny_pipeline import tiny_vae
from support.tiny_vae import vae_state_dict
from support.training import IMAGE_WIDTH, TEXT_WIDTH, small_clip, tiny_recipe, write_cache


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


@contextmanager
def full_disk():
    """No file may grow beyond a kilobyte; TensorBoard's and logs' are smaller or elsewhere."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_nothing(undisturbed):
    recipe, expected = undisturbed
    recipe = replace(recipe, run=replace(recipe.run, out=recipe.run.out.with_name("full")))
    opened(replace(recipe, run=replace(recipe.run, steps=2))).run()
    trainer = opened(recipe)
    before = state(trainer)
    message = r"After step 4 a file of the run could not be written: .*arge.* the last good state is .*step-00000002"
    with full_disk(), pytest.raises(TrainingFailedError, match=message):
        trainer.run()
    assert [path.name for path in trainer.folder.iterdir()] == ["step-00000002.safetensors"]
    assert_bit_equal(state(trainer), before)
    assert_bit_equal(state(finished(recipe)), expected)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda whole: b""], ids=["truncated", "empty"])
def test_a_damaged_checkpoint_is_left_out(undisturbed, caplog, damage):
    """The one before it is taken, which is told, and kept until there is a newer one that is whole."""
    recipe, expected = undisturbed
    recipe = replace(recipe, run=replace(recipe.run, out=recipe.run.out.with_name("damaged")))
    recipe = replace(recipe, checkpoints=replace(recipe.checkpoints, every=1, keep=1))
    short = replace(recipe, run=replace(recipe.run, steps=4), checkpoints=replace(recipe.checkpoints, keep=3))
    _, *damaged = checkpoint_files(finished(short).folder)
    for path in damaged:
        path.write_bytes(damage(path.read_bytes()))
    trainer = opened(replace(recipe, run=replace(recipe.run, steps=3)))
    assert trainer.step == 2
    told = [line for line in caplog.messages if "It is left out: step-00000002.safetensors is taken" in line]
    assert [path.name in line for path, line in zip(damaged[::-1], told)] == [True, True]
    trainer.run()
    assert opened(recipe).step == 3
    assert_bit_equal(state(finished(recipe)), expected)


def test_checkpoints_that_are_all_damaged_are_no_reason_to_begin_anew(folder):
    recipe = tiny_recipe(folder, run={"steps": 4})
    files = checkpoint_files(finished(recipe).folder)
    for path in files:
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"None of the 2 checkpoints in .* can be read"):
        opened(recipe)
    assert checkpoint_files(recipe.run.out / "checkpoints") == files


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
    assert {name for step in range(8) for name in trainer.order.of_step(step)} == {"clip_0"}


def events_of(recipe):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(recipe.run.out / "tensorboard"))
    events.Reload()
    return events


def test_curves_and_samples(folder):
    """Latents, video, sheet and TensorBoard's image of the clip held out, decoded by a VAE in ComfyUI's names."""
    save_file(vae_state_dict(), folder / "wan_vae.safetensors")
    settings = {"vae": str(folder / "wan_vae.safetensors")}
    recipe = tiny_recipe(
        folder, run={"steps": 2}, checkpoints={"sample_every": 2, "held_out_every": 2}, samples=settings
    )
    lines = []
    assert train(opened(recipe), lines.append) == "done: 2 steps"
    assert lines[-1].startswith("step 2: loss of the clips held out")
    samples = recipe.run.out / "samples" / "step-00000002"
    assert {path.name for path in samples.iterdir()} == {"clip_0.safetensors", "clip_0.mp4", "clip_0.png"}
    latents = load_file(samples / "clip_0.safetensors")
    clip = small_clip(0)
    for kind, expected in (("exo", clip.exo), ("prior", clip.prior), ("truth", clip.ego)):
        assert torch.equal(latents[kind][0], expected)
    network = tiny_vae()
    views = []
    for kind in ("exo", "prior", "ego", "truth"):
        scaled = latents[kind] * torch.tensor(STD).view(16, 1, 1, 1) + torch.tensor(MEAN).view(16, 1, 1, 1)
        with torch.no_grad():
            pixels = network.decode(scaled).sample.clamp(-1, 1)[0]
        views.append(pixels.permute(1, 2, 3, 0) / 2 + 0.5)
    video, _ = read_video(samples / "clip_0.mp4")
    assert tuple(video.shape) == (5, 32, 4 * 32, 3)

    def off(order):
        """Of means over 4 x 4 pixels, which the halved chroma leaves alone."""
        difference = video - torch.cat([views[place] for place in order], dim=2)
        return torch.nn.functional.avg_pool2d(difference.movedim(-1, 1), 4).abs().mean()

    assert 4 * off((0, 1, 2, 3)) < min(off((0, 1, 3, 2)), off((1, 0, 2, 3)))
    events = events_of(recipe)
    assert {"loss", "gradient", "lr", "held out"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    (image,) = events.Images("samples/clip_0")
    assert (image.step, image.height) == (2, Image.open(samples / "clip_0.png").height)


def test_samples_without_a_vae_are_latents(folder, caplog):
    caplog.set_level("INFO")
    recipe = tiny_recipe(folder, run={"steps": 4}, checkpoints={"sample_every": 2})
    train(opened(recipe), lambda line: None)
    paths = [path.name for path in (recipe.run.out / "samples").rglob("*.*")]
    assert paths == ["clip_0.safetensors"] * 2
    assert len([line for line in caplog.messages if "name a VAE's file as vae under [samples]" in line]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"no file other.safetensors .*wan_2.1_vae.safetensors"),
        ({"a": torch.zeros(1)}, r"not a VAE of Wan: it has no conv2.weight"),
        ({**vae_state_dict(), "conv2.weight": torch.zeros(48, 48, 1, 1, 1)}, "latents of 48 channels"),
        ({"decoder.middle.0.residual.2.bias": None}, "not a whole VAE of Wan 2.1 .*Missing key"),
    ],
    ids=["missing", "other", "wan 2.2", "not whole"],
)
def test_another_vae_is_refused(tmp_path, content, message):
    if None in content.values():
        content = {name: value for name, value in vae_state_dict().items() if name not in content}
    if content:
        save_file(content, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=message):
        load_decoder(tmp_path / "other.safetensors", torch.device("cpu"))


def test_a_pipeline_s_vae_decodes_alike(tmp_path):
    tiny_vae().save_pretrained(tmp_path / "pipeline" / "vae")
    save_file(vae_state_dict(), tmp_path / "comfyui.safetensors")
    latent = small_clip(0).ego
    ours, theirs = (load_decoder(tmp_path / name, torch.device("cpu")) for name in ("comfyui.safetensors", "pipeline"))
    torch.testing.assert_close(ours.video(latent), theirs.video(latent), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="has no vae"):
        load_decoder(tmp_path, torch.device("cpu"))


def test_health(folder):
    """What is said of a LoRA is what its factors and gradients are, and the curve goes on where the run does."""
    recipe = tiny_recipe(
        folder,
        run={"steps": 4},
        lora={"targets": ["self_attn.q", "ffn.0"], "patch_embedding": True},
        checkpoints={"held_out_every": 2, "every": 2},
    )
    trainer = opened(recipe)
    assert len(trainer.health().dead) == 2 * 2 + 1, "no factor up has moved yet"
    losses = []

    def fail(report):
        losses.append(report.loss)
        squares = sum(norm**2 for norm in report.gradients.values())
        assert squares**0.5 == pytest.approx(report.gradient, rel=1e-4)
        assert set(report.gradients) == {"self_attn.q", "ffn.0", "patch_embedding"}

    trainer.run(fail)
    with torch.no_grad():
        trainer.network.transformer.blocks[1].attn1.to_q.lora_B["default"].weight.zero_()
    state = trainer.health()
    assert state.dead == ("blocks.1.self_attn.q",)
    layer = trainer.network.transformer.patch_embedding
    update = layer.get_delta_weight("default")
    assert state.shares["patch_embedding"] == pytest.approx(
        float((update.norm() / layer.base_layer.weight.norm()).detach())
    )
    assert state.by_group()["self_attn.q"] == pytest.approx(state.shares["blocks.0.self_attn.q"] / 2)
    other = replace(recipe, run=replace(recipe.run, out=recipe.run.out.with_name("other")))
    train(opened(replace(other, run=replace(other.run, steps=2))), lambda line: None)
    trainer = finished(other)
    told = json.loads((other.run.out / "health.json").read_text())
    assert [point["step"] for point in told["curve"]] == [2, 4]
    for point, expected in zip(told["curve"], (losses[:2], losses[2:])):
        assert point["loss"] == pytest.approx(sum(expected) / 2)
    assert told["curve"][-1]["held_out"] == pytest.approx(trainer.held_out_loss())
    assert told["updates_by_layer"] == pytest.approx(trainer.health().shares)
    assert told["dead"] == []
    events = events_of(other)
    shown = {f"{kind}/{group}" for kind in ("updates", "gradients") for group in told["updates"]}
    assert {"dead layers", *shown} <= set(events.Tags()["scalars"])
    assert events.Scalars("gradients/ffn.0")[-1].value == pytest.approx(told["gradients"]["ffn.0"])


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
