"""From nothing to files that stock loaders take, in small."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from exo2ego.networks.pocket_files import pocket_file
from exo2ego.takes.random_rooms.take import TakeSize
from exo2ego.training.data.cache import ClipCache
from exo2ego.training.data.clips import ClipBatch
from exo2ego.training.pocket import report, retrained, stages
from exo2ego.training.pocket.encode_rooms import decode_unit
from exo2ego.training.pocket.export import read_stock_transformer
from exo2ego.training.pocket.plan import CLIPS, FILES, ROOMS, VAE, PocketPlan
from exo2ego.training.pocket.shown import Shown, ShownMethod, black_prior
from exo2ego.training.pocket.train_transformer import open_training, train_transformer, trained_transformer
from exo2ego.training.pocket.train_vae import VaeTraining
from exo2ego.training.pocket.vae import decode, encode
from exo2ego.training.pocket.vae_file import read_pocket_vae

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
    return PocketPlan(
        tmp_path_factory.mktemp("pocket"),
        n_shards=2,
        n_held_out=1,
        n_still=1,
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
    stages.make_rooms(plan)
    stages.train_vae(plan)
    lines = []
    stages.make_clips(plan, lines.append)
    stages.make_clips(plan, lines.append)
    names = ("rooms_00000", "rooms_00001", "rooms_05000", "rooms_10000")
    assert lines == [f"{name}: {count} clips" for count in (1, 0) for name in names]
    assert {entry.layout.frames for entry in ClipCache(plan.folder / "clips").entries.values()} == {1, 2, 13}
    trainer = open_training(plan)
    assert trainer.cache.held_out == ("rooms_00000-00",)
    assert all(name in trainer.cache.held_out or not name.startswith("rooms_00000") for name in trainer.cache.entries)
    assert train_transformer(plan, lambda line: None) == "done: 2 steps"

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


def test_exported_files_are_read_back(plan):
    """As they were trained, but for half precision; latents have the exported scale, pictures stay."""
    folder = plan.folder / FILES
    trained = trained_transformer(plan.recipe())[0].state_dict()
    read = read_stock_transformer(pocket_file("diffusion_models", folder), plan.recipe().new)
    for name, value in read.named_parameters():
        if "text_embedder" not in name and "image_embedder" not in name and ".attn2." not in name:
            assert torch.equal(value, trained[name].half().float()), name
    (vae, scale), (own, of_own) = read_pocket_vae(pocket_file("vae", folder)), stages.trained_vae(plan)
    video = torch.rand(1, 3, 5, 64, 64) * 2 - 1
    one, other = (measured.unit(encode(model, video)) for model, measured in ((vae, scale), (own, of_own)))
    assert (one - other).abs().max() < 0.02 * other.std()
    pictures = decode_unit(vae, scale, one), decode_unit(own, of_own, other)
    assert (pictures[0] - pictures[1]).abs().max() < 0.02


def test_trainings_that_begin_at_another_model(plan, tmp_path):
    """VAE and transformer begin as the files of the start, which stay; what was trained goes on from its checkpoint."""
    files = plan.folder / FILES
    other = replace(plan, folder=tmp_path, start=files)
    for name in (ROOMS, CLIPS):
        (tmp_path / name).symlink_to(plan.folder / name)
    stored = pocket_file("diffusion_models", files).read_bytes()
    began = open_training(other).parameters
    trained = trained_transformer(plan.recipe())[0].state_dict()
    for name, value in began.items():
        assert torch.equal(value, trained[name.removeprefix("transformer.")].half().float()), name
    assert train_transformer(other, lambda line: None) == "done: 2 steps"
    gone_on = open_training(other)
    assert gone_on.step == 2
    assert any(not torch.equal(value, began[name]) for name, value in gone_on.parameters.items())
    assert pocket_file("diffusion_models", files).read_bytes() == stored

    training = VaeTraining(other.vae_recipe(), tmp_path / ROOMS, tmp_path / VAE)
    video = torch.rand(1, 3, 5, 64, 64) * 2 - 1
    vae, scale = read_pocket_vae(pocket_file("vae", files))
    expected = scale.unit(encode(vae, video))
    with torch.no_grad():
        assert (encode(training.vae, video) - expected).abs().max() < 1e-2 * expected.std()
        picture = decode(training.vae, expected)
    assert (picture - decode(vae, encode(vae, video))).abs().max() < 1e-2
    stages.train_vae(replace(other, encoder_steps=0))  # the decoder alone: what reads the latents finds them as before
    own, of_own = stages.trained_vae(other)
    assert (of_own.unit(encode(own, video)) - expected).abs().max() < 1e-2 * expected.std()
    with torch.no_grad():
        assert (decode(own, expected) - picture).abs().max() > 1e-2


def test_at_last_clips_of_one_frame_are_left_out(plan):
    steps, first = 40, 34
    trainer = open_training(replace(plan, steps=steps))
    names = [trainer.order.of_step(step) for step in range(steps)]
    frames = [{trainer.cache.entries[name].layout.frames for name in several} for several in names]
    assert {1} in frames[:first]
    assert {1} not in frames[first:]
    assert {2} in frames[first:]
    assert {13} in frames[first:]


def test_where_nothing_was_trained_the_own_files_are_taken(tmp_path):
    empty = PocketPlan(tmp_path)
    vae, scale = stages.trained_vae(empty)
    assert vae.config.base_dim == 16
    assert scale.mean.tolist() == pytest.approx(vae.config.latents_mean)
    with pytest.raises(ValueError, match="run the stage rooms first"):
        report.score(empty)


def test_a_training_is_left_in_time(plan):
    """Of a plan whose time is over the training writes a checkpoint and ends."""
    over = replace(plan, steps=100_000, until=1.0)
    assert "as asked" in train_transformer(over, lambda line: None)


def test_trainings_without_a_part_of_the_method(plan):
    """Each variant starts from the same numbers, is shown what it should be, and has its row in the table."""
    lines = []
    short = replace(plan, retrained_steps=1)
    retrained.train_variants(short, lines.append)
    assert [line for line in lines if line.endswith(": done: 1 steps")] == [
        f"{name}: done: 1 steps" for name in ("full", "no GGA", "no prior", "noisy exo")
    ]
    table = retrained.score_variants(short)
    names = [line.split(" | ")[0].removeprefix("| ") for line in table[2:]]
    assert names[:5] == ["full", "no GGA", "GGA only at inference", "no prior", "noisy exo"]
    assert (plan.folder / "files" / "retrained.md").read_text().splitlines() == table


@pytest.mark.parametrize("shown", list(Shown))
def test_what_a_training_is_shown(plan, shown):
    vae, scale = stages.trained_vae(plan)
    method = ShownMethod(plan.recipe(), shown, partial(black_prior, vae, scale))
    cache = ClipCache(plan.folder / "clips")
    clips = ClipBatch.of([cache.read(f"rooms_0000{number}-00") for number in range(2)])
    levels = torch.tensor([0.25, 1.0])
    seen, again = (method.shows(clips, levels, (0.1, 0.6)) for _ in range(2))
    assert torch.equal(seen.ego, clips.ego)
    assert torch.equal(seen.exo, again.exo)
    assert torch.equal(seen.prior, clips.prior) == (shown is not Shown.NO_PRIOR)
    assert torch.equal(seen.exo, clips.exo) == (shown is not Shown.NOISY_EXO)
    if shown is Shown.NO_PRIOR:
        latent = vae._encode(torch.full((1, 3, 5, 128, 128), -1.0))[:, :16]
        mean, std = (part.view(1, -1, 1, 1, 1) for part in scale)
        assert torch.allclose(seen.prior, ((latent - mean) / std).expand_as(seen.prior), atol=1e-5)
    if shown is Shown.NOISY_EXO:
        noise = (seen.exo[0] - 0.75 * clips.exo[0]) / 0.25
        assert noise.std() == pytest.approx(1, abs=0.05)
        assert seen.exo[1].std() == pytest.approx(1, abs=0.05)  # nothing but noise
        assert (noise * seen.exo[1]).mean().abs() < 0.05
