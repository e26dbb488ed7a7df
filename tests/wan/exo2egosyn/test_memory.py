"""What Exo2EgoSyn adds to the memory of Wan 2.2, counted at real size without computing, and what ComfyUI is told."""

from __future__ import annotations

import pytest
import torch

from exo2ego.networks.components.files import LoadedComponent
from exo2ego.networks.components.metadata import METADATA_OF, Component
from exo2ego.networks.components.shapes import component_shapes
from exo2ego.networks.exo2egosyn.exo_tokens import ExoTokenConfig
from exo2ego.networks.exo2egosyn.pose_injection import PoseConfig
from exo2ego.networks.exo2egosyn.vawan import VawanConfig
from exo2ego.wan.exo2egosyn.adapters import SynAdapters
from exo2ego.wan.exo2egosyn.hooks import SynCounts, SynHooks
from exo2ego.wan.shared.memory import TENSORS_PER_TOKEN, TokenMemoryEstimate
from support.egosyn_graph import components, run_syn, with_syn
from support.tensor_memory import counted_tensors
from support.tiny_components import tiny_component, tiny_vawan

DIM, HEADS, FFN = 5120, 40, 13824
EXO_TOKENS = 3072  # 4 views of 9 frames at 256 x 256
VECTOR = 2 * DIM  # bytes, in bfloat16
CFG, ONE = [False, True], [False]

SYSTEMS = {
    "full": {Component.MULTIEXOCON: ExoTokenConfig(), Component.POSEINJ: PoseConfig()},
    "vawan": {Component.VAWAN: VawanConfig()},
    "vawan with ac3d": {Component.VAWAN: VawanConfig(pose="ac3d")},
    "vawan with wide ac3d": {Component.VAWAN: VawanConfig(pose="ac3d", pose_width=2048)},
}


def adapters_of(system, frames=3) -> SynAdapters:
    """The adapters of the paper's size, without numbers in them; `frames` are latent ones."""
    configs = system if isinstance(system, dict) else SYSTEMS[system]

    def part(component, config):
        tensors = {name: torch.empty(shape, device="meta") for name, shape in component_shapes(config).items()}
        return LoadedComponent("", METADATA_OF[component](), config, tensors)

    parts = components(*(part(component, config) for component, config in configs.items()))
    return SynAdapters(parts, torch.zeros(4, 16, frames, 32, 32), torch.zeros(4 * frames - 3, 6, 256, 256))


@pytest.fixture(scope="module")
def wan():
    """Wan 2.2 with two of its forty blocks, in bfloat16, without numbers in them."""
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    sizes = {"in_dim": 36, "dim": DIM, "ffn_dim": FFN, "num_heads": HEADS, "num_layers": 2}
    return WanModel(**sizes, device="meta", dtype=torch.bfloat16, operations=comfy.ops.disable_weight_init)


def flash(function, q, k, v, heads, *args, **kwargs):
    """Attention as the memory sees it with kernels that keep no scores."""
    return torch.empty_like(q)


def peak(wan, is_null, adapters=None, frames=3) -> int:
    """Bytes at the peak of a model call, beside weights."""
    rows = len(is_null)
    x = torch.empty(rows, 36, frames, 32, 32, device="meta", dtype=torch.bfloat16)
    timestep = torch.empty(rows, device="meta")
    text = torch.empty(rows, 512, 4096, device="meta", dtype=torch.bfloat16)
    options = {"optimized_attention_override": flash}
    with torch.inference_mode(), counted_tensors() as memory:
        if adapters is not None:
            features = adapters.features(x, is_null, None, None)
            options = SynHooks(features, adapters.enter, 2, SynCounts()).installed(options)
        wan(x, timestep, text, transformer_options=options)
    return memory.peak


