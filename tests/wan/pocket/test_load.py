"""The pocket model's files in ComfyUI's own loaders, and what its MODEL carries."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from exo2ego.networks.components.files import read_component
from exo2ego.networks.components.metadata import Component
from exo2ego.networks.pocket_files import (
    COMPONENTS,
    FOLDERS,
    POCKET,
    TRAINED_ON,
    component_file,
    fingerprint,
    pocket_file,
    without_clip,
)
from exo2ego.wan.egox.conditioning import condition_egox
from exo2ego.wan.egox.trained import TRAINED_KEY
from exo2ego.wan.pocket.load import load_pocket
from exo2ego.wan.shared.base_model import require_wan22_i2v


@pytest.fixture(scope="module")
def pocket():
    return load_pocket()


def test_all_together_are_small():
    assert sum(path.stat().st_size for path in POCKET.rglob("*") if path.is_file()) < 30e6


def test_it_is_a_stock_wan(pocket):
    assert type(pocket.model.model).__name__ == "WAN21"
    assert pocket.model.model.model_config.unet_config["model_type"] == "i2v"
    weights = pocket.model.model.state_dict()
    for name, value in load_file(pocket_file("diffusion_models")).items():
        assert torch.equal(weights[f"diffusion_model.{name}"].float(), value.float()), name


def test_its_vae_brings_a_picture_back(pocket):
    """What it learnt: images of the example room, which it never saw, come back, and so do their colors."""
    from exo2ego.takes.example.room import example_take

    take = example_take(1, exo_width=224, exo_height=128, ego_size=128)
    for view in (take.exo, take.ego_truth):
        latent = pocket.vae.encode(view)
        assert latent.shape == (1, 16, 1, *(side // 8 for side in view.shape[1:3]))
        back = pocket.vae.decode(latent)[0]
        error = (back - view).square().mean(dim=(0, 1, 2))  # by channel
        assert (-10 * error.log10() > 25).all(), error  # dB


def test_a_long_video_comes_back_like_a_picture(pocket):
    """Every frame of it, to the last one: what the decoder keeps of the frames before does not spoil it."""
    from exo2ego.takes.example.room import example_take

    video = example_take(25, exo_width=224, exo_height=128, ego_size=128).exo
    back = pocket.vae.decode(pocket.vae.encode(video))[0]
    error = (back - video).square().mean(dim=(1, 2, 3))  # by frame
    assert (-10 * error.log10() > 25).all(), error  # dB


def test_nobody_is_told_to_bring_image_features_that_it_ignores(pocket):
    from exo2ego.takes.example.room import example_take

    take = example_take(1, exo_width=224, exo_height=128, ego_size=128)
    text = [[pocket.conditioning[0][0], {}]]
    for positive, n_notes in ((pocket.conditioning, 0), (text, 1), ([*text, *pocket.conditioning], 1)):
        made = condition_egox(positive, positive, pocket.vae, take.exo, take.ego_truth)
        assert len([note for note in made.notes if "No CLIP vision model" in note]) == n_notes


def test_its_file_says_how_it_was_trained(pocket):
    with safe_open(pocket_file("diffusion_models"), "pt") as file:
        strings = file.metadata()
    assert strings["format"] == "pt"  # as transformers' loaders want it
    assert (strings["gga"], strings["gga_geometry"], strings["exo_size"]) == ("paper", "physical", "224x128")
    assert pocket.header.ego_size == "128x128"
    (trained,) = pocket.model.get_wrappers("outer_sample", TRAINED_KEY)
    assert trained.header is pocket.header


def test_for_exo2egosyn_it_is_a_wan_22():
    loaded = load_pocket(for_exo2egosyn=True)
    network = require_wan22_i2v(loaded.model)
    assert (network.dim, len(network.blocks)) == (256, 7)
    assert loaded.header is None
    assert not loaded.model.get_wrappers("outer_sample", TRAINED_KEY)  # nothing of EgoX's
    weights = loaded.model.model.state_dict()
    for name, value in without_clip(load_file(pocket_file("diffusion_models"))).items():
        assert torch.equal(weights[f"diffusion_model.{name}"].float(), value.float()), name


@pytest.mark.skipif(not component_file("align").is_file(), reason="the components are not trained yet")
def test_its_components_were_trained_on_it():
    """A newer transformer needs newer components."""
    expected = fingerprint(load_file(pocket_file("diffusion_models")))
    for name in COMPONENTS:
        part = read_component(component_file(name), Component(name))
        assert part.metadata.other[TRAINED_ON] == expected, name


def test_stock_loaders_offer_it(comfy_client):
    info = comfy_client.get("/object_info")
    assert FOLDERS["diffusion_models"] in info["UNETLoader"]["input"]["required"]["unet_name"][0]
    assert FOLDERS["vae"] in info["VAELoader"]["input"]["required"]["vae_name"][0]


def test_a_missing_or_damaged_file(tmp_path):
    with pytest.raises(ValueError, match=r"exo2ego_pocket_i2v.safetensors(?s:.*)pull its folder pocket/ again"):
        load_pocket(tmp_path)
    for kind in FOLDERS:
        path = pocket_file(kind, tmp_path)
        path.parent.mkdir()
        path.write_bytes(pocket_file(kind).read_bytes()[:-100])
    with pytest.raises(ValueError, match="pull its folder pocket/ again"):
        load_pocket(tmp_path)


def test_diffusers_reads_both_files(pocket, tmp_path):
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    from exo2ego.training.network.transformer import WanSize, empty_transformer
    from exo2ego.training.pocket.vae import BASE_CHANNELS

    empty_transformer(WanSize(256, 768, 7)).save_config(tmp_path / "transformer")
    AutoencoderKLWan(base_dim=BASE_CHANNELS).save_config(tmp_path / "vae")
    transformer = WanTransformer3DModel.from_single_file(
        str(pocket_file("diffusion_models")), config=str(tmp_path / "transformer")
    )
    assert all(value.isfinite().all() for value in transformer.parameters())
    vae = AutoencoderKLWan.from_single_file(str(pocket_file("vae")), config=str(tmp_path / "vae")).float()
    video = torch.rand(1, 3, 5, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latent = vae.encode(2 * video - 1).latent_dist.mode()
    ours = pocket.vae.encode(video[0].movedim(0, -1))
    assert torch.allclose(latent, ours.float(), atol=2e-2 * float(latent.std()))


def test_its_files_are_half_precision_and_far_from_its_end():
    """In fp16 they score as in fp32 (see the model card); a weight that came to infinity would not."""
    for kind in FOLDERS:
        for name, value in load_file(pocket_file(kind)).items():
            is_unused = value.dtype == torch.float8_e4m3fn and not value.float().any()
            assert value.dtype == torch.float16 or is_unused, name
            assert value.float().abs().max() < 6e4, name
