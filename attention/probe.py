"""Where the attention of one ego token goes (paper, Fig. 7), with and without GGA's bias.

One row of the softmax is enough, so that nothing larger than n_tokens x d is ever made: per head

    plain[n]  = softmax_n(q_m . k_n / sqrt(d))                guided[n] = softmax_n(q_m . k_n / sqrt(d) + bias[m, n])

in float32 for the chosen token m and every key n, then the mean over heads, clips and blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from .bias import GGABias
from .directions import TokenDirections
from .layout import TokenLayout


@dataclass(frozen=True)
class EgoToken:
    """A token of the ego view.

    Attributes:
        frame: latent frame.
        row, column: place in the ego view's grid; the column counts from the ego view's left edge.
    """

    frame: int
    row: int
    column: int

    @classmethod
    def at(cls, layout: TokenLayout, frame: int, x: float, y: float) -> EgoToken:
        """Return the token at a point of the ego picture, x and y from 0 (left, top) to 1 (right, bottom).

        Raises:
            ValueError: if the point or the latent frame is outside.
        """
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            raise ValueError(f"A point of the ego frame has x and y from 0 to 1, got {x:g} and {y:g}.")
        if not 0 <= frame < layout.frames:
            raise ValueError(f"The clip has the latent frames 0 to {layout.frames - 1}, got {frame}.")
        row, column = (min(int(at * size), size - 1) for at, size in ((y, layout.rows), (x, layout.ego_columns)))
        return cls(frame, row, column)

    def index(self, layout: TokenLayout) -> int:
        """Return the token's place in the joined sequence."""
        return (self.frame * layout.rows + self.row) * layout.columns + layout.exo_columns + self.column


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """The share of one token's attention that every token gets; all shares together are 1.

    Attributes:
        exo: [T, rows, exo_columns] float32 on the CPU.
        ego: [T, rows, ego_columns].
    """

    exo: Tensor
    ego: Tensor

    @property
    def exo_share(self) -> float:
        """The part of the attention that goes to the exo view."""
        return float(self.exo.sum())

    @property
    def even(self) -> float:
        """The share of every token if attention were spread evenly."""
        return 1.0 / (self.exo.numel() + self.ego.numel())

    def mean_angle(self, token: EgoToken, directions: TokenDirections) -> float | None:
        """Return how far from the token's own direction its attention in the exo view lies.

        Angles are those between the directions that GGA compares, weighted with the attention.

        Args:
            token: the token whose map this is.
            directions: of the clip; exo tokens without direction are left out.

        Returns:
            Degrees, or None if the token or every attended exo token has no direction.
        """
        query, keys = _directions_of(token, directions)
        cosine = torch.nn.functional.cosine_similarity(query, keys, dim=-1)  # [T, rows, exo_columns]
        known = (query != 0).any() & (keys != 0).any(dim=-1) & cosine.isfinite()
        weight = torch.where(known, self.exo, 0.0)
        if float(weight.sum()) == 0.0:
            return None
        angle = torch.where(known, cosine.clamp(-1.0, 1.0), 1.0).acos().rad2deg()
        return float((weight * angle).sum() / weight.sum())


def bias_of_token(layout: TokenLayout, token: EgoToken, directions: TokenDirections, bias: GGABias) -> Tensor:
    """Return GGA's bias of one ego query to all keys: [n_tokens], zero at the ego keys."""
    query, keys = _directions_of(token, directions)
    row = torch.zeros(1, layout.n_tokens, dtype=torch.float32)
    exo = layout.as_grid(row)[:, :, :, : layout.exo_columns]  # a view
    exo.copy_(bias(query.unsqueeze(0), keys.flatten(0, 2)).view(exo.shape))
    return row[0]


def attention_of_token(q: Tensor, k: Tensor, heads: int, index: int, bias: Tensor | None = None) -> Tensor:
    """Return the softmax row of one query, averaged over heads and clips.

    Args:
        q: queries [B, n_tokens, heads * d] as self-attention gets them, after norm and rotary embedding.
        k: keys, of the same shape.
        heads: number of heads.
        index: the query's place among the tokens.
        bias: [n_tokens] or None; what is added to the logits in a second softmax.

    Returns:
        [1, n_tokens] without a bias, [2, n_tokens] with one (first without, then with it). Float32, or float64 for
        float64 queries; no product is rounded to half precision.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    biases = torch.zeros(1, k.shape[1], dtype=dtype, device=q.device)
    if bias is not None:
        biases = torch.cat([biases, bias.to(biases).unsqueeze(0)])  # [1 or 2, n_tokens]
    query = rearrange(q[:, index], "b (heads d) -> b heads d", heads=heads).to(dtype)
    keys = rearrange(k, "b n (heads d) -> b n heads d", heads=heads)
    mean = torch.zeros_like(biases)
    for head in range(heads):  # one head at a time: a copy of all keys in float32 would take 0.6 GB at EgoX's size
        products = keys[:, :, head].to(dtype) * query[:, None, head]  # no matrix product, which TF32 would round
        logits = products.sum(dim=-1) * query.shape[-1] ** -0.5  # [B, n_tokens]
        mean += (logits.unsqueeze(1) + biases).softmax(dim=-1).mean(dim=0)
    return mean / heads


class AttentionProbe:
    """Averages the attention of one ego token over the blocks that it is shown.

    Args:
        layout: order of the tokens.
        token: whose attention.
        bias: GGA's bias of the token, [n_tokens], or None.
    """

    def __init__(self, layout: TokenLayout, token: EgoToken, bias: Tensor | None = None) -> None:
        self._layout = layout
        self._index = token.index(layout)
        self._bias = bias
        self._sum: Tensor | None = None
        self._shown = 0

    def add(self, q: Tensor, k: Tensor, heads: int) -> None:
        """Take in the queries and keys [B, n_tokens, heads * d] of a block's self-attention."""
        rows = attention_of_token(q, k, heads, self._index, self._bias)
        self._sum = rows if self._sum is None else self._sum + rows
        self._shown += 1

    def maps(self) -> list[AttentionMap]:
        """Return the map without GGA's bias and, where there is one, the map with it.

        Raises:
            ValueError: if no block was shown.
        """
        if self._sum is None:
            raise ValueError("No self-attention was recorded.")
        grids = self._layout.as_grid((self._sum / self._shown).float().cpu())  # [1 or 2, T, rows, columns]
        left = self._layout.exo_columns
        return [AttentionMap(grid[..., :left], grid[..., left:]) for grid in grids]


def _directions_of(token: EgoToken, directions: TokenDirections) -> tuple[Tensor, Tensor]:
    """Return the token's direction [3] and those of the exo keys seen from its frame, [T, rows, exo_columns, 3]."""
    query = directions.ego_queries[token.frame, token.row, token.column]
    return query.float().cpu(), directions.exo_keys[token.frame].float().cpu()
