"""The graph's output on Wan 2.2 against a transformer and a loop that share nothing with the pack or ComfyUI."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from support.egosyn_graph import run_syn, with_syn, witness
from support.egosyn_witness import embedded_text, made_up_syn_clip, wan
from support.tiny_components import VAWAN_POSES, tiny_component, tiny_vawan
from support.tiny_wan import wan_state_dict

SYSTEMS = {
    "none": (),
    "multiexocon": (Component.MULTIEXOCON,),
    "poseinj": (Component.POSEINJ,),
    "lora": (Component.LORA,),
    "stage 1": (Component.MULTIEXOCON, Component.LORA),
    "full": (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA),
    "vawan": (Component.VAWAN,),
    "vawan with poses": (Component.VAWAN, Component.POSEINJ),
}


def parts_of(name: str, **settings):
    return [tiny_component(component, **settings) for component in SYSTEMS[name]]


def assert_near(got, expected):
    """float32 alone sets them apart, by up to 1.6e-4 where poses are large numbers; any part left out, by over 1e-3."""
    torch.testing.assert_close(got, expected, rtol=0, atol=4e-4)


def test_the_witness_is_wan(wan22):
    weights = wan_state_dict("i2v_2.2")
    random = torch.Generator().manual_seed(0)
    x, text = torch.randn(2, 36, 3, 4, 6, generator=random), torch.randn(2, 512, 4096, generator=random)
    timestep = torch.tensor([1000.0, 433.0])
    with torch.inference_mode():
        expected = wan22.model.diffusion_model(x, timestep, text)
    assert_near(wan(weights, x, timestep, embedded_text(weights, text)), expected)


@pytest.mark.parametrize(("cfg", "batch"), [(1.0, 1), (3.5, 2)])  # all four over HTTP, in tests/nodes
@pytest.mark.parametrize("system", SYSTEMS)
def test_graph_equals_the_plain_loop(wan22, syn_clip, system, cfg, batch):
    parts = parts_of(system)
    got = run_syn(with_syn(wan22, syn_clip, *parts), syn_clip, cfg=cfg, batch=batch)
    assert_near(got, witness(syn_clip, *parts, cfg=cfg, batch=batch))
    if batch == 2:
        assert (got[0] - got[1]).abs().max() > 0.1


@pytest.mark.parametrize(("cfg", "batch"), [(1.0, 1), (3.5, 2)])
@pytest.mark.parametrize("poses", VAWAN_POSES)
def test_vawan_with_poses_equals_the_plain_loop(wan22, syn_clip, poses, cfg, batch):
    part = tiny_vawan(poses)
    got = run_syn(with_syn(wan22, syn_clip, part), syn_clip, cfg=cfg, batch=batch)
    assert_near(got, witness(syn_clip, part, cfg=cfg, batch=batch))


def test_every_part_matters(syn_clip):
    """What parity says: leaving a part out, or an input, moves the result by far more than its tolerance."""
    full = witness(syn_clip, *parts_of("full"))
    others = {
        "multiexocon": witness(syn_clip, *parts_of("full")[1:]),
        "poseinj": witness(syn_clip, *parts_of("stage 1")),
        "lora": witness(syn_clip, *parts_of("full")[:2]),
        "exo": witness(replace(syn_clip, exo=torch.zeros_like(syn_clip.exo)), *parts_of("full")),
        "plucker": witness(replace(syn_clip, plucker=torch.zeros_like(syn_clip.plucker)), *parts_of("full")),
        "first frame": witness(replace(syn_clip, condition=torch.zeros_like(syn_clip.condition)), *parts_of("full")),
        "guidance": witness(syn_clip, *parts_of("full"), cfg=1.0),
    }
    for name, other in others.items():
        assert (other - full).abs().max() > 0.05, name
    text = replace(syn_clip, positive=syn_clip.negative)
    assert torch.equal(witness(text, *parts_of("full")), full)
    vawan = witness(syn_clip, *parts_of("vawan"))
    assert (vawan - witness(replace(syn_clip, exo=syn_clip.exo.flip(0)), *parts_of("vawan"))).abs().max() > 0.05


@pytest.mark.parametrize("latent_frames", [1, 2, 5, 21])
@pytest.mark.parametrize("system", ["full", "vawan"])
def test_clips_of_1_5_17_and_81_frames(wan22, latent_frames, system):
    clip = made_up_syn_clip(seed=1, frames=latent_frames, height=2, width=2)
    parts = parts_of(system)
    assert_near(run_syn(with_syn(wan22, clip, *parts), clip), witness(clip, *parts))


@pytest.mark.parametrize("views", [1, 2, 3])
def test_fewer_views_than_in_training(wan22, views):
    clip = made_up_syn_clip(seed=2, views=views)
    parts = parts_of("full")
    assert_near(run_syn(with_syn(wan22, clip, *parts), clip), witness(clip, *parts))


def test_exo_videos_of_another_length_and_size_than_the_ego_video(wan22, syn_clip):
    other = made_up_syn_clip(seed=3, frames=5, height=2, width=8)
    clip = replace(syn_clip, exo=other.exo)
    parts = parts_of("full")
    assert_near(run_syn(with_syn(wan22, clip, *parts), clip), witness(clip, *parts))


@pytest.mark.parametrize("fuse", ["concat", "additive"])
def test_both_ways_to_fuse(wan22, syn_clip, fuse):
    part = tiny_component(Component.POSEINJ, fuse=fuse, told={"fuse": fuse})
    assert_near(run_syn(with_syn(wan22, syn_clip, part), syn_clip), witness(syn_clip, part))


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strength_of_the_lora(wan22, syn_clip, strength):
    part = tiny_component(Component.LORA)
    weaker = {key: value * strength if "lora_B" in key else value for key, value in part.state_dict.items()}
    got = run_syn(with_syn(wan22, syn_clip, part, lora_strength=strength), syn_clip)
    assert_near(got, witness(syn_clip, replace(part, state_dict=weaker)))


def test_positions_of_the_exo_tokens(wan22, syn_clip):
    """Learned positions start neutral, bit by bit, and tell the views apart once trained."""
    settings = {"exo_pos": "learned", "told": {"exo_pos": "learned"}}
    plain = run_syn(with_syn(wan22, syn_clip, tiny_component(Component.MULTIEXOCON)), syn_clip)
    part = tiny_component(Component.MULTIEXOCON, trained=False, **settings)
    start = {**tiny_component(Component.MULTIEXOCON).state_dict, "view_emb": part.state_dict["view_emb"]}
    start["pos_gain"] = part.state_dict["pos_gain"]
    assert not start["view_emb"].any()
    assert torch.equal(run_syn(with_syn(wan22, syn_clip, replace(part, state_dict=start)), syn_clip), plain)
    trained = tiny_component(Component.MULTIEXOCON, **settings)
    flipped = replace(syn_clip, exo=syn_clip.exo.flip(0))
    moved = run_syn(with_syn(wan22, flipped, trained), flipped) - run_syn(with_syn(wan22, syn_clip, trained), syn_clip)
    assert moved.abs().max() > 1e-3


@pytest.mark.parametrize("poses", VAWAN_POSES)
def test_vawans_poses_matter(syn_clip, poses):
    """What parity with poses says: the path, every tensor and every frame's pose move the result."""
    part = tiny_vawan(poses)
    full = witness(syn_clip, part, cfg=1.0)

    def moved(clip, part=part):
        return (witness(clip, part, cfg=1.0) - full).abs().max()

    name = "poses" if poses == "time and pose" else "plucker"
    path = getattr(syn_clip, name)
    for frame in (0, 4, 8):
        other = path.clone()
        other[frame] += 1
        assert moved(replace(syn_clip, **{name: other})) > 1e-3, frame
    for key, tensor in part.state_dict.items():
        if key.startswith("pose.") and not key.endswith(".k.bias"):  # which no attention depends on but by its turns
            zero = replace(part, state_dict={**part.state_dict, key: torch.zeros_like(tensor)})
            assert moved(syn_clip, zero) > 1e-3, key


@pytest.mark.parametrize("poses", ["ac3d", "time and pose"])
def test_vawans_poses_beside_poseinj(wan22, syn_clip, poses):
    parts = [tiny_vawan(poses), tiny_component(Component.POSEINJ)]
    assert_near(run_syn(with_syn(wan22, syn_clip, *parts), syn_clip), witness(syn_clip, *parts))


@pytest.mark.parametrize("latent_frames", [1, 5])
@pytest.mark.parametrize("poses", ["ac3d", "time and pose"])
def test_vawans_poses_in_clips_of_1_and_17_frames(wan22, latent_frames, poses):
    clip = made_up_syn_clip(seed=1, frames=latent_frames, height=2, width=2)
    part = tiny_vawan(poses)
    assert_near(run_syn(with_syn(wan22, clip, part), clip), witness(clip, part))
