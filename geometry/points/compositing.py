"""Front-to-back alpha compositing, as PyTorch3D's `AlphaCompositor` does it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from .fragments import Fragments


def compositing_weights(alpha: Tensor) -> Tensor:
    """Return what each point contributes to its pixel [P, K]: `alpha_k * prod_{l<k} (1 - alpha_l)`.

    The weights are not divided by their sum (which PyTorch3D's `NormWeightedCompositor` would do): what is missing to
    one is background, so a lone disc fades to black towards its rim.

    Args:
        alpha: opacities, nearest point first [P, K]; 0 where there is no point.
    """
    passed = torch.cumprod(1 - alpha, dim=-1)  # light left behind each point
    before = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=-1)
    return alpha * before


def composite(fragments: Fragments, weights: Tensor, features: Tensor) -> Tensor:
    """Sum the features of the pixels' points, weighted.

    Args:
        fragments: the points of P pixels.
        weights: [P, K], as `compositing_weights` gives them.
        features: one vector a splat [N, C], such as its colour.

    Returns:
        [P, C], over a background of zeros.
    """
    if len(features) == 0:
        return features.new_zeros(len(weights), features.shape[1])
    # Index -1 (no point) reads the first splat, whose weight is zero there.
    points, weights = fragments.point.clamp(min=0), weights.to(features)
    if features.device.type == "cpu":  # the same sums, without their terms in memory
        return embedding_bag(points, features, mode="sum", per_sample_weights=weights)
    return torch.einsum("pk,pkc->pc", weights, features[points])
