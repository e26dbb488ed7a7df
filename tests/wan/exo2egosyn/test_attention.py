"""What Wan's blocks see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from support.egosyn_graph import STEPS, run_syn, with_syn
from support.egosyn_witness import TEXT_TOKENS
from support.egox_graph import with_override
from support.tiny_components import VAWAN_POSES, tiny_component, tiny_vawan
from support.tiny_wan import LAYERS

EGO_TOKENS, EXO_TOKENS = 3 * 2 * 3, 4 * 3 * 2 * 3


def keys_seen(model, clip, cfg=1.0):
    """Number of keys in every attention call whose queries are the ego tokens."""
    seen = []

    def override(function, q, k, v, heads, *args, **kwargs):
        assert q.shape[1] == EGO_TOKENS
        seen.append(k.shape[1])
        return function(q, k, v, heads, *args, **kwargs)

    run_syn(with_override(model, override), clip, cfg=cfg)
    return seen


@pytest.mark.parametrize("cfg", [1.0, 3.5])
def test_cross_attention_sees_the_exo_tokens_in_all_blocks(wan22, syn_clip, cfg):
    patched = with_syn(wan22, syn_clip, tiny_component(Component.MULTIEXOCON), tiny_component(Component.POSEINJ))
    assert keys_seen(patched, syn_clip, cfg) == [EGO_TOKENS, EXO_TOKENS] * LAYERS * STEPS


@pytest.mark.parametrize("component", [Component.POSEINJ, Component.LORA, Component.VAWAN])
def test_without_multiexocon_it_sees_the_text(wan22, syn_clip, component):
    patched = with_syn(wan22, syn_clip, tiny_component(component))
    assert keys_seen(patched, syn_clip) == [EGO_TOKENS, TEXT_TOKENS] * LAYERS * STEPS


@pytest.mark.parametrize("poses", VAWAN_POSES)
def test_with_vawans_poses_too(wan22, syn_clip, poses):
    """The light blocks' own attention is theirs: block patches and attention overrides see Wan's alone."""
    patched = with_syn(wan22, syn_clip, tiny_vawan(poses))
    assert keys_seen(patched, syn_clip) == [EGO_TOKENS, TEXT_TOKENS] * LAYERS * STEPS


def test_the_order_of_the_views_changes_nothing(wan22, syn_clip):
    """The tokens of the paper are a bag: no position, no view."""
    parts = [tiny_component(Component.MULTIEXOCON), tiny_component(Component.POSEINJ)]
    expected = run_syn(with_syn(wan22, syn_clip, *parts), syn_clip)
    other = replace(syn_clip, exo=syn_clip.exo[[2, 0, 3, 1]])
    torch.testing.assert_close(run_syn(with_syn(wan22, other, *parts), other), expected, rtol=0, atol=1e-4)
    backwards = replace(syn_clip, exo=syn_clip.exo.flip(2))
    torch.testing.assert_close(run_syn(with_syn(wan22, backwards, *parts), backwards), expected, rtol=0, atol=1e-4)
    changed = replace(syn_clip, exo=syn_clip.exo * 1.1)
    assert (run_syn(with_syn(wan22, changed, *parts), changed) - expected).abs().max() > 1e-3


def test_a_pose_reaches_no_earlier_frame(syn_clip):
    """PoseInj's tokens: latent frame i sees frames up to 4 i, as the VAE's, and seven of them."""
    from exo2ego.wan.exo2egosyn.adapters import SynAdapters
    from support.egosyn_graph import components

    parts = components(tiny_component(Component.POSEINJ))
    x = torch.zeros(1, 36, 3, 4, 6)

    def tokens(plucker):
        return SynAdapters(parts, None, plucker).features(x, [False], None, None).pose.unflatten(1, (3, -1))

    with torch.inference_mode():
        before = tokens(syn_clip.plucker)
        for frame in range(9):
            other = syn_clip.plucker.clone()
            other[frame] += 1
            moved = (tokens(other) != before).any(-1).any(-1)[0]
            assert moved.tolist() == [4 * i - 6 <= frame <= 4 * i for i in range(3)]
