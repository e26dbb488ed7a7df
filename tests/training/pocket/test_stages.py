"""From nothing to files that stock loaders take, in small."""

import pytest
import torch
from safetensors.torch import load_file

from exo2ego.takes.random_rooms.take import TakeSize
from exo2ego.training.data.cache import ClipCache
from exo2ego.training.pocket import stages

SIZE = TakeSize(5, 128, 128, 128)


@pytest.fixture(autouse=True)
def own_precision():
    """A process has one precision in accelerate; the trainings of other tests have another."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return stages.PocketPlan(
        tmp_path_factory.mktemp("pocket"),
        n_shards=2,
        n_long=1,
        per_shard=1,
        size=SIZE,
        vae_steps=2,
        steps=2,
        batch=2,
        width=128,
        ffn=128,
        blocks=1,
    )


def test_all_stages(plan):
    with pytest.raises(ValueError, match="run the stage vae first"):
        stages.make_clips(plan)
    stages.make_rooms(plan)
    stages.train_vae(plan)
    lines = []
    stages.make_clips(plan, lines.append)
    stages.make_clips(plan, lines.append)
    # A clip and two of its frames, each mirrored, too; the second time there is nothing to do.
    names = ("rooms_00000", "rooms_00001", "rooms_10000")
    assert lines == [f"{name}: {count} clips" for count in (6, 0) for name in names]
    assert {entry.layout.frames for entry in ClipCache(plan.folder / "clips").entries.values()} == {1, 2, 13}
    trainer = stages.open_training(plan)
    assert trainer.cache.held_out == ("rooms_00000-00",)
    assert all(name in trainer.cache.held_out or not name.startswith("rooms_00000") for name in trainer.cache.entries)
    assert stages.train_transformer(plan, lambda line: None) == "done: 2 steps"

    import comfy.sd

    vae_file, transformer_file = stages.export(plan)
    vae = comfy.sd.VAE(sd=load_file(vae_file))
    latent = vae.encode(torch.rand(5, 128, 128, 3))
    assert latent.shape == (1, 16, 2, 16, 16)
    assert torch.isfinite(vae.decode(latent)).all()
    weights = load_file(transformer_file)
    small = [value for value in weights.values() if value.dtype == torch.float8_e4m3fn]
    assert sum(value.numel() for value in small) < 0.5 * sum(value.numel() for value in weights.values())
    assert small
    assert not any(value.float().any() for value in small)
    model = comfy.sd.load_diffusion_model(str(transformer_file))
    assert model.model.get_dtype() != torch.float8_e4m3fn
    assert type(model.model).__name__ == "WAN21"
    assert model.model.model_config.unet_config["model_type"] == "i2v"


def test_a_training_is_left_in_time(plan):
    """Of a plan whose time is over the training writes a checkpoint and ends."""
    from dataclasses import replace

    over = replace(plan, steps=100_000, until=1.0)
    assert "as asked" in stages.train_transformer(over, lambda line: None)
