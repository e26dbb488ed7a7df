"""Windows over five frames, blended by hand in plain torch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .egox_witness import Clip, Predict, dense_pair_bias

# Windows of three of five frames: those the model sees, and their weights.
BY_HAND = (([0, 1, 2], [1.0, 1.0, 0.5]), ([2, 3, 4], [0.5, 1.0, 1.0]))


def blending(predict: Predict, clip: Clip, *, guided: bool) -> Predict:
    """Return a network of five frames that is asked once a window, and whose answers are weighed."""

    def blended(model_input: Tensor, timestep: Tensor, text: Tensor, features: Tensor, bias: Tensor | None) -> Tensor:
        out = torch.zeros(())
        for frames, weights in BY_HAND:
            part = replace(clip, ego_queries=clip.ego_queries[frames], exo_keys=clip.exo_keys[frames][:, frames])
            shown = predict(
                model_input[:, :, frames],
                timestep,
                text,
                features,
                dense_pair_bias(part, "release", 3.0) if guided else None,
            )
            whole = torch.zeros(*shown.shape[:2], 5, *shown.shape[3:])
            whole[:, :, frames] = shown * torch.tensor(weights).view(-1, 1, 1)
            out = out + whole
        return out

    return blended
