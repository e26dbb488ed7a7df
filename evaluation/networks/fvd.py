"""FVD: the Frechet distance of I3D's features of all scored clips and of all true ones (Unterthiner et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .weights import Weights, WeightsMissingError

I3D_FILE = "i3d_torchscript.pt"
FRAMES, SIZE = 16, 224


class I3D:
    """I3D's features of a clip: the first 16 frames at 224 x 224.

    Args:
        weights: where to look for the TorchScript file that StyleGAN-V and its followers use.

    Raises:
        WeightsMissingError: if it is not there, or no TorchScript.
    """

    name = "fvd"

    def __init__(self, weights: Weights) -> None:
        file = weights.file(I3D_FILE, "FVD", "I3D on Kinetics-400 as TorchScript, of StyleGAN-V's release")
        try:
            self._network = torch.jit.load(str(file), map_location=weights.device).eval()
        except RuntimeError as error:
            raise WeightsMissingError(f"{file} is not a TorchScript file, or is truncated. Copy it again.") from error
        self._device = weights.device

    @torch.no_grad()
    def __call__(self, clip: Tensor) -> Tensor:
        """Return the features [D] of a clip of at least 16 frames [F, H, W, 3] in [0, 1]."""
        frames = clip[:FRAMES].movedim(-1, 1).to(self._device)  # [16, 3, H, W]
        frames = torch.nn.functional.interpolate(frames, (SIZE, SIZE), mode="bilinear", align_corners=False)
        video = (frames * 2 - 1).movedim(0, 1)[None]  # [1, 3, 16, 224, 224]
        return self._network(video, rescale=False, resize=False, return_features=True)[0].flatten().double().cpu()


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return the squared Frechet distance of two Gaussians fitted to samples.

    The trace of the covariances' root is taken from eigenvalues of a symmetric product: scipy's `sqrtm` has given wrong
    values since 1.11.3.

    Args:
        first: [N, D].
        second: [M, D].

    Returns:
        NaN where either has fewer than two samples.
    """
    if min(len(first), len(second)) < 2:
        return math.nan
    first, second = first.double(), second.double()
    covariances = [torch.atleast_2d(torch.cov(samples.T)) for samples in (first, second)]  # [D, D]
    values, vectors = torch.linalg.eigh(covariances[0])
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp_min(0).sqrt().sum()
    apart = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    return float(apart + covariances[0].trace() + covariances[1].trace() - 2 * shared)
