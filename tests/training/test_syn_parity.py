"""Exo2EgoSyn: the trainer's forward pass, its files in the patch of ComfyUI's Wan 2.2, and what both sample."""

from __future__ import annotations

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.plucker import PluckerMaps, align_maps
from exo2ego.networks.components.files import read_component
from exo2ego.training.data.clips import ViewsBatch, ViewsClip
from exo2ego.training.methods import method_of
from exo2ego.wan.exo2egosyn.align_predict import predict_first_latent
from exo2ego.wan.exo2egosyn.apply import apply_exo2egosyn
from exo2ego.wan.exo2egosyn.conditioning import condition_exo2egosyn
from exo2ego.wan.exo2egosyn.first_frame import FirstFrame
from support.egosyn_graph import STEPS, components, run_syn, syn_conditioning, views_of, with_syn
from support.egox_graph import one_call
from support.syn_training import (
    ON_WAN,
    SIZES,
    VIEWS,
    as_sampled,
    exported,
    in_vae_scale,
    made_up_weights,
    syn_recipe,
    views_clip,
)
from support.tiny_vae import vae_state_dict
from support.tiny_wan import wan_state_dict
from support.training import in_model_scale


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("syn")


@pytest.fixture
def wan22():
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(wan_state_dict("i2v_2.2"))


def started(folder, name, **tables):
    """Return a method and its network with weights that show."""
    method = method_of(syn_recipe(folder, name, **tables))
    network = method.network()
    made_up_weights(network)
    return method, network.eval()


def loaded(method, network, folder):
    """Return the components that ComfyUI runs: those that were exported, and what they go on from."""
    parts = exported(method, network, folder)
    if "stage 2" in method.recipe.run.method:
        parts.append(read_component(method.recipe.exo2egosyn.multiexocon))
    return parts


