"""EgoExo-Align in GenieRedux's names: a network of that naming, written out here, gives what ours gives."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, normalize, pad

from exo2ego.networks.components.build import build_align
from exo2ego.networks.components.files import read_component
from exo2ego.networks.components.metadata import Component

DIM, HEADS, DIM_HEAD, BLOCKS, PATCH, CHANNELS = 24, 3, 8, 2, 2, 22
INNER = int(4 * 2 / 3 * DIM)


class GainNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gamma = nn.Parameter(1 + 0.1 * torch.randn(dim))
        self.register_buffer("beta", torch.zeros(dim))

    def forward(self, x):
        return layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class Geglu(nn.Module):
    def forward(self, x):
        value, gate = x.chunk(2, dim=-1)
        return gelu(gate) * value


def feed_forward():
    return nn.Sequential(
        nn.LayerNorm(DIM),
        nn.Linear(DIM, 2 * INNER, bias=False),
        Geglu(),
        nn.Dropout(0.0),
        nn.Linear(INNER, DIM, bias=False),
    )


class Peg(nn.Module):
    def __init__(self):
        super().__init__()
        self.dsconv = nn.Conv3d(DIM, DIM, 3, groups=DIM)

    def forward(self, x):  # [B, V, h, w, D]
        return self.dsconv(pad(x.permute(0, 4, 1, 2, 3), (1,) * 6)).permute(0, 2, 3, 4, 1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.context_norm = GainNorm(DIM), GainNorm(DIM)
        self.to_q = nn.Linear(DIM, HEADS * DIM_HEAD, bias=False)
        self.to_kv = nn.Linear(DIM, 2 * HEADS * DIM_HEAD, bias=False)
        self.q_scale = nn.Parameter(1 + 0.1 * torch.randn(DIM_HEAD))
        self.k_scale = nn.Parameter(1 + 0.1 * torch.randn(DIM_HEAD))
        self.to_out = nn.Linear(HEADS * DIM_HEAD, DIM, bias=False)

    def forward(self, x):  # [N, L, D]
        parts = self.to_q(self.norm(x)), *self.to_kv(x).chunk(2, dim=-1)
        q, k, v = (part.view(*x.shape[:2], HEADS, DIM_HEAD).transpose(1, 2) for part in parts)
        q, k = normalize(q, dim=-1) * self.q_scale, normalize(k, dim=-1) * self.k_scale
        out = (8 * q @ k.transpose(2, 3)).softmax(dim=-1) @ v
        return self.to_out(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial_peg, self.spatial_attention, self.spatial_ff = Peg(), Attention(), feed_forward()
        self.temporal_peg, self.temporal_attention, self.temporal_ff = Peg(), Attention(), feed_forward()

    def forward(self, x):  # [B, V, h, w, D]
        b, v, h, w, d = x.shape
        x = x + self.spatial_peg(x)
        x = x + self.spatial_attention(x.reshape(b * v, h * w, d)).view(x.shape)
        x = x + self.spatial_ff(x)
        x = x + self.temporal_peg(x)
        across = x.permute(0, 2, 3, 1, 4).reshape(b * h * w, v, d)
        x = x + self.temporal_attention(across).view(b, h, w, v, d).permute(0, 3, 1, 2, 4)
        return x + self.temporal_ff(x)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([Block()]) for _ in range(BLOCKS))
        self.norm_out = GainNorm(DIM)

    def forward(self, x):
        for (block,) in self.layers:
            x = block(x)
        return self.norm_out(x)


class Nothing(nn.Module):
    """In the place of a rearrangement, which has no weights."""


class Genie(nn.Module):
    """One stem and one head for all frames, under the names that GenieRedux gives those of the first."""

    def __init__(self, suffix="_first_frame"):
        super().__init__()
        self.suffix = suffix
        cells = CHANNELS * PATCH**2
        stem = nn.Sequential(Nothing(), nn.LayerNorm(cells), nn.Linear(cells, DIM), nn.LayerNorm(DIM))
        setattr(self, f"to_patch_emb{suffix}", stem)
        self.encoder = Transformer()
        setattr(self, f"to_pixels{suffix}", nn.Sequential(nn.Linear(DIM, cells), Nothing()))

    def forward(self, maps):  # [B, V, 22, h, w]
        b, v, c, h, w = maps.shape
        x = maps.view(b, v, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
        for layer in getattr(self, f"to_patch_emb{self.suffix}")[1:]:
            x = layer(x)
        x = getattr(self, f"to_pixels{self.suffix}")[0](self.encoder(x))
        x = x.view(b, v, h // PATCH, w // PATCH, c, PATCH, PATCH).permute(0, 1, 4, 2, 5, 3, 6)
        return x.reshape(b, v, c, h, w)[:, :, :16].mean(dim=1).unsqueeze(2)


def genie(seed: int = 0, suffix: str = "_first_frame") -> Genie:
    torch.manual_seed(seed)
    network = Genie(suffix)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith(("bias", "1.weight", "3.weight")) and value.ndim == 1:
                value.add_(0.1 * torch.randn(value.shape))
    return network


def maps() -> Tensor:
    return torch.randn(2, 4, CHANNELS, 4, 6, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    ("suffix", "prefix"), [("_first_frame", ""), ("", "model."), ("", "module.align.")], ids=["first", "all", "wrapped"]
)
def test_the_converted_network_gives_what_genie_gives(convert, tmp_path, suffix, prefix):
    network = genie(suffix=suffix)
    save_file({prefix + key: value for key, value in network.state_dict().items()}, tmp_path / "genie.safetensors")
    out = tmp_path / "align.safetensors"
    done = convert("align", tmp_path / "genie.safetensors", "--out", out, "--category", "bike", "--num-views", "4")
    assert done.code == 0, done.error
    loaded = read_component(out, Component.ALIGN)
    with torch.no_grad():
        expected, got = network(maps()), build_align(loaded)(maps())
    assert (got - expected).abs().max() < 1e-5
    assert expected.std() > 0.1
    metadata = loaded.metadata
    sizes = (metadata.dim, metadata.heads, metadata.dim_head, metadata.num_blocks, metadata.ff_mult)
    assert sizes == (DIM, HEADS, DIM_HEAD, BLOCKS, 4.0)
    assert (metadata.patch_size, metadata.category, metadata.num_views) == (2, "bike", 4)
    assert metadata.dtype == "float32"
    assert "Left out: 4 gains of context_norm" in done.text


def test_a_stem_for_each_kind_of_frame_that_is_the_same(convert, tmp_path):
    tensors = genie().state_dict()
    both = {**tensors, **{key.replace("_first_frame", ""): value.clone() for key, value in tensors.items()}}
    save_file(both, tmp_path / "genie.safetensors")
    assert convert("align", tmp_path / "genie.safetensors", "--out", tmp_path / "align.safetensors").code == 0


def changed(tensors, change):
    if change == "another stem":
        tensors["to_patch_emb.2.weight"] = 2 * tensors["to_patch_emb_first_frame.2.weight"]
    elif change == "a shift":
        tensors["encoder.layers.1.0.temporal_attention.norm.beta"] += 1
    elif change == "a decoder":
        tensors |= {k.replace("encoder", "decoder"): v.clone() for k, v in tensors.items() if "encoder" in k}
    elif change == "a codebook":
        tensors["vq._codebook.embed"] = torch.zeros(3)
    elif change == "a position bias":
        tensors["spatial_rel_pos_bias.net.0.0.weight"] = torch.zeros(3, 2)
    elif change == "a missing tensor":
        del tensors["encoder.layers.1.0.spatial_ff.4.weight"]
    elif change == "no head":
        del tensors["to_pixels_first_frame.0.weight"], tensors["to_pixels_first_frame.0.bias"]
    elif change == "not finite":
        tensors["encoder.layers.0.0.spatial_attention.q_scale"][3] = torch.nan
    elif change == "another network":
        tensors = {"conv.weight": torch.zeros(2, 2)}
    return tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("another stem", "counterpart for the other frames differ, and EgoExo-Align has one stem for all views"),
        ("a shift", "temporal_attention.norm.beta is not zero"),
        ("a decoder", "holds 2 transformers (decoder., encoder.)"),
        ("a codebook", "1 tensors have no place in EgoExo-Align (vq._codebook.embed)"),
        ("a position bias", "spatial_rel_pos_bias.net.0.0.weight"),
        ("a missing tensor", "1 tensors are missing (blocks.1.spatial.ff.w_out.weight)"),
        ("no head", "lacks the tensor head.bias"),
        ("not finite", "blocks.0.spatial.attn.q_scale holds values that are not finite"),
        ("another network", "no STTransformer in GenieRedux's names"),
    ],
)
def test_other_networks_are_refused(convert, tmp_path, change, message):
    tensors = changed({key: value.clone() for key, value in genie().state_dict().items()}, change)
    save_file(tensors, tmp_path / "genie.safetensors")
    done = convert("align", tmp_path / "genie.safetensors", "--out", tmp_path / "align.safetensors")
    assert done.code == 1
    assert message in done.error
    assert [file.name for file in tmp_path.iterdir()] == ["genie.safetensors"]
