"""VAWAN's camera poses beside the other things that artists put on a MODEL."""

from __future__ import annotations

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from exo2ego.wan.exo2egosyn import posed_time
from exo2ego.wan.exo2egosyn.posed_time import TIME_EMBEDDING, PosedTimeEmbedding
from support.egosyn_graph import STEPS, run_syn, with_syn, witness
from support.tiny_components import VAWAN_POSES, tiny_component, tiny_vawan

POSES = pytest.mark.parametrize("poses", ["ac3d", "time and pose"])


def near(got, expected):
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@POSES
def test_applied_again_it_replaces_itself(wan22, syn_clip, poses):
    expected = witness(syn_clip, tiny_vawan(poses))
    before = with_syn(wan22, syn_clip, tiny_vawan(poses, seed=77))
    again = with_syn(before, syn_clip, tiny_vawan(poses))
    near(run_syn(again, syn_clip), expected)
    assert len(again.get_nested_additional_models()) == 1
    other = {"ac3d": "time and pose", "time and pose": "ac3d"}[poses]
    near(run_syn(with_syn(again, syn_clip, tiny_vawan(other)), syn_clip), witness(syn_clip, tiny_vawan(other)))
    none = with_syn(again, syn_clip)
    assert TIME_EMBEDDING not in none.object_patches
    assert torch.equal(run_syn(none, syn_clip), run_syn(wan22, syn_clip))
    near(run_syn(before, syn_clip), witness(syn_clip, tiny_vawan(poses, seed=77)))


@POSES
def test_the_model_before_stays_as_it_was(wan22, syn_clip, poses):
    embedding = wan22.model.diffusion_model.time_embedding
    before = run_syn(wan22, syn_clip)
    run_syn(with_syn(wan22, syn_clip, tiny_vawan(poses)), syn_clip)
    assert torch.equal(run_syn(wan22, syn_clip), before)
    assert wan22.model.diffusion_model.time_embedding is embedding
    assert not wan22.object_patches


@POSES
@pytest.mark.parametrize("keys", [["diffusion_model"], ["diffusion_model.blocks.0", "diffusion_model.blocks.1"]])
def test_torch_compile(wan22, syn_clip, poses, keys):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    torch._dynamo.reset()
    patched = with_syn(wan22, syn_clip, tiny_vawan(poses))
    set_torch_compile_wrapper(patched, backend="eager", keys=keys)
    near(run_syn(patched, syn_clip), witness(syn_clip, tiny_vawan(poses)))


@POSES
def test_positive_and_negative_one_after_the_other(wan22, syn_clip, poses):
    patched = with_syn(wan22, syn_clip, tiny_vawan(poses))

    def one_by_one(executor, model, conds, x, timestep, options):
        return [
            executor(model, [None] * index + [cond], x, timestep, options)[index] for index, cond in enumerate(conds)
        ]

    patched.add_wrapper_with_key("calc_cond_batch", "one_by_one", one_by_one)
    near(run_syn(patched, syn_clip), witness(syn_clip, tiny_vawan(poses)))


@POSES
def test_block_patches_of_others_stay_in_force(wan22, syn_clip, poses):
    seen = []

    def block_patch(args, extra):
        seen.append(args["img"].shape[1])
        return extra["original_block"](args)

    patched = with_syn(wan22, syn_clip, tiny_vawan(poses))
    for block in (0, 1):
        patched.set_model_patch_replace(block_patch, "dit", "double_block", block)
    near(run_syn(patched, syn_clip), witness(syn_clip, tiny_vawan(poses)))
    assert seen == [18] * 2 * STEPS


@POSES
def test_the_poses_are_a_model_that_comfyui_loads(wan22, syn_clip, poses):
    part = tiny_vawan(poses)
    (adapters,) = with_syn(wan22, syn_clip, part).get_nested_additional_models()
    expected = sum(tensor.nbytes for key, tensor in part.state_dict.items() if key.startswith("pose."))
    assert adapters.model_size() >= expected


@pytest.mark.parametrize("poses", VAWAN_POSES)
def test_beside_multiexocons_own_run(wan22, syn_clip, poses):
    """A model with MultiExoCon, then the same one with VAWAN in its place."""
    before = with_syn(wan22, syn_clip, tiny_component(Component.MULTIEXOCON))
    near(run_syn(with_syn(before, syn_clip, tiny_vawan(poses)), syn_clip), witness(syn_clip, tiny_vawan(poses)))


# Time&Pose --------------------------------------------------------------------------------------------------------


def lora_on_the_time_embedding():
    random = torch.Generator().manual_seed(3)
    tensors = {}
    for layer, width in (("0", 256), ("2", 256)):
        name = f"diffusion_model.time_embedding.{layer}"
        tensors[f"{name}.lora_A.weight"] = torch.randn(4, width, generator=random) * width**-0.5
        tensors[f"{name}.lora_B.weight"] = torch.randn(256, 4, generator=random) * 0.5
    return tensors


