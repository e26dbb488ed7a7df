"""Random tensors of one size for GGA's measurements, and their exact attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from ..attention.bias import GGABias
from ..attention.call import AttentionCall
from ..attention.directions import TokenDirections
from ..attention.layout import TokenLayout
from . import paired

EGOX = TokenLayout(13, 28, 49, 28)

# Query rows that are compared with float64; all of them would take hours at EgoX's size.
_CHECKED = 128

# Of a chunk of queries in float64: its logits. A few times as much is taken.
_CHUNK_BYTES = 256 << 20

# The released directions are means of unit vectors: shorter than 1.
_LENGTH = 0.9


def layout_of(size: str) -> TokenLayout:
    """Return a layout from `FRAMESxROWSxEXOxEGO`, or from a number of tokens.

    A number takes EgoX's 13 frames of 49 + 28 columns with as many rows as come nearest: 1,001 tokens a row.

    Raises:
        ValueError: for anything else.
    """
    parts = [int(part) for part in size.replace(",", "").split("x")]
    if len(parts) == 4:
        return TokenLayout(*parts)
    if len(parts) != 1:
        raise ValueError(f"A size is a number of tokens or FRAMESxROWSxEXOxEGO, such as 13x28x49x28; got {size!r}.")
    rows = max(1, round(parts[0] / (EGOX.frames * EGOX.columns)))
    return TokenLayout(EGOX.frames, rows, EGOX.exo_columns, EGOX.ego_columns)


def described(layout: TokenLayout) -> str:
    """Write a layout as people read it."""
    return f"{layout.frames} x {layout.rows} x ({layout.exo_columns} + {layout.ego_columns})"


def random_directions(layout: TokenLayout, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return ego queries [T, rows, ego columns, 3] and exo keys [T, T, rows, exo columns, 3], some of them missing."""
    random = torch.Generator().manual_seed(seed)
    frames, rows = layout.frames, layout.rows
    queries = torch.randn(frames, rows, layout.ego_columns, 3, generator=random)
    keys = torch.randn(frames, frames, rows, layout.exo_columns, 3, generator=random)
    queries, keys = (_LENGTH * normalize(directions, dim=-1) for directions in (queries, keys))
    queries[0, 0, 0], keys[:, 0, 0, 0] = 0.0, 0.0
    return queries, keys


class Problem:
    """Queries, keys and values [B, n_tokens, heads * d] of one size, directions and a bias.

    Args:
        layout: order of the tokens.
        heads, head_dim: of the attention.
        batch: clips.
        dtype, device: of the tensors.
    """

    def __init__(
        self, layout: TokenLayout, heads: int, head_dim: int, batch: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.layout = layout
        self.heads = heads
        self.bias = GGABias()
        self.device = device
        random = torch.Generator(device).manual_seed(1)
        shape = batch, layout.n_tokens, heads * head_dim
        self.q, self.k, self.v = (torch.randn(shape, generator=random, device=device, dtype=dtype) for _ in range(3))
        self._directions = random_directions(layout)
        chosen = torch.randperm(layout.n_tokens, generator=torch.Generator().manual_seed(2))[:_CHECKED]
        self._checked = chosen.to(device)
        self._exact = {biased: self._exact_rows(biased) for biased in (False, True)}

    def directions(self) -> TokenDirections:
        """Return a new copy of the directions on the device."""
        return TokenDirections(*(part.to(self.device, copy=True) for part in self._directions))

    def call(self) -> AttentionCall:
        """Return the attention to compute, with a new copy of the directions."""
        return AttentionCall(self.q, self.k, self.v, self.heads, self.layout, self.directions(), self.bias)

    def plain(self, q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
        """Return plain attention as ComfyUI's own on PyTorch (attention_pytorch) computes it."""
        query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # [B, heads, L, d]
        return scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)

    def timed(self, call: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, paired.Lap]]:
        """Return a run of a call, with its time."""
        return partial(paired.timed, call, self.device)

    def error(self, out: Tensor, biased: bool) -> float:
        """Return the largest error against float64, relative to the largest value, among the checked rows."""
        exact = self._exact[biased]
        return float((out[:, self._checked].double() - exact).abs().max() / exact.abs().max())

    def _exact_rows(self, biased: bool) -> Tensor:
        """Return the attention of the checked queries in float64, head by head: [B, checked, heads * d]."""
        bias = self.exact_bias(self._checked) if biased else 0.0
        queries, keys, values = (x.unflatten(2, (self.heads, -1)) for x in (self.q, self.k, self.v))
        heads = []
        for head in range(self.heads):
            query, key, value = (x[:, :, head].double() for x in (queries[:, self._checked], keys, values))
            logits = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5 + bias  # [B, checked, L]
            heads.append(logits.softmax(dim=-1) @ value)
        return torch.cat(heads, dim=-1)

    def exact_bias(self, tokens: Tensor) -> Tensor:
        """Return the bias of the queries of some tokens to all keys in float64, [len(tokens), n_tokens]."""
        layout = self.layout
        queries, keys = (part.to(self.device, torch.float64) for part in self._directions)
        rows = torch.zeros(len(tokens), layout.n_tokens, dtype=torch.float64, device=self.device)
        exo = layout.as_grid(rows)[:, :, :, : layout.exo_columns]  # a view [len(tokens), T, rows, exo columns]
        line, column = tokens // layout.columns, tokens % layout.columns
        for frame in range(layout.frames):
            (chosen,) = torch.where((column >= layout.exo_columns) & (line // layout.rows == frame))
            query = queries[frame, line[chosen] % layout.rows, column[chosen] - layout.exo_columns]
            exo[chosen] = self.bias(query, keys[frame].flatten(0, 2)).view(len(chosen), *exo.shape[1:])
        return rows

    @torch.no_grad()
    def exact_gradients(self, grad: Tensor, head: int, biased: bool) -> Tensor:
        """Return result and gradients of q, k and v of one head in float64, [4, B, n_tokens, d], by their formulas.

        Args:
            grad: gradient of the result, [B, n_tokens, heads * d].
            head: which.
            biased: whether with GGA.
        """
        q, k, v, g = (x.unflatten(2, (self.heads, -1))[:, :, head].double() for x in (self.q, self.k, self.v, grad))
        scale = q.shape[-1] ** -0.5
        out, grad_q, grad_k, grad_v = (torch.zeros_like(q) for _ in range(4))
        size = max(1, _CHUNK_BYTES // (8 * len(q) * self.layout.n_tokens))
        for tokens in torch.arange(self.layout.n_tokens, device=self.device).split(size):
            logits = q[:, tokens] @ k.mT * scale  # [B, chunk, n_tokens]
            weights = (logits + self.exact_bias(tokens) if biased else logits).softmax(dim=-1)
            out[:, tokens] = weights @ v
            grad_weights = g[:, tokens] @ v.mT
            grad_logits = weights * (grad_weights - (weights * grad_weights).sum(dim=-1, keepdim=True)) * scale
            grad_q[:, tokens] = grad_logits @ k
            grad_k += grad_logits.mT @ q[:, tokens]
            grad_v += weights.mT @ g[:, tokens]
        return torch.stack([out, grad_q, grad_k, grad_v])
