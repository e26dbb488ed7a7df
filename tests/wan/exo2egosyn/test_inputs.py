"""Exo views, the first ego latent and the conditioning, with a real VAE."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.plucker import align_maps
from exo2ego.networks.components.build import build_align
from exo2ego.networks.components.metadata import Component
from exo2ego.wan.exo2egosyn.align_predict import align_notes, encode_first_frame, predict_first_latent
from exo2ego.wan.exo2egosyn.conditioning import condition_exo2egosyn
from exo2ego.wan.exo2egosyn.first_frame import FirstFrame, Origin, first_frame_of
from exo2ego.wan.exo2egosyn.views import encode_views
from support.egosyn_witness import normalised
from support.egox_witness import MEAN, STD
from support.tiny_components import tiny_component


@pytest.fixture(scope="module")
def vae(tiny_files):
    import comfy.sd
    import comfy.utils

    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(tiny_files["vae"])))


class CountingVae:
    """A VAE that counts what it encodes."""

    def __init__(self, vae):
        self.vae, self.encoded = vae, 0

    def encode(self, frames):
        self.encoded += 1
        return self.vae.encode(frames)


def video(seed: int, frames: int = 5, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))


def camera(x: float, frames: int = 1, focal: float = 40.0, size: int = 48) -> Camera:
    turn = torch.tensor([[math.cos(x), 0, math.sin(x), x], [0, 1, 0, 0.1], [-math.sin(x), 0, math.cos(x), 2.0]])
    return Camera(Pinhole(focal, focal, size / 2, size / 3), size, 32, turn.expand(frames, 3, 4))


# Exo views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_view_is_encoded_by_itself(vae, count):
    videos = {f"exo {number}": video(number) for number in range(1, count + 1)}
    steps = []
    views = encode_views(vae, videos, lambda done, total: steps.append((done, total)))
    assert views.latents.shape == (count, 16, 2, 4, 6)
    for latent, frames in zip(views.latents, videos.values()):
        assert torch.equal(latent, vae.encode(frames)[0])
    assert steps == [(done, count) for done in range(count + 1)]
    assert (views.n_views, views.n_frames, views.n_tokens) == (count, 5, count * 2 * 2 * 3)


def test_pictures_with_an_alpha_channel(vae):
    frames = video(1)
    opaque = torch.cat([frames, torch.ones_like(frames[..., :1])], dim=-1)
    assert torch.equal(encode_views(vae, {"exo 1": opaque}).latents, encode_views(vae, {"exo 1": frames}).latents)


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ({}, "takes 1 to 4 exo videos, got 0"),
        ({f"exo {n}": video(n) for n in range(5)}, "takes 1 to 4 exo videos, got 5"),
        ({"exo 1": video(1), "exo 3": video(2, frames=9)}, "lengths must agree; got exo 1 5, exo 3 9 frames"),
        ({"exo 1": video(1), "exo 2": video(2, width=32)}, "one size, got exo 1 48 x 32, exo 2 32 x 32"),
        ({"exo 1": video(1, frames=6)}, r"4n\+1 frames, got 6. Cut every video and the ego camera to 5 frames"),
        ({"exo 1": video(1, width=40)}, "multiples of 16 pixels, got exo images of 40 x 32. Resize them to 32 x 32"),
        ({"exo 1": video(1)[..., 0]}, "exo 1 is expected as a video"),
    ],
    ids=["none", "five", "lengths", "sizes", "not 4n+1", "no multiples of 16", "no pictures"],
)
def test_videos_that_do_not_fit_are_refused_before_encoding(vae, videos, message):
    counting = CountingVae(vae)
    with pytest.raises(ValueError, match=message):
        encode_views(counting, videos)
    assert not counting.encoded


def test_another_vae(vae):
    class Halved:
        def encode(self, frames):
            return vae.encode(frames)[:, :4]

    with pytest.raises(ValueError, match=r"Exo2EgoSyn needs Wan 2\.1's VAE"):
        encode_views(Halved(), {"exo 1": video(1)})


# The first ego latent -------------------------------------------------------------------------------------------------


def test_prediction_from_views_and_cameras(vae):
    align = tiny_component(Component.ALIGN)
    views = encode_views(vae, {"exo 1": video(1), "exo 2": video(2)})
    exo, ego = {"exo 2": camera(0.4), "exo 1": camera(0.0)}, camera(-0.3, frames=5)
    got = predict_first_latent(align, views, exo, ego)
    maps = align_maps([exo["exo 1"], exo["exo 2"]], ego, 6, 4)  # on the latent grid
    first = normalised(torch.cat([vae.encode(video(seed)[:1]) for seed in (1, 2)]))[:, :, 0]
    with torch.inference_mode():
        predicted = build_align(align)(torch.cat([first, maps], dim=1)[None])
    mean, std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (MEAN, STD))
    assert got.shape == (1, 16, 1, 4, 6)
    torch.testing.assert_close(got, predicted * std + mean, rtol=1e-4, atol=1e-4)
    moved = predict_first_latent(align, views, exo, camera(-0.2, frames=5))
    assert (moved - got).abs().max() > 1e-3
    assert torch.equal(got, predict_first_latent(align, views, exo, ego[0]))  # the first pose alone counts


@pytest.mark.parametrize("numbers", [[], [1], [1, 2], [1, 2, 3]])
def test_cameras_of_other_views(vae, numbers):
    """Missing, left over, or as many as there are views, but not theirs."""
    views = encode_views(vae, {"exo 1": video(1), "exo 3": video(2)})
    exo = {f"exo {number}": camera(0.1 * number) for number in numbers}
    given = ", ".join(exo) or "none"
    with pytest.raises(ValueError, match=f"got the views exo 1, exo 3 and the cameras of {given}. Connect"):
        predict_first_latent(tiny_component(Component.ALIGN), views, exo, camera(0.0))


def test_a_real_first_frame_is_encoded_and_used_as_it_is(vae):
    frames = video(3)
    assert torch.equal(encode_first_frame(vae, frames), vae.encode(frames[:1]))
    with pytest.raises(ValueError, match="first ego images of 40 x 32"):
        encode_first_frame(vae, video(3, width=40))


def test_notes_of_what_align_was_not_trained_on(vae):
    views = encode_views(vae, {"exo 1": video(1)})
    align = tiny_component(Component.ALIGN, told={"num_views": 4, "rays": "raymap", "heads": 2, "dim_head": 8})
    views_note, rays_note = align_notes(align, views, camera(0.0))
    assert "trained with 4 exo views, got 1" in views_note
    assert "rays of the kind raymap, and the ego camera's are pinhole" in rays_note
    assert align_notes(tiny_component(Component.ALIGN), views, camera(0.0)) == []


# Conditioning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [1, 5, 9])
@pytest.mark.parametrize("batch", [1, 2])
def test_first_latent_mask_and_grey_tail(vae, n_frames, batch):
    first = torch.randn(1, 16, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    text = torch.randn(1, 3, 4096)
    made = condition_exo2egosyn(FirstFrame(first), n_frames, vae, [[text, {"a": 1}]], [[-text, {}]], batch)
    latent_frames = 1 + (n_frames - 1) // 4
    grey = vae.encode(torch.full((n_frames, 32, 48, 3), 0.5))
    for conditioning, expected in ((made.positive, text), (made.negative, -text)):
        ((got, options),) = conditioning
        assert torch.equal(got, expected)
        assert torch.equal(options["concat_latent_image"], torch.cat([first, grey[:, :, 1:]], dim=2))
        mask = options["concat_mask"]
        assert mask.shape == (1, 1, latent_frames, 4, 6)
        assert not mask[:, :, 0].any()
        assert (mask[:, :, 1:] == 1).all()
    assert made.positive[0][1]["a"] == 1
    assert made.ego_latent["samples"].shape == (batch, 16, latent_frames, 4, 6)
    assert not made.ego_latent["samples"].any()


@pytest.mark.parametrize("n_frames", [1, 5, 9])
def test_a_real_first_frame_equals_cores_own_start_image(vae, n_frames):
    """Bit by bit: condition, mask and empty latent of core's WanImageToVideo, from the same picture and text."""
    from comfy_extras.nodes_wan import WanImageToVideo

    picture, text = video(3)[:1], [[torch.randn(1, 3, 4096), {}]]
    first = FirstFrame(encode_first_frame(vae, picture), picture, None, Origin.REAL)
    made = condition_exo2egosyn(first, n_frames, vae, text, text, 2)
    stock = WanImageToVideo.execute(text, text, vae, 48, 32, n_frames, 2, start_image=picture).result
    for (ours,), (theirs,) in ((made.positive, stock[0]), (made.negative, stock[1])):
        assert torch.equal(ours[0], theirs[0])
        for key in ("concat_latent_image", "concat_mask"):
            assert ours[1][key].dtype == theirs[1][key].dtype
            assert torch.equal(ours[1][key], theirs[1][key])
    assert torch.equal(made.ego_latent["samples"], stock[2]["samples"])
    assert made.text.startswith("After a real frame: gray frames, encoded together with it")
    if n_frames > 1:  # the comparison would notice the tail of a grey clip
        grey = condition_exo2egosyn(FirstFrame(first.latent), n_frames, vae).positive[0][1]["concat_latent_image"]
        assert (grey - stock[0][0][1]["concat_latent_image"]).abs().max() > 1e-3


