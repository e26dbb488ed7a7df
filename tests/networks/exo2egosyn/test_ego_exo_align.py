from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from exo2ego.networks.components.metadata import Component
from exo2ego.networks.exo2egosyn.ego_exo_align import AlignConfig, EgoExoAlign
from exo2ego.networks.exo2egosyn.st_transformer import Attention, LayerNorm, STConfig, unit_vectors
from support.tiny_egosyn import ALIGN_BLOCKS, ALIGN_DIM, ALIGN_DIM_HEAD, ALIGN_HEADS, tiny_component

CONFIG = AlignConfig(ALIGN_DIM, ALIGN_HEADS, ALIGN_DIM_HEAD, ALIGN_BLOCKS)


def trained(config: AlignConfig = CONFIG) -> EgoExoAlign:
    module = EgoExoAlign(config)
    module.load_state_dict(tiny_component(Component.ALIGN).tensors)
    return module


def maps(batch: int = 2, views: int = 3, height: int = 6, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(batch, views, 22, height, width, generator=torch.Generator().manual_seed(seed))


# The network of docs/exo2egosyn-format.md, step by step ---------------------------------------------------------------


def layer_norm(x: Tensor, gain: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * gain + shift


def peg(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Depthwise 3 x 3 x 3 over (view, row, column) of [V, h, w, D], zero outside: a sum over the 27 neighbours."""
    views, height, width, _ = x.shape
    out = torch.zeros_like(x) + bias
    for v in range(views):
        for y in range(height):
            for column in range(width):
                for dv in (-1, 0, 1):
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            place = (v + dv, y + dy, column + dx)
                            if all(0 <= at < size for at, size in zip(place, (views, height, width))):
                                out[v, y, column] += weight[:, 0, dv + 1, dy + 1, dx + 1] * x[place]
    return out


def attention(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    """Of one sequence [L, D]."""
    inner = ALIGN_HEADS * ALIGN_DIM_HEAD
    q = layer_norm(x, p["norm.weight"]) @ p["to_q.weight"].T
    k = x @ p["to_kv.weight"][:inner].T
    v = x @ p["to_kv.weight"][inner:].T
    heads = []
    for head in range(ALIGN_HEADS):
        part = slice(head * ALIGN_DIM_HEAD, (head + 1) * ALIGN_DIM_HEAD)
        unit_q = q[:, part] / q[:, part].norm(dim=-1, keepdim=True) * p["q_scale"]
        unit_k = k[:, part] / k[:, part].norm(dim=-1, keepdim=True) * p["k_scale"]
        heads.append((8 * torch.einsum("qd,kd->qk", unit_q, unit_k)).softmax(dim=-1) @ v[:, part])
    return torch.cat(heads, dim=-1) @ p["to_out.weight"].T


def feed_forward(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    inner = int(4 * 2 / 3 * ALIGN_DIM)
    both = layer_norm(x, p["norm.weight"], p["norm.bias"]) @ p["w_in.weight"].T
    value, gate = both[..., :inner], both[..., inner:]
    return (value * 0.5 * gate * (1 + torch.erf(gate / math.sqrt(2)))) @ p["w_out.weight"].T


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def by_hand(sample: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """View outputs [V, 22, h, w] of one sample."""
    views, channels, height, width = sample.shape
    rows, columns = height // 2, width // 2
    x = torch.empty(views, rows, columns, ALIGN_DIM, dtype=sample.dtype)
    for v in range(views):
        for row in range(rows):
            for column in range(columns):
                patch = torch.stack(
                    [
                        sample[v, c, 2 * row + dy, 2 * column + dx]
                        for c in range(channels)
                        for dy in (0, 1)
                        for dx in (0, 1)
                    ]
                )
                patch = layer_norm(patch, tensors["stem.norm_in.weight"], tensors["stem.norm_in.bias"])
                token = tensors["stem.proj.weight"] @ patch + tensors["stem.proj.bias"]
                x[v, row, column] = layer_norm(token, tensors["stem.norm_out.weight"], tensors["stem.norm_out.bias"])
    for block in range(ALIGN_BLOCKS):
        for half in ("spatial", "temporal"):
            p = below(tensors, f"blocks.{block}.{half}.")
            x = x + peg(x, p["peg.weight"], p["peg.bias"])
            attended = torch.empty_like(x)
            if half == "spatial":
                for v in range(views):
                    attended[v] = attention(x[v].reshape(rows * columns, -1), below(p, "attn.")).view(rows, columns, -1)
            else:
                for row in range(rows):
                    for column in range(columns):
                        attended[:, row, column] = attention(x[:, row, column], below(p, "attn."))
            x = x + attended
            x = x + feed_forward(x, below(p, "ff."))
    x = layer_norm(x, tensors["norm_out.weight"]) @ tensors["head.weight"].T + tensors["head.bias"]
    out = torch.empty_like(sample)
    for c in range(channels):
        for dy in (0, 1):
            for dx in (0, 1):
                out[:, c, dy::2, dx::2] = x[..., c * 4 + dy * 2 + dx]
    return out


def test_the_network_is_what_the_format_says():
    module, x = trained().double(), maps().double()
    tensors = {key: value.double() for key, value in tiny_component(Component.ALIGN).tensors.items()}
    expected = torch.stack([by_hand(sample, tensors) for sample in x])
    got = module.view_outputs(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(trained().view_outputs(x.float()), expected.float(), rtol=0, atol=1e-5)
    latent = sum(expected[:, view, :16] for view in range(3)) / 3
    torch.testing.assert_close(module(x)[:, :, 0], latent, rtol=0, atol=1e-9)
    assert expected.std() > 0.1


# Shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 10)])
def test_shapes(views, height, width):
    x = maps(2, views, height, width)
    assert trained()(x).shape == (2, 16, 1, height, width)
    assert trained().view_outputs(x).shape == x.shape


def test_shapes_at_the_papers_size():
    with torch.device("meta"):
        module, x = EgoExoAlign(AlignConfig()), torch.empty(1, 4, 22, 32, 32)
    assert module(x).shape == (1, 16, 1, 32, 32)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_other_patch_sizes(patch):
    module = EgoExoAlign(replace(CONFIG, patch_size=patch))
    assert module(maps(1, 2, 8, 4)).shape == (1, 16, 1, 8, 4)


def test_samples_of_a_batch_do_not_mix():
    x = maps()
    together = trained()(x)
    alone = torch.cat([trained()(sample[None]) for sample in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 16, 8, 8), r"maps \[B, V, 22, h, w\].*got the shape \[1, 4, 16, 8, 8\]"),
        ((4, 22, 8, 8), "got the shape"),
        ((1, 0, 22, 8, 8), "got the shape"),
        ((1, 4, 22, 8, 7), "7 x 8 cannot be cut like that. Use images whose width and height are multiples of 16"),
    ],
)
def test_maps_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        trained()(torch.zeros(shape))


@pytest.mark.parametrize("change", [{"dim": 0}, {"heads": 0}, {"num_blocks": 0}, {"patch_size": 0}, {"channels": 15}])
def test_sizes_that_make_no_network(change):
    with pytest.raises(ValueError, match="at least"):
        AlignConfig(**change)


# Its peculiarities ------------------------------------------------------------------------------------------------


def test_views_see_each_other_forward_and_back():
    """Neither attention nor the position encoding is causal: each view moves what every other view's slot says."""
    x = maps(1, 4)
    before = trained().view_outputs(x)
    for view in range(4):
        changed = x.clone()
        changed[:, view] *= -1
        moved = (trained().view_outputs(changed) - before).abs().amax(dim=(0, 2, 3, 4))
        assert moved.min() > 1e-3


def test_the_position_encoding_looks_both_ways_and_no_further_than_one_view():
    half = trained().blocks[0].temporal
    x = torch.randn(1, ALIGN_DIM, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, :, 2] += 1
    moved = (half.peg(changed) - half.peg(x)).abs().amax(dim=(0, 1, 3, 4))
    assert (moved > 1e-3).tolist() == [False, True, True, True, False]


def test_the_position_encoding_stays_out_of_autocast_on_cpus():
    """There a depthwise convolution's gradients in bfloat16 are unwritten memory at times, and infinite."""
    half = trained().blocks[0].spatial
    x = torch.randn(1, 2, 4, 4, ALIGN_DIM, generator=torch.Generator().manual_seed(1))
    expected = half.peg(x.movedim(-1, 1))
    for given in (x, x.bfloat16()):
        met = []
        half.peg.register_forward_hook(lambda module, inputs, output, met=met: met.append(output))
        with torch.autocast("cpu", torch.bfloat16):
            half(given)
        assert met[0].dtype == torch.float32
        assert torch.allclose(met[0], expected, atol=0 if given is x else 0.05)


def test_keys_and_values_come_from_the_tokens_as_they_are():
    """Queries are normalised, keys brought to unit length: twice the tokens give the same weights and twice the sum."""
    attn = trained().blocks[0].spatial.attn.double()
    x = torch.randn(2, 7, ALIGN_DIM, generator=torch.Generator().manual_seed(2)).double() + 3
    torch.testing.assert_close(attn(2 * x), 2 * attn(x), rtol=0, atol=1e-3)
    assert attn(x).abs().max() > 0.1


def test_queries_and_keys_are_of_unit_length():
    attn = trained().blocks[0].spatial.attn
    x = torch.randn(2, 7, ALIGN_DIM, generator=torch.Generator().manual_seed(3))
    before = attn(x)
    with torch.no_grad():
        attn.to_q.weight *= 10
        attn.to_kv.weight[: ALIGN_HEADS * ALIGN_DIM_HEAD] *= 0.1
    torch.testing.assert_close(attn(x), before, rtol=0, atol=1e-5)
    for scale in (attn.q_scale, attn.k_scale):
        with torch.no_grad():
            scale *= 2
        assert (attn(x) - before).abs().max() > 1e-3


def test_norms_work_in_float32_on_bfloat16():
    """Weights in float32, tokens in bfloat16 far from zero: only the result may be rounded."""
    torch.manual_seed(4)
    x = (torch.randn(50, ALIGN_DIM) + 30).bfloat16()
    norm = LayerNorm(ALIGN_DIM, bias=True)
    torch.nn.init.normal_(norm.weight, 1, 0.1)
    torch.nn.init.normal_(norm.bias)
    exact = layer_norm(x.double(), norm.weight.double(), norm.bias.double()).bfloat16()
    naive = layer_norm(x, norm.weight.bfloat16(), norm.bias.bfloat16())
    assert norm(x).dtype == torch.bfloat16
    assert (norm(x) != exact).double().mean() < 0.01
    assert (naive != exact).double().mean() > 0.1


def test_unit_length_is_made_in_float32_on_bfloat16():
    torch.manual_seed(5)
    x = torch.randn(50, 64).bfloat16()
    scale = torch.randn(64)
    exact = (normalize(x.double(), dim=-1) * scale.double()).bfloat16()
    naive = normalize(x, dim=-1) * scale.bfloat16()
    assert unit_vectors(x, scale).dtype == torch.bfloat16
    assert (unit_vectors(x, scale) != exact).double().mean() < 0.01
    assert (naive != exact).double().mean() > 0.1


def test_bfloat16_stays_near_float32():
    x = maps()
    exact = trained()(x)
    rough = trained().bfloat16()(x.bfloat16())
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_every_parameter_is_trained():
    module = trained()
    module.view_outputs(maps()).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_loss_of_the_latent_reaches_the_maps():
    """Stage 0 trains on the mean over the views."""
    x = maps().requires_grad_()
    trained()(x).abs().mean().backward()
    assert (x.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


def test_a_new_network_starts_with_neutral_norms_and_scales():
    module = EgoExoAlign(CONFIG)
    for name, parameter in module.named_parameters():
        if "scale" in name or ("norm" in name and name.endswith("weight")):
            assert (parameter == 1).all(), name


def test_attention_is_of_any_head_width():
    attn = Attention(STConfig(dim=16, heads=3, dim_head=5, num_blocks=1), torch.nn, None, None)
    assert attn(torch.randn(2, 4, 16)).shape == (2, 4, 16)
