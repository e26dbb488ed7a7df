"""EgoX's sampling loop written out in plain torch: the witness that the graph's output is compared with.

It shares no code with the pack. The bias is one dense matrix, filled pair by pair in Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .flow_samplers import levels, solve

# Wan 2.1's latent statistics, as published with its VAE.
MEAN = [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508]
MEAN += [0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921]
STD = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743]
STD += [3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160]

# (input [B, 36, T, h, w], timestep [B], text [B, 512, 4096], clip [B, 257, 1280], bias [L, L] or None)
# -> [B, 16, T, h, w]
Predict = Callable[[Tensor, Tensor, Tensor, Tensor, "Tensor | None"], Tensor]


@dataclass(frozen=True)
class Clip:
    """What EgoX samples from: latents in the VAE's scale, conditioning, directions of the tokens."""

    exo: Tensor  # [1, 16, T, h, w_exo]
    prior: Tensor  # [1, 16, T, h, w_ego]
    positive: Tensor  # [1, 512, 4096]
    negative: Tensor
    clip_features: Tensor  # [1, 257, 1280]
    ego_queries: Tensor  # [T, rows, ego columns, 3]
    exo_keys: Tensor  # [T, T, rows, exo columns, 3]


def made_up_clip(seed: int = 0, frames: int = 3, height: int = 6, exo_width: int = 10, ego_width: int = 6) -> Clip:
    """Return a clip of random values."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    rows, exo, ego = height // 2, exo_width // 2, ego_width // 2
    queries = torch.nn.functional.normalize(normal(frames, rows, ego, 3), dim=-1)
    keys = torch.nn.functional.normalize(normal(frames, frames, rows, exo, 3), dim=-1)
    return Clip(
        exo=normal(1, 16, frames, height, exo_width),
        prior=normal(1, 16, frames, height, ego_width),
        positive=normal(1, 512, 4096),
        negative=normal(1, 512, 4096),
        clip_features=normal(1, 257, 1280),
        ego_queries=queries,
        exo_keys=0.9 * keys,
    )


def simple_sigmas(steps: int, shift: float) -> Tensor:
    """The `simple` schedule of 1,000 flow-matching noise levels, in float32 as samplers have them: [steps + 1]."""
    levels = torch.tensor([1000 - int(step * 1000 / steps) for step in range(steps)]) / 1000
    return torch.cat([shift * levels / (1 + (shift - 1) * levels), torch.zeros(1)])


def pair_bias(form: str, strength: float, query: list[float], key: list[float]) -> float:
    if not any(query) or not any(key):
        return 0.0  # a missing direction
    cosine = min(1.0, max(-1.0, sum(a * b for a, b in zip(query, key))))
    if form == "paper":
        return math.log(strength * (cosine + 1 + 1e-6))
    factor = strength if strength <= 1 or cosine > 0 else 1.0
    return math.log(factor * cosine + 1 + 1e-6)


def dense_pair_bias(clip: Clip, form: str, strength: float) -> Tensor:
    """Return the bias of every pair of tokens, [L, L]; token order is frame, row, column with exo columns first."""
    frames, _, rows, exo_columns = clip.exo_keys.shape[:4]
    columns = exo_columns + clip.ego_queries.shape[2]
    queries, keys = clip.ego_queries.tolist(), clip.exo_keys.tolist()
    cells = [(t, row, column) for t in range(frames) for row in range(rows) for column in range(columns)]
    bias = torch.zeros(len(cells), len(cells))
    for m, (t, row, column) in enumerate(cells):
        for n, (key_t, key_row, key_column) in enumerate(cells):
            if column >= exo_columns and key_column < exo_columns:
                query, key = queries[t][row][column - exo_columns], keys[t][key_t][key_row][key_column]
                bias[m, n] = pair_bias(form, strength, query, key)
    return bias


@torch.no_grad()
def sample(
    predict: Predict,
    clip: Clip,
    noise: Tensor,
    *,
    steps: int,
    shift: float,
    cfg: float,
    sampler: str = "euler",
    bias: Tensor | None = None,
    bias_at: Callable[[float], bool] = lambda sigma: True,
    marks_first_frame: bool = True,
    marks_last_frame: bool = False,
    exo_noise: Tensor | None = None,
) -> Tensor:
    """Sample with one of `flow_samplers`; returns the ego latent in the VAE's scale, [B, 16, T, h, w_ego].

    `marks_last_frame` is the released trainer's mask: of the four video frames in the last latent frame, the last.
    `exo_noise` [B, 16, T, h, w_exo] is the ablation without clean latent: the exo latent carries the noise of the step.
    """
    mean, std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (MEAN, STD))
    batch = noise.shape[0]
    exo = ((clip.exo - mean) / std).expand(batch, -1, -1, -1, -1)
    prior = ((clip.prior - mean) / std).expand(batch, -1, -1, -1, -1)
    ego_width = noise.shape[-1]
    mask = torch.zeros(batch, 4, *exo.shape[2:4], exo.shape[-1] + ego_width)
    mask[:, :, 0, :, : exo.shape[-1]] = float(marks_first_frame)
    if marks_last_frame:
        mask[:, 3, exo.shape[2] - 1, :, : exo.shape[-1]] = 1
    features = clip.clip_features.expand(batch, -1, -1)

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        seen = exo if exo_noise is None else (1 - sigma) * exo + sigma * exo_noise
        model_input = torch.cat([torch.cat([seen, x], dim=-1), mask, torch.cat([exo, prior], dim=-1)], dim=1)
        active = bias if bias_at(float(sigma)) else None
        velocities = [
            predict(model_input, (1000 * sigma).expand(batch), text.expand(batch, -1, -1), features, active)
            for text in (clip.positive, clip.negative)
        ]
        positive, negative = (velocity[..., -ego_width:] for velocity in velocities)
        return negative + cfg * (positive - negative)

    sigmas = levels(sampler, lambda count: simple_sigmas(count, shift), steps)
    return solve(sampler, velocity, noise, sigmas) * std + mean