def condition_of(first: FirstFrame, vae, n_frames: int = 9) -> torch.Tensor:
    ((_, options),) = condition_exo2egosyn(first, n_frames, vae, batch_size=len(first.latent)).positive
    assert options["exo2ego_cond_tail"] in ("gray", "pixel")
    return options["concat_latent_image"]


def then_grey(picture: torch.Tensor, n_frames: int = 9) -> torch.Tensor:
    return torch.cat([picture, torch.full((n_frames - 1, *picture.shape[1:]), 0.5)])


def test_what_the_parts_say_counts(vae):
    """`cond_tail` of the parts, with a real frame and with a predicted latent."""
    picture = video(3)[:1]
    real = FirstFrame(encode_first_frame(vae, picture), picture, "gray", Origin.REAL)
    grey = vae.encode(torch.full((9, 32, 48, 3), 0.5))[:, :, 1:]
    assert torch.equal(condition_of(real, vae), torch.cat([real.latent, grey], dim=2))
    latent = torch.randn(2, 16, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    predicted = condition_of(FirstFrame(latent, None, "pixel", Origin.PREDICTED), vae)
    assert torch.equal(predicted[:, :, :1], latent)  # not as the VAE gives it back
    for row, tail in zip(latent, predicted[:, :, 1:]):
        decoded = vae.decode(row[None]).reshape(1, 32, 48, 3)
        assert torch.equal(tail, vae.encode(then_grey(decoded))[0, :, 1:])
    silent = condition_of(FirstFrame(latent[:1], None, None, Origin.PREDICTED), vae)
    assert torch.equal(silent, torch.cat([latent[:1], grey], dim=2))


def test_a_latent_knows_its_picture_until_it_is_changed(vae):
    picture = video(3)[:1]
    first = FirstFrame(encode_first_frame(vae, picture), picture, "pixel", Origin.REAL)
    latent = first.as_latent()
    assert first_frame_of(latent) is first
    assert first_frame_of({**latent, "noise_mask": None}) is first
    changed = first_frame_of({**latent, "samples": latent["samples"] * 1.5})
    assert (changed.picture, changed.origin, changed.cond_tail) == (None, Origin.UNKNOWN, "pixel")
    foreign = first_frame_of({"samples": latent["samples"]})
    assert (foreign.picture, foreign.origin, foreign.cond_tail) == (None, Origin.UNKNOWN, None)
    assert "give its image to EgoExo-Align Predict" in condition_exo2egosyn(foreign, 9, vae).text


def test_what_the_model_gets_of_it(vae, wan22):
    """Through core's own code: 4 channels that mark the first latent frame, 16 of the normalised latent."""
    first = torch.randn(1, 16, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    ((_, options),) = condition_exo2egosyn(FirstFrame(first), 9, vae).positive
    condition = options["concat_latent_image"].clone()
    noise = torch.zeros(1, 16, 3, 4, 6)
    got = wan22.model.concat_cond(noise=noise, device=torch.device("cpu"), **options)
    assert got.shape == (1, 20, 3, 4, 6)
    assert (got[:, :4, 0] == 1).all()
    assert not got[:, :4, 1:].any()
    torch.testing.assert_close(got[:, 4:], normalised(condition))


def test_a_first_latent_for_each_video_of_the_batch(vae):
    first = torch.randn(2, 16, 1, 4, 6)
    ((_, options),) = condition_exo2egosyn(FirstFrame(first), 5, vae, batch_size=2).positive
    assert torch.equal(options["concat_latent_image"][:, :, :1], first)


@pytest.mark.parametrize(
    ("shape", "n_frames", "batch", "message"),
    [
        ((1, 16, 2, 4, 6), 5, 1, r"\[1, 16, 1, h, w\], got \[1, 16, 2, 4, 6\]"),
        ((1, 4, 4, 6), 5, 1, r"got \[1, 4, 4, 6\]. Take it from EgoExo-Align Predict"),
        ((1, 16, 1, 4, 5), 5, 1, "ego images of 40 x 32"),
        ((2, 16, 1, 4, 6), 5, 3, "batch of 2, and 3 videos are sampled"),
        ((1, 16, 1, 4, 6), 6, 1, r"4n\+1 frames, got 6"),
        ((1, 16, 1, 4, 6), 0, 1, r"4n\+1 frames, got 0"),
    ],
)
def test_first_latents_and_lengths_that_do_not_fit(vae, shape, n_frames, batch, message):
    with pytest.raises(ValueError, match=message):
        condition_exo2egosyn(FirstFrame(torch.zeros(shape)), n_frames, vae, batch_size=batch)


def test_what_comes_in_is_not_changed(vae):
    text = [[torch.zeros(1, 3, 4096), {}]]
    condition_exo2egosyn(FirstFrame(torch.zeros(1, 16, 1, 4, 6)), 5, vae, text, text)
    assert text[0][1] == {}
