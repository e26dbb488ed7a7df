"""One call of EgoX's own released network, recorded on tiny weights, beside ours through the stock guider.

All 36 channels of the recorded input are random, on both sides: what we put into the exo columns is test_parity's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from exo2ego.wan.egox.apply import ExoBesideEgo, ExoSettings, apply_egox
from exo2ego.wan.egox.gga import GGASettings, apply_gga
from exo2ego.wan.shared.wrappers import EGOX_KEY
from support.egox_graph import KnownDirections, one_call
from support.egox_witness import MEAN, STD
from support.wan_witnesses import egox_conditioning

NETWORK = "tiny_wan_f16.safetensors"
EXO_WIDTH = 10
OUTPUTS = {"out_plain": None, "out_release_lambda_3": 3.0, "out_release_lambda_1": 1.0}


@dataclass(frozen=True)
class Golden:
    """What the released network got and gave; `x` and the outputs are [1, channels, 3, 6, 16], exo columns first."""

    folder: Path
    arrays: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]


@pytest.fixture(scope="module")
def golden(shared_data) -> Golden:
    folder = shared_data / "released_network"
    if not (folder / "golden.npz").is_file():
        pytest.skip(f"the recorded call of the released network is not here ({folder})")
    with np.load(folder / "golden.npz") as arrays:
        return Golden(folder, {name: torch.from_numpy(arrays[name]).float() for name in arrays.files})


@pytest.fixture
def released_model(golden) -> Any:
    """The tiny network in float32."""
    import comfy.sd
    from safetensors.torch import load_file

    weights = {name: value.float() for name, value in load_file(golden.folder / NETWORK).items()}
    return comfy.sd.load_diffusion_model_state_dict(weights)


def in_scale_of_vae(latent: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (MEAN, STD))
    return latent * std + mean


def recorded_call(model: Any, golden: Golden) -> Tensor:
    """Run the model on the recorded noisy ego latent; returns its velocity."""
    mask, condition = golden["x"][:, 16:, ..., EXO_WIDTH:].split([4, 16], dim=1)
    ((text, options),) = egox_conditioning(golden["text"], in_scale_of_vae(condition), golden["image_features"])
    conditioning = [[text, {**options, "concat_mask": 1 - mask}]]
    return one_call(model, golden["x"][:, :16, ..., EXO_WIDTH:], golden["timestep"] / 1000, conditioning)


def patched(model: Any, golden: Golden, strength: float | None) -> Any:
    """Apply EgoX with the recorded exo columns, and GGA with the recorded directions."""
    model = apply_egox(model, torch.zeros(1, 16, 3, 6, EXO_WIDTH))
    joined = ExoBesideEgo(golden["x"][..., :EXO_WIDTH], ExoSettings())
    for kind, wrapper in (("outer_sample", joined.outer_sample), ("diffusion_model", joined)):
        model.remove_wrappers_with_key(kind, EGOX_KEY)
        model.add_wrapper_with_key(kind, EGOX_KEY, wrapper)
    if strength is None:
        return model
    return apply_gga(model, KnownDirections(golden["ego_queries"], golden["exo_keys"]), GGASettings(strength=strength))


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_patched_call_equals_the_released_network_s(released_model, golden, name):
    got = recorded_call(patched(released_model, golden, OUTPUTS[name]), golden)
    torch.testing.assert_close(got, golden[name][..., EXO_WIDTH:], rtol=0, atol=1e-4)


def test_the_recorded_outputs_differ_by_more_than_the_tolerance(golden):
    """Else the test above would not notice a missing GGA or another lambda."""
    outputs = [golden[name][..., EXO_WIDTH:] for name in OUTPUTS]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (outputs[first] - outputs[second]).abs().max() > 1e-3