@pytest.mark.parametrize("lora_first", [True, False])
def test_a_lora_on_the_time_embedding_counts(wan22, syn_clip, lora_first):
    """The object patch has the same layers under the same names."""
    import comfy.sd

    lora, part = lora_on_the_time_embedding(), tiny_vawan("time and pose")

    def with_lora(model):
        return comfy.sd.load_lora_for_models(model, None, dict(lora), 1.0, 0.0)[0]

    model = with_syn(with_lora(wan22) if lora_first else wan22, syn_clip, part)
    got = run_syn(model if lora_first else with_lora(model), syn_clip, cfg=1.0)
    plain = run_syn(with_syn(wan22, syn_clip, part), syn_clip, cfg=1.0)
    assert (got - plain).abs().max() > 1e-3
    for layer in ("0", "2"):
        module = wan22.model.diffusion_model.time_embedding[int(layer)]
        name = f"diffusion_model.time_embedding.{layer}"
        with torch.no_grad():
            module.weight += lora[f"{name}.lora_B.weight"] @ lora[f"{name}.lora_A.weight"]
    near(got, run_syn(with_syn(wan22, syn_clip, part), syn_clip, cfg=1.0))


def test_a_core_that_takes_an_embedding_for_every_token(wan22, syn_clip, monkeypatch):
    """As versions of ComfyUI do that know none for every frame."""
    monkeypatch.setattr(posed_time, "_TAKES_FRAMES", False)
    part = tiny_vawan("time and pose")
    near(run_syn(with_syn(wan22, syn_clip, part), syn_clip), witness(syn_clip, part))


def test_another_packs_time_embedding_stays_in_force(wan22, syn_clip):
    class Louder(torch.nn.Sequential):
        def forward(self, x):
            return 1.1 * super().forward(x)

    patched = wan22.clone()
    louder = Louder(*wan22.model.diffusion_model.time_embedding)
    patched.add_object_patch(TIME_EMBEDDING, louder)
    expected = run_syn(patched, syn_clip)
    ours = with_syn(patched, syn_clip, tiny_vawan("time and pose"))
    assert isinstance(ours.object_patches[TIME_EMBEDDING], PosedTimeEmbedding)
    for model in (with_syn(ours, syn_clip), with_syn(with_syn(ours, syn_clip, tiny_vawan("ac3d")), syn_clip)):
        assert model.object_patches[TIME_EMBEDDING] is louder
        assert torch.equal(run_syn(model, syn_clip), expected)


def test_a_time_embedding_of_another_kind_is_an_error(wan22, syn_clip):
    patched = wan22.clone()
    patched.add_object_patch(TIME_EMBEDDING, torch.nn.Identity())
    with pytest.raises(ValueError, match="another node has put a Identity in its place"):
        with_syn(patched, syn_clip, tiny_vawan("time and pose"))


def test_a_node_that_computes_the_time_embedding_itself_is_an_error(wan22, syn_clip):
    patched = with_syn(wan22, syn_clip, tiny_vawan("time and pose"))
    patched.add_object_patch(TIME_EMBEDDING, wan22.model.diffusion_model.time_embedding)
    with pytest.raises(ValueError, match="Time&Pose has no effect: another node computes Wan's time embedding"):
        run_syn(patched, syn_clip)


def test_time_steps_that_are_not_a_frames_are_an_error(wan22, syn_clip):
    patched = with_syn(wan22, syn_clip, tiny_vawan("time and pose"))
    embedding = patched.object_patches[TIME_EMBEDDING]
    sines, update = torch.randn(2 * 7, 256), torch.zeros(3, 256)
    with embedding.adding(update, rows=2, tokens_per_frame=6), pytest.raises(ValueError, match="7 time steps a video"):
        embedding(sines)
    assert embedding(sines).shape == (14, 256)


def test_after_an_error_nothing_is_added_any_more(wan22, syn_clip):
    patched = with_syn(wan22, syn_clip, tiny_vawan("time and pose"))

    def fail(args, extra):
        raise RuntimeError("stopped")

    failing = patched.clone()
    failing.set_model_patch_replace(fail, "dit", "double_block", 1)
    with pytest.raises(RuntimeError, match="stopped"):
        run_syn(failing, syn_clip)
    embedding, sines = patched.object_patches[TIME_EMBEDDING], torch.randn(2, 256)
    assert torch.equal(embedding(sines), wan22.model.diffusion_model.time_embedding(sines))
    near(run_syn(patched, syn_clip), witness(syn_clip, tiny_vawan("time and pose")))
