"""Back end `harmonics`: GGA's bias approximated by channels of queries and keys, for kernels that take no bias.

A function of the angle between two directions is a sum of products of their spherical harmonics (the addition theorem,
DLMF 14.30.9): with a_l its Legendre coefficients,

    bias(q . k)  ~  sum over l = 0..3 of a_l P_l(q . k)  =  sum over 16 harmonics of a_l Y_lm(q) Y_lm(k)

so 16 channels appended to queries and keys put it into the logits of any attention with a head 16 channels wider; of
all sums of 16 such products this is the best one. A direction straight behind has a bias of -13.8, which no smooth sum
reaches: pairs are fitted by the root of their factor. What comes out is off by 0.3 nats at most up to 150 degrees (93 %
of all directions); straight behind, a key has 3 % of the factor of one ahead instead of nothing. Missing directions
and ego keys have channels of zero, which is no bias, exactly.

Keys are seen from the camera of the query's frame, so each frame is a call, before which the keys' channels are
written anew. Values get 16 zeros, for flash attention takes one width for all.
"""

from __future__ import annotations

import math
from functools import cache
from weakref import WeakKeyDictionary

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from ..bias import GGABias, without_missing
from ..call import AttentionCall
from ..chunks import full_heads
from ..directions import TokenDirections
from .backend import Backend

CHANNELS = 16
_DEGREES = (0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3)

# Of keys and values with their channels: half of EgoX's heads at a time. A frame's queries are few, so that fewer heads
# would leave more of a GPU idle.
COPIED_BYTES = 320 << 20

# Of results for random tensors and directions: 0.03 to 0.08 for those of the tests.
ERROR = 0.2

_POINTS = 4001  # of the cosine, at which the sum is fitted

# Queries [T, Q, 16] and keys [T, n_tokens, 16] of directions, by bias and type: the same in all layers and steps.
_known: WeakKeyDictionary[TokenDirections, dict[tuple[GGABias, torch.dtype], tuple[Tensor, Tensor]]]
_known = WeakKeyDictionary()


def unsupported(call: AttentionCall) -> str | None:
    """Return why it cannot take a call, or None."""
    return "it approximates the bias, and a training takes the bias itself" if call.needs_grad else None


@torch.no_grad()
def attend(call: AttentionCall, out: Tensor) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`; see `Backend`."""
    layout, head_dim = call.layout, call.head_dim
    of_queries, of_keys = _channels_of(call)
    ego_queries, ego_out = (layout.as_grid(x)[:, :, :, layout.exo_columns :] for x in (call.q, out))
    channels = _heads_at_a_time(call) * head_dim
    for first in range(0, call.q.shape[2], channels):
        some = slice(first, first + channels)
        key, value = (
            pad(rearrange(x[..., some], "b n (heads d) -> b heads n d", d=head_dim), (0, CHANNELS))
            for x in (call.k, call.v)
        )
        for frame in range(layout.frames):
            chunk = ego_queries[:, frame, ..., some]  # [B, rows, ego_columns, some heads * d]
            query = rearrange(chunk, "b row column (heads d) -> b heads (row column) d", d=head_dim)
            guide = of_queries[frame].expand(*query.shape[:2], -1, -1)
            query = torch.cat([query, guide], dim=-1)  # [B, heads, Q, d + 16]
            key[..., head_dim:] = of_keys[frame]
            attended = scaled_dot_product_attention(query, key, value, scale=head_dim**-0.5)[..., :head_dim]
            joined = "b heads (row column) d -> b row column (heads d)"
            ego_out[:, frame, ..., some] = rearrange(attended, joined, row=layout.rows)
        del key, value  # before the next heads' are made


@cache
def coefficients(bias: GGABias) -> tuple[float, ...]:
    """Return a_0 to a_3 of a bias: least squares over the sphere, pairs weighted by the root of their factor."""
    cosine = torch.linspace(-1, 1, _POINTS, dtype=torch.float64)
    wanted = bias.of_cosine(cosine)
    weight = (wanted / 2).exp()
    found = torch.linalg.lstsq(legendre(cosine) * weight.unsqueeze(-1), (wanted * weight).unsqueeze(-1))
    return tuple(found.solution.flatten().tolist())


def legendre(cosine: Tensor) -> Tensor:
    """Return P_0 to P_3 of cosines, [..., 4]."""
    c = cosine
    return torch.stack([torch.ones_like(c), c, (3 * c**2 - 1) / 2, (5 * c**3 - 3 * c) / 2], dim=-1)


def harmonics(directions: Tensor) -> Tensor:
    """Return the real solid harmonics of degree 0 to 3, of which products sum to |a|^l |b|^l P_l(cos) by degree.

    Args:
        directions: [..., 3]; missing ones (zero, or not finite) get zeros.

    Returns:
        [..., 16].
    """
    directions, present = without_missing(directions)
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    of_degree_2 = [x * y, y * z, x * z, (xx - yy) / 2]
    across = 4 * zz - xx - yy
    channels = [
        torch.ones_like(x),
        *(x, y, z),
        *(math.sqrt(3) * part for part in of_degree_2),
        zz - (xx + yy) / 2,
        *(math.sqrt(5 / 8) * part for part in (y * (3 * xx - yy), x * (xx - 3 * yy))),
        *(math.sqrt(15) * part for part in (x * y * z, z * (xx - yy) / 2)),
        *(math.sqrt(3 / 8) * part for part in (y * across, x * across)),
        z * (zz - 3 * (xx + yy) / 2),
    ]
    return torch.where(present.unsqueeze(-1), torch.stack(channels, dim=-1), 0.0)


def _channels_of(call: AttentionCall) -> tuple[Tensor, Tensor]:
    """Return channels of the ego queries of each frame and of all tokens as keys, seen from each frame."""
    known, layout = _known.setdefault(call.directions, {}), call.layout
    if (call.bias, call.q.dtype) not in known:
        weights = torch.tensor([coefficients(call.bias)[degree] for degree in _DEGREES], device=call.q.device)
        queries = harmonics(call.directions.ego_queries.float()).flatten(1, 2) * weights * call.head_dim**0.5
        exo = harmonics(call.directions.exo_keys.float())  # [T, T, rows, exo_columns, 16]
        keys = pad(exo, (0, 0, 0, layout.ego_columns)).flatten(1, 3)
        known[call.bias, call.q.dtype] = queries.to(call.q.dtype), keys.to(call.q.dtype)
    return known[call.bias, call.q.dtype]


def _heads_at_a_time(call: AttentionCall) -> int:
    q, layout = call.q, call.layout
    most = COPIED_BYTES / (2 * len(q) * layout.n_tokens * (call.head_dim + CHANNELS) * q.element_size())
    return full_heads(call.heads, len(q), layout.ego_tokens_per_frame, most, call.processors)


BACKEND = Backend(
    "for machines without Triton, an approximation: the bias is off by up to 0.3 nats, and by more straight behind; "
    "never chosen by auto; 350 MB more",
    attend,
    unsupported,
    automatic=False,
    error=ERROR,
)