def noisy_ego(clip, batch=1):
    return torch.randn(batch, *clip.ego.shape, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def predicted(network, clips, noisy, level, without_exo=None):
    return network(ViewsBatch.of(clips), noisy, level.expand(len(clips)), without_exo)


def assert_near(got, expected, atol=1e-5):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


@torch.no_grad()
def first_of(network, clip):
    """Return the first latent that the network is shown [16, 1, h, w]."""
    if network.align is None:
        return clip.ego[:, :1]
    return network.align(torch.cat([clip.exo[:, :, 0], clip.align_plucker], dim=1)[None])[0]


@pytest.mark.parametrize("name", ON_WAN)
def test_one_prediction(wan22, folder, tmp_path, name):
    """Of what was exported, by the patch that the nodes apply."""
    method, network = started(folder, name)
    clip, level = views_clip(1), torch.tensor([0.7])
    noisy = noisy_ego(clip)
    sampled = as_sampled(clip, first_of(network, clip))
    patched = with_syn(wan22, sampled, *loaded(method, network, tmp_path))
    expected = one_call(patched, noisy, level, syn_conditioning(sampled.positive, sampled))
    got = predicted(network, [clip], noisy, level)
    assert_near(got, expected)
    assert (got - one_call(wan22, noisy, level, syn_conditioning(sampled.positive, sampled))).abs().max() > 0.05


@pytest.mark.parametrize("tail", ["gray", "pixel"])
def test_a_true_first_frame(wan22, folder, tmp_path, tail):
    method, network = started(folder, "stage 1", exo2egosyn={"first_frame": "true", "cond_tail": tail})
    assert network.align is None
    clip, level = views_clip(2), torch.tensor([0.4])
    noisy = noisy_ego(clip)
    rest = clip.gray if tail == "gray" else clip.first_then_gray
    first = (clip.ego if tail == "gray" else rest)[:, :1]
    sampled = as_sampled(clip, first, rest)
    parts = loaded(method, network, tmp_path)
    assert parts[0].metadata.cond_tail == tail
    patched = with_syn(wan22, sampled, *parts)
    expected = one_call(patched, noisy, level, syn_conditioning(sampled.positive, sampled))
    assert_near(predicted(network, [clip], noisy, level), expected)


def test_a_predicted_first_frame_is_that_of_the_nodes(wan22, folder, tmp_path):
    """From cameras and gray images, by the code of the nodes."""
    import comfy.sd

    method, network = started(folder, "stage 2")
    path = torch.eye(4).repeat(5, 1, 1)
    path[:, 0, 3], path[:, 2, 3] = torch.linspace(0.0, 0.4, 5), -0.5
    ego = Camera(Pinhole(40.0, 40.0, 24.0, 16.0), 48, 32, path)
    beside = torch.eye(4)
    beside[0, 3] = -1.0
    exo = [Camera(Pinhole(60.0, 60.0, 24.0, 16.0), 48, 32, pose) for pose in (torch.eye(4), beside)]
    vae = comfy.sd.VAE(sd=vae_state_dict())
    gray = in_model_scale(vae.encode(torch.full((5, 32, 48, 3), 0.5)).float())[0]
    maps = PluckerMaps.of(ego, exo[0], 48, 32)
    made = views_clip(3)
    clip = ViewsClip(made.exo, made.ego, gray, made.first_then_gray, maps.maps, align_maps(exo, ego, 6, 4), maps.poses)
    sampled = as_sampled(views_clip(3), made.ego[:, :1])
    views = views_of(sampled)
    align = read_component(method.recipe.exo2egosyn.align)
    first = predict_first_latent(align, views, dict(zip(views.names, exo, strict=True)), ego)
    positive = condition_exo2egosyn(FirstFrame(first), 5, vae).positive
    patched = apply_exo2egosyn(wan22, components(*loaded(method, network, tmp_path)), views, maps)
    noisy, level = noisy_ego(clip), torch.tensor([0.9])
    assert_near(predicted(network, [clip], noisy, level), one_call(patched, noisy, level, positive))
    other = ViewsClip(**{**clip.tensors(), "align_plucker": made.align_plucker})
    assert (predicted(network, [other], noisy, level) - predicted(network, [clip], noisy, level)).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["stage 1", "stage 2", "vawan, ac3d", "vawan, time and pose"])
def test_comfyui_samples_what_the_trainer_samples(wan22, folder, tmp_path, name):
    """With CFG, whose null branch has no exo views."""
    method, network = started(folder, name)
    clip = views_clip(1)
    sampled = as_sampled(clip, first_of(network, clip))
    patched = with_syn(wan22, sampled, *loaded(method, network, tmp_path))
    expected = in_model_scale(run_syn(patched, sampled, cfg=3.5, steps=STEPS))
    got = method.sample(network, method.batch([clip], "cpu"), None)["ego"]
    assert_near(got, expected, 1e-4)


@pytest.mark.parametrize("name", ["stage 1", "vawan, ac3d", "vawan, time and pose"])
def test_clips_of_a_batch_stay_apart(folder, name):
    """One of them without its exo views."""
    _, network = started(folder, name)
    clips, level = [views_clip(1), views_clip(2)], torch.tensor([0.6])
    noisy, left_out = noisy_ego(clips[0], batch=2), torch.tensor([False, True])
    got = predicted(network, clips, noisy, level, left_out)
    assert_near(got[:1], predicted(network, clips[:1], noisy[:1], level))
    blind = ViewsClip(**{**clips[1].tensors(), "exo": torch.zeros(VIEWS, 16, SIZES["frames"], 4, 6)})
    first = first_of(network, clips[1])
    network.align = None
    shown = ViewsClip(**{**blind.tensors(), "ego": torch.cat([first, clips[1].ego[:, 1:]], dim=1)})
    assert_near(got[1:], predicted(network, [shown], noisy[1:], level))


def test_scales_are_inverse():
    latent = views_clip(0).exo
    assert_near(in_model_scale(in_vae_scale(latent)), latent)
