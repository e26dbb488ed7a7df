"""Wrong inputs of Exo2EgoSyn: a clear error, before the first step."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.plucker import PluckerMaps, PoseReference, RayModel
from exo2ego.networks.components.metadata import Component
from exo2ego.wan.exo2egosyn.apply import apply_exo2egosyn
from exo2ego.wan.exo2egosyn.checks import pose_notes
from exo2ego.wan.exo2egosyn.conditioning import condition_exo2egosyn
from exo2ego.wan.exo2egosyn.first_frame import FirstFrame
from support.comfyui import k_sampler
from support.egosyn_graph import components, maps_of, run_syn, syn_conditioning, views_of, with_syn
from support.egosyn_witness import made_up_syn_clip
from support.tiny_components import LORA, tiny_component, tiny_vawan

MULTIEXOCON, POSEINJ, VAWAN = Component.MULTIEXOCON, Component.POSEINJ, Component.VAWAN


@pytest.fixture
def watched(wan22):
    """A model that counts its calls."""
    wan22.steps = []

    def count(executor, *args, **kwargs):
        wan22.steps.append(1)
        return executor(*args, **kwargs)

    wan22.add_wrapper_with_key("diffusion_model", "count", count)
    return wan22


# When it is applied ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("component", "name"), [(MULTIEXOCON, "MultiExoCon"), (VAWAN, "VAWAN")])
def test_no_views(wan22, component, name):
    with pytest.raises(ValueError, match=f"{name} is loaded, and no exo views are connected"):
        apply_exo2egosyn(wan22, components(tiny_component(component)))


def test_no_poses(wan22, syn_clip):
    with pytest.raises(ValueError, match="PoseInj is loaded, and the ego camera's path is missing: connect Pluecker"):
        apply_exo2egosyn(wan22, components(tiny_component(POSEINJ)), views_of(syn_clip))


@pytest.mark.parametrize(("poses", "name"), [("ac3d", "AC3D"), ("time and pose", "Time&Pose")])
def test_vawan_without_its_poses(wan22, syn_clip, poses, name):
    parts, views = components(tiny_vawan(poses)), views_of(syn_clip)
    with pytest.raises(ValueError, match=f"VAWAN with {name} is loaded, and the ego camera's path is missing: connect"):
        apply_exo2egosyn(wan22, parts, views)
    own = replace(maps_of(syn_clip), reference=PoseReference.OWN_FIRST_FRAME)
    with pytest.raises(ValueError, match=f"VAWAN with {name} was trained on poses relative to exo camera 1"):
        apply_exo2egosyn(wan22, parts, views, own)
    short = replace(maps_of(syn_clip), maps=syn_clip.plucker[:8], poses=syn_clip.poses[:8])
    with pytest.raises(ValueError, match=f"VAWAN with {name} takes 4n.1 frames .*, got 8 Pluecker maps of 48 x 32"):
        apply_exo2egosyn(wan22, parts, views, short)
    assert not wan22.object_patches
    assert not wan22.additional_models


def test_maps_that_hold_no_poses(wan22, syn_clip):
    maps = replace(maps_of(syn_clip), poses=None)
    with pytest.raises(ValueError, match="VAWAN with Time&Pose reads the poses themselves, which these maps lack"):
        apply_exo2egosyn(wan22, components(tiny_vawan("time and pose")), views_of(syn_clip), maps)
    apply_exo2egosyn(wan22, components(tiny_vawan("ac3d")), views_of(syn_clip), maps)


@pytest.mark.parametrize("poses", ["ac3d", "time and pose"])
@pytest.mark.parametrize(("sampled", "message"), [({"frames": 4}, "13 sampled frames"), ({"height": 6}, "48 x 48")])
def test_a_path_that_does_not_fit_the_latent(watched, syn_clip, poses, sampled, message):
    clip = made_up_syn_clip(**sampled)
    patched = apply_exo2egosyn(watched, components(tiny_vawan(poses)), views_of(clip), maps_of(syn_clip))
    with pytest.raises(ValueError, match=message):
        run_syn(patched, clip)
    assert not watched.steps


def test_a_vawan_of_more_blocks(wan22, syn_clip):
    lora = replace(LORA, blocks=3)
    with pytest.raises(ValueError, match="of depth 3, and this one has depth 2"):
        with_syn(wan22, syn_clip, tiny_vawan("ac3d", lora=lora))


@pytest.mark.parametrize(
    ("component", "views", "expected"),
    [(MULTIEXOCON, 5, "at most 4, got 5"), (VAWAN, 5, "exactly 4, got 5"), (VAWAN, 3, "exactly 4, got 3")],
)
def test_numbers_of_views_that_it_was_not_trained_with(wan22, component, views, expected):
    clip = made_up_syn_clip(views=views)
    with pytest.raises(ValueError, match=f"trained with 4 exo views and takes {expected}"):
        with_syn(wan22, clip, tiny_component(component))


def test_exo_latents_that_are_not_finite(wan22, syn_clip):
    exo = syn_clip.exo.clone()
    exo[3, 0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        with_syn(wan22, replace(syn_clip, exo=exo), tiny_component(MULTIEXOCON))


def test_poses_relative_to_the_ego_camera(wan22, syn_clip):
    maps = PluckerMaps(syn_clip.plucker, PoseReference.OWN_FIRST_FRAME, RayModel.PINHOLE)
    with pytest.raises(ValueError, match=r"relative to exo camera 1.*connect exo camera 1 to Pluecker Maps"):
        apply_exo2egosyn(wan22, components(tiny_component(POSEINJ)), views_of(syn_clip), maps)


@pytest.mark.parametrize(
    ("frames", "height", "expected"), [(8, 32, "got 8 Pluecker maps of 48 x 32"), (9, 24, "9 Pluecker maps of 48 x 24")]
)
def test_maps_of_sizes_that_do_not_fit(wan22, syn_clip, frames, height, expected):
    maps = PluckerMaps(syn_clip.plucker[:frames, :, :height], PoseReference.EXO1, RayModel.PINHOLE)
    with pytest.raises(ValueError, match=expected):
        apply_exo2egosyn(wan22, components(tiny_component(POSEINJ)), views_of(syn_clip), maps)


def test_rays_of_another_kind_are_noted(wan22, syn_clip):
    parts = components(tiny_component(POSEINJ))
    maps = PluckerMaps(syn_clip.plucker, PoseReference.EXO1, RayModel.RAYMAP)
    apply_exo2egosyn(wan22, parts, views_of(syn_clip), maps)
    (note,) = pose_notes(parts, maps)
    assert "trained on rays of the kind pinhole, and these Pluecker maps hold raymap" in note
    assert not pose_notes(parts, maps_of(syn_clip))
    assert not pose_notes(components(tiny_component(MULTIEXOCON)), maps)
    (note,) = pose_notes(components(tiny_vawan("ac3d")), maps)
    assert note.startswith("tiny_vawan.safetensors was trained on rays of the kind pinhole")
    assert not pose_notes(components(tiny_vawan("time and pose")), maps)  # reads no rays


def test_parts_of_a_model_of_another_size(wan22, syn_clip):
    wide = tiny_component(Component.LORA, dim=384)
    with pytest.raises(ValueError, match="of width 384, and this one has width 256"):
        with_syn(wan22, syn_clip, wide)
    deep = tiny_component(MULTIEXOCON, blocks=3)
    with pytest.raises(ValueError, match="of depth 3, and this one has depth 2"):
        with_syn(wan22, syn_clip, deep)
    wide = tiny_component(POSEINJ, dim=384)
    with pytest.raises(ValueError, match="of width 384"):
        with_syn(wan22, syn_clip, wide)


def test_other_models(wrong_bases, tiny_files, syn_clip):
    import comfy.sd

    for path in (tiny_files["unet"], wrong_bases["t2v"], wrong_bases["fun_control"]):
        with pytest.raises(ValueError, match=r"Exo2EgoSyn needs Wan 2.2 I2V A14B, its low-noise expert"):
            with_syn(comfy.sd.load_diffusion_model(str(path)), syn_clip)


def test_the_high_noise_expert(wan22, syn_clip):
    with pytest.raises(ValueError, match="high-noise expert"):
        with_syn(wan22, syn_clip, files=["wan2.2_i2v_high_noise_14B_fp16.safetensors"])


# When sampling starts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "sampled", "message"),
    [
        (POSEINJ, {"frames": 4}, "pose of the ego camera for each of the 13 sampled frames.*maps have 9"),
        (POSEINJ, {"height": 6}, "maps are 48 x 32 pixels, and the sampled video is 48 x 48"),
        (VAWAN, {"frames": 4}, "3 latent frames of 6 x 4 cells, and the sampled one is 4 latent frames of 6 x 4"),
        (VAWAN, {"width": 8}, "sampled one is 3 latent frames of 8 x 4 cells"),
        (MULTIEXOCON, {"width": 7}, "even h and w"),
    ],
)
def test_latents_that_do_not_fit(watched, syn_clip, component, sampled, message):
    patched = with_syn(watched, syn_clip, tiny_component(component))
    with pytest.raises(ValueError, match=message):
        run_syn(patched, made_up_syn_clip(**sampled))
    assert not watched.steps


def test_image_latents(watched, syn_clip):
    text = [[syn_clip.positive, {}]]
    with pytest.raises(ValueError, match="Wan video latent"):
        k_sampler(with_syn(watched, syn_clip, tiny_component(MULTIEXOCON)), text, text, torch.ones(1, 4, 6, 6))
    assert not watched.steps


@pytest.fixture(scope="module")
def vae(tiny_files):
    import comfy.sd
    import comfy.utils

    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(tiny_files["vae"])))


def test_no_text_where_text_is_read(watched, syn_clip, vae):
    made = condition_exo2egosyn(FirstFrame(syn_clip.condition[:, :, :1]), 9, vae)
    latent = made.ego_latent["samples"]
    patched = with_syn(watched, syn_clip, tiny_component(POSEINJ))
    with pytest.raises(ValueError, match=r"reads text.*connect an empty prompt"):
        k_sampler(patched, made.positive, made.negative, latent, cfg=3.5)
    with pytest.raises(ValueError, match=r"reads text.*connect an empty prompt"):
        k_sampler(with_syn(watched, syn_clip), made.positive, made.negative, latent)
    assert not watched.steps
    patched = with_syn(watched, syn_clip, tiny_component(POSEINJ), tiny_component(MULTIEXOCON))
    assert k_sampler(patched, made.positive, made.negative, latent, cfg=3.5).isfinite().all()


def test_guiders_with_a_third_prompt(watched, syn_clip):
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    guider = Guider_DualCFG(with_syn(watched, syn_clip, tiny_component(MULTIEXOCON)))
    text = [[syn_clip.positive, {}]]
    guider.set_conds(text, text, text)
    guider.set_cfg(3.5, 2.0)
    noise = torch.zeros(1, 16, 3, 4, 6)
    with pytest.raises(ValueError, match=r"also has middle. Use KSampler, CFGGuider or BasicGuider"):
        guider.sample(noise, noise, None, torch.ones(2))
    assert not watched.steps


SILENT, NONE_LEFT_OUT = {"num_views": 4}, {"num_views": 4, "cond_dropout": 0.0}


@pytest.mark.parametrize("component", [MULTIEXOCON, VAWAN])
@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (SILENT, "does not state whether exo views were left out in its training (cond_dropout)"),
        (NONE_LEFT_OUT, "was trained without leaving exo views out"),
    ],
    ids=["silent", "none left out"],
)
def test_cfg_without_a_trained_null_branch_is_a_warning(wan22, syn_clip, caplog, component, told, reason):
    part = tiny_component(component, told=told)
    patched = with_syn(wan22, syn_clip, part)
    with caplog.at_level(logging.WARNING):
        run_syn(patched, syn_clip, cfg=1.0)
        assert "sample with CFG 1" not in caplog.text
        for _ in range(2):
            run_syn(patched, syn_clip, cfg=3.5)
    (line,) = [record.getMessage() for record in caplog.records if "CFG 1" in record.getMessage()]  # said once
    assert line.startswith(f"{part.file} {reason}, so CFG's null branch")
    assert line.endswith("sample with CFG 1, not 3.5.")
    caplog.clear()
    trained = tiny_component(component, told={"num_views": 4, "cond_dropout": 0.1})
    with caplog.at_level(logging.WARNING):
        run_syn(with_syn(wan22, syn_clip, trained), syn_clip, cfg=3.5)
    assert "CFG 1" not in caplog.text


def test_frames_after_the_first_that_the_parts_were_not_trained_with(wan22, syn_clip, vae, caplog):
    patched = with_syn(wan22, syn_clip, tiny_component(MULTIEXOCON, told={"num_views": 4, "cond_tail": "pixel"}))
    for tail, warned in (("pixel", False), (None, True)):
        first = FirstFrame(syn_clip.condition[:, :, :1], cond_tail=tail)
        made = condition_exo2egosyn(first, 9, vae)
        with caplog.at_level(logging.WARNING):
            k_sampler(patched, made.positive, made.negative, made.ego_latent["samples"], cfg=1.0)
        assert ("trained with cond_tail pixel" in caplog.text) == warned


@pytest.mark.parametrize("missing", ["positive", "negative"])
def test_a_prompt_without_a_first_frame_is_a_warning(wan22, syn_clip, caplog, missing):
    """Core would sample that branch from an empty frame, without a word."""
    conditions = {name: syn_conditioning(syn_clip.positive, syn_clip) for name in ("positive", "negative")}
    conditions[missing] = [[syn_clip.positive, {}]]
    patched = with_syn(wan22, syn_clip, tiny_component(MULTIEXOCON))
    with caplog.at_level(logging.WARNING):
        k_sampler(patched, **conditions, latent=torch.zeros(1, 16, 3, 4, 6), cfg=3.5)
    assert f"Exo2EgoSyn: {missing} without a first frame. Connect" in caplog.text


def test_samplers_that_bypass_the_guider(wan22, syn_clip):
    patched = with_syn(wan22, syn_clip, tiny_component(MULTIEXOCON))
    options = {"wrappers": patched.wrappers, "sigmas": torch.ones(1)}
    with pytest.raises(ValueError, match="bypasses ComfyUI's guider"):
        wan22.model.diffusion_model(torch.zeros(1, 36, 3, 4, 6), torch.ones(1), syn_clip.positive, None, None, options)


def test_conditioning_that_appends_frames(wan22, syn_clip):
    patched = with_syn(wan22, syn_clip, tiny_component(MULTIEXOCON))
    x = torch.zeros(1, 36, 3, 4, 6)
    with pytest.raises(ValueError, match="time_dim_concat"):
        wan22.model.diffusion_model(x, torch.ones(1), syn_clip.positive, None, x, {"wrappers": patched.wrappers})


def test_maps_are_checked_even_where_views_are_not_read(wan22, syn_clip):
    """PoseInj alone needs no exo videos."""
    views = replace(views_of(syn_clip), latents=torch.full_like(syn_clip.exo, float("nan")))
    apply_exo2egosyn(wan22, components(tiny_component(POSEINJ)), views, maps_of(syn_clip))