@pytest.mark.parametrize("is_null", [ONE, CFG], ids=["one branch", "both branches of CFG"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_less_than_200_mb_at_the_size_of_the_paper(wan, system, is_null):
    added = peak(wan, is_null, adapters_of(system)) - peak(wan, is_null)
    assert added < 200e6
    assert added > (20e6 if system == "full" else 0)  # it is counted at all


def held_for_a_token(peak_at) -> float:
    """Bytes that the peak grows by for every sampled token: its slope over clips of 33 and 57 frames.

    In shorter clips what does not grow, such as weights that are cast for a moment, decides where the peak is.
    """
    short, long = (peak_at(frames) for frames in (9, 15))
    return (long - short) / (6 * 256)


# Bytes that Wan's block with VAWAN's channels takes for a token in ComfyUI 0.3.60 to 0.3.75. Newer versions let go of
# tensors earlier and estimate as before.
WAN_BLOCK = 124_192


@pytest.mark.parametrize("width", [512, 2048])
def test_what_light_blocks_hold_for_a_token(wan, width):
    """The tokens of the path; what a light block needs while it runs is less than what Wan's block needs."""
    config = VawanConfig(pose="ac3d", pose_width=width)

    def held(config):
        return held_for_a_token(lambda frames: peak(wan, ONE, adapters_of({Component.VAWAN: config}, frames), frames))

    counted = adapters_of({Component.VAWAN: config}, 3).numbers_per_token()
    assert counted == width
    posed, plain = held(config), held(VawanConfig())
    assert plain < posed <= max(plain, WAN_BLOCK) + 1.5 * 2 * counted


def test_an_embedding_for_every_frame_costs_nothing_at_the_peak(wan):
    """Core repeats shift and scale for the tokens of a frame, and has let go of them when a block is at its peak."""

    def peak_with(n_frames, n_embeddings):
        x = torch.empty(1, 256 * n_frames, DIM, device="meta", dtype=torch.bfloat16)
        modulation = torch.empty(1, n_embeddings, 6, DIM, device="meta", dtype=torch.bfloat16)
        turns = torch.empty(1, 256 * n_frames, 1, 64, 2, 2, device="meta")
        context = torch.empty(1, 512, DIM, device="meta", dtype=torch.bfloat16)
        with torch.inference_mode(), counted_tensors() as memory:
            options = {"optimized_attention_override": flash}
            wan.blocks[0](x, modulation, turns, context, transformer_options=options)
        return memory.peak

    assert held_for_a_token(lambda frames: peak_with(frames, frames) - peak_with(frames, 1)) < 0.1 * VECTOR


@pytest.mark.parametrize("is_null", [ONE, CFG], ids=["one branch", "both branches of CFG"])
def test_tokens_and_features_themselves(is_null):
    x = torch.empty(len(is_null), 36, 3, 32, 32, device="meta", dtype=torch.bfloat16)
    adapters = adapters_of("full")
    with torch.inference_mode(), counted_tensors() as memory:
        features = adapters.features(x, is_null, None, None)
        pose = features.pose.numel() * 2
        assert memory.live == pytest.approx(len(is_null) * EXO_TOKENS * VECTOR + pose, rel=0.02)
    assert memory.peak < 200e6


def test_vectors_for_an_exo_token(wan):
    """What a block needs for every further token of its context: the estimate covers it, and not by far too much."""

    def peak_with(n_tokens):
        context = torch.empty(1, n_tokens, DIM, device="meta", dtype=torch.bfloat16)
        x = torch.empty(1, 768, DIM, device="meta", dtype=torch.bfloat16)
        modulation = torch.empty(1, 6, DIM, device="meta", dtype=torch.bfloat16)
        turns = torch.empty(1, 768, 1, 64, 2, 2, device="meta")
        options = {
            "optimized_attention_override": lambda function, q, k, v, heads, *args, **kwargs: torch.empty_like(q)
        }
        with torch.inference_mode(), counted_tensors() as memory:
            wan.blocks[0](x, modulation, turns, context, transformer_options=options)
        return memory.peak + context.nbytes

    vectors = (peak_with(20_000) - peak_with(10_000)) / (10_000 * VECTOR)
    assert TENSORS_PER_TOKEN / 2 < vectors <= TENSORS_PER_TOKEN


# What ComfyUI is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2])
def test_the_estimate_grows_by_the_tokens(wan22, rows):
    shape = [rows, 16, 3, 32, 32]
    before = wan22.model.memory_required(shape)
    added = TokenMemoryEstimate(EXO_TOKENS, DIM, wan22).memory_required(shape) - before
    assert added == pytest.approx(rows * EXO_TOKENS * DIM * 4 * TENSORS_PER_TOKEN, rel=1e-3)  # 4 bytes: float32


@pytest.mark.parametrize(("poses", "numbers"), [("ac3d", 128), ("ac3d wider", 256), ("time and pose", 0)])
def test_the_estimate_grows_by_what_vawans_poses_hold(wan22, syn_clip, poses, numbers):
    shape = [2, 16, 3, 32, 32]
    before = wan22.model.memory_required(shape)
    patched = with_syn(wan22, syn_clip, tiny_vawan(poses))
    after = patched.get_model_object("memory_required")(shape)
    # 2 rows, 4 bytes: float32; rounded up to cells, which ComfyUI reckons at some kilobytes.
    assert after - before == pytest.approx(2 * 768 * numbers * 4, rel=2e-2)


def test_another_packs_estimate_counts(wan22):
    wan22.add_object_patch("memory_required", lambda input_shape, cond_shapes=None: 7.0 * input_shape[-1] + 3)
    estimate = TokenMemoryEstimate(10, 10, wan22)
    assert estimate.memory_required([1, 16, 1, 1, 100]) == pytest.approx(703 + 4 * 10 * 10 * TENSORS_PER_TOKEN, abs=8)


def test_loading_is_planned_for_the_tokens(wan22, syn_clip):
    """Through ComfyUI's own wrapper chain and estimate."""
    from comfy import patcher_extension, sampler_helpers

    def estimate(patched, noise_shape, conds, model_options=None):
        return sampler_helpers.estimate_memory(patched, noise_shape, conds)

    def planned(patched):
        wrappers = [wrapper for found in patched.wrappers.get("prepare_sampling", {}).values() for wrapper in found]
        executor = patcher_extension.WrapperExecutor.new_executor(estimate, wrappers)
        return executor.execute(patched, [1, 16, 3, 4, 6], {}, model_options={})

    part = tiny_component(Component.MULTIEXOCON)
    row = 72 * 256 * 4 * TENSORS_PER_TOKEN
    plain = planned(wan22)
    once = with_syn(wan22, syn_clip, part)
    for patched in (once, with_syn(once, syn_clip, part)):
        assert planned(patched) == pytest.approx([plain[0] + 2 * row, plain[1] + row], rel=0.01)
    assert planned(with_syn(once, syn_clip)) == pytest.approx(plain)


def test_every_estimate_of_a_run_is_corrected_once(wan22, syn_clip):
    """In the second run the object patch of the first is still in force while loading is planned."""
    areas = []
    own = wan22.model.memory_required

    def recorder(input_shape, cond_shapes=None):
        rows, channels, *cells = input_shape
        if rows * channels * torch.Size(cells).numel() < 10**6:  # not the question for its slope
            areas.append(torch.Size(cells).numel())
        return own(input_shape, cond_shapes=cond_shapes or {})

    wan22.add_object_patch("memory_required", recorder)
    part = tiny_component(Component.MULTIEXOCON)
    patched = with_syn(wan22, syn_clip, part)
    run_syn(patched, syn_clip)
    run_syn(with_syn(patched, syn_clip, part), syn_clip)
    assert len(areas) > 3
    (area,) = set(areas)
    assert area > 3 * 4 * 6


def test_the_estimate_of_the_plain_model_comes_back(wan22, syn_clip):
    shape = [1, 16, 3, 4, 6]
    before = wan22.model.memory_required(shape)
    run_syn(with_syn(wan22, syn_clip, tiny_component(Component.MULTIEXOCON)), syn_clip)
    assert wan22.model.memory_required(shape) > before
    run_syn(wan22, syn_clip)
    assert wan22.model.memory_required(shape) == before
