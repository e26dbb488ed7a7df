"""The pocket VAE: what is trained is what the stock loaders decode."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exo2ego.training.pocket.train_vae import VaeRecipe, VaeTraining
from exo2ego.training.pocket.vae import decode, encode, pocket_vae
from exo2ego.training.pocket.vae_file import wan_name, wan_state_dict
from support.tiny_vae import vae_state_dict

BASE = 4


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return pocket_vae(BASE).eval().requires_grad_(False)


def test_the_names_are_wan_s(vae):
    stock = {name: tuple(tensor.shape) for name, tensor in vae_state_dict(width=BASE).items()}
    ours = {wan_name(name): tuple(tensor.shape) for name, tensor in vae.state_dict().items()}
    assert ours == stock


def test_one_frame_at_a_time_is_the_same_network(vae):
    """diffusers' own forward pass over the same weights, in three dimensions, gives the same."""
    from diffusers import AutoencoderKLWan

    plain = AutoencoderKLWan(base_dim=BASE).eval()
    plain.load_state_dict(vae.state_dict())
    frames = torch.rand(1, 3, 5, 32, 48) * 2 - 1
    with torch.no_grad():
        expected = plain.encode(frames).latent_dist.mean
        got = encode(vae, frames)
        assert got.shape == (1, 16, 2, 4, 6)
        assert torch.allclose(got, expected, atol=1e-5)
        shown = decode(vae, got)
        assert shown.shape == frames.shape
        assert torch.allclose(shown.clamp(-1, 1), plain.decode(got).sample, atol=1e-5)


def test_latents_of_the_file_have_wan_s_scale_and_decode_to_the_same(vae):
    from diffusers import AutoencoderKLWan

    config = AutoencoderKLWan(base_dim=BASE).config
    like = {"mean": torch.tensor(config.latents_mean), "std": torch.tensor(config.latents_std)}
    frames = torch.rand(2, 3, 5, 32, 32) * 2 - 1
    latent = encode(vae, frames)
    mean, std = latent.mean(dim=(0, 2, 3, 4)), latent.std(dim=(0, 2, 3, 4))
    stored = wan_state_dict(vae.state_dict(), mean, std, like)

    back = {wan_name(name): name for name in vae.state_dict()}
    loaded = AutoencoderKLWan(base_dim=BASE).eval()
    loaded.load_state_dict({back[name]: tensor for name, tensor in stored.items()})
    with torch.no_grad():
        scaled = loaded.encode(frames).latent_dist.mean
        unit = (scaled - like["mean"][:, None, None, None]) / like["std"][:, None, None, None]
        assert unit.mean(dim=(0, 2, 3, 4)).abs().max() < 1e-4
        assert (unit.std(dim=(0, 2, 3, 4)) - 1).abs().max() < 1e-4
        assert torch.allclose(loaded.decode(scaled).sample, decode(vae, latent).clamp(-1, 1), atol=1e-4)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two small shards of smooth random clips, in the form of rooms'."""
    folder, random = tmp_path_factory.mktemp("rooms"), np.random.default_rng(0)
    for number in range(2):
        coarse = random.integers(0, 255, (3, 5, 4, 4, 3), dtype=np.uint8).repeat(16, axis=2).repeat(16, axis=3)
        np.savez(folder / f"rooms_{number:05d}.npz", exo=coarse, prior=coarse, truth=coarse)
    return folder


RECIPE = VaeRecipe(steps=12, images=2, clips=1, crop=32, last_crop=32)


def test_it_learns(shards, tmp_path):
    recipe = replace(RECIPE, steps=40)
    training = VaeTraining(recipe, shards, tmp_path / "vae.pt", base_channels=BASE)
    before = training.measure(1)
    training.run()
    after = training.measure(1)
    assert all(after[view] > before[view] for view in before)


def test_a_training_that_was_left_ends_as_one_that_was_not(shards, tmp_path):
    whole = VaeTraining(RECIPE, shards, tmp_path / "whole.pt", base_channels=BASE)
    whole.run()
    first = VaeTraining(RECIPE, shards, tmp_path / "parts.pt", base_channels=BASE)
    for _ in range(5):
        first.train_step()
    first.save()
    second = VaeTraining(RECIPE, shards, tmp_path / "parts.pt", base_channels=BASE)
    assert second.step == 5
    second.run()
    for name, tensor in whole.vae.state_dict().items():
        assert torch.equal(tensor, second.vae.state_dict()[name]), name
    assert all(torch.equal(whole.average[name], second.average[name]) for name in whole.average)


def test_rooms_of_one_frame_alone_are_refused(shards, tmp_path):
    for path in sorted(shards.iterdir()):
        with np.load(path) as arrays:
            np.savez(tmp_path / path.name, **{name: value[:, :1] for name, value in arrays.items()})
    training = VaeTraining(RECIPE, tmp_path, tmp_path / "vae.pt", base_channels=BASE)
    with pytest.raises(ValueError, match=r"and all in .* are of one, but for the 1 shards held out"):
        training.train_step()


def test_clips_teach_every_tap(shards, tmp_path):
    """Of the past, too, however long a video is: what has not learnt is noise."""
    training = VaeTraining(RECIPE, shards, tmp_path / "vae.pt", base_channels=BASE)
    mixing = {
        name: value
        for name, value in training.vae.named_parameters()
        if value.requires_grad and value.ndim == 5 and value.shape[2] == 3 and value[:, :, 0].any()
    }
    before = {name: value.detach().clone() for name, value in mixing.items()}
    assert any(name.startswith("encoder.") for name in mixing)
    assert any(name.endswith("time_conv.weight") for name in mixing)
    training.run()
    for name, value in mixing.items():
        assert ((value - before[name]).abs().amax(dim=(0, 1, 3, 4)) > 0).all(), name
