"""LPIPS with AlexNet, and its shift-tolerant form: distances of two images as a network sees them, 0 for equal ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from .weights import Weights, library

_ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's
_FRAMES = 8  # at once

Network = Callable[[Tensor, Tensor], Tensor]


class FrameDistance:
    """A distance of frames by a network.

    Args:
        name: of the measure.
        network: takes two batches of images [N, 3, H, W] in [-1, 1] and returns a distance each.
        device: that it runs on.
    """

    def __init__(self, name: str, network: Network, device: torch.device) -> None:
        self.name, self._network, self._device = name, network, device

    @torch.no_grad()
    def __call__(self, pred: Tensor, truth: Tensor) -> Mapping[str, Tensor]:
        """Return the distance of every frame of clips [F, H, W, 3] in [0, 1]."""
        found = []
        for one, true in zip(pred.split(_FRAMES), truth.split(_FRAMES)):
            cancel_point()
            batch = (frames.movedim(-1, 1).to(self._device) * 2 - 1 for frames in (one, true))
            found.append(self._network(*batch).flatten().double().cpu())
        return {self.name: torch.cat(found)}


def lpips_alex(weights: Weights) -> FrameDistance:
    """Return LPIPS (Zhang et al. 2018) with AlexNet: the package's calibrated heads on torchvision's trunk.

    Raises:
        WeightsMissingError: if the package `lpips` or the trunk's file is not there.
    """
    package = library("lpips", "LPIPS")
    file = weights.file(_ALEXNET, "LPIPS", "torchvision's AlexNet")
    network = package.LPIPS(net="alex", pnet_rand=True, verbose=False)  # a trunk that is not random is downloaded
    trunk = torch.load(file, map_location="cpu", weights_only=True)
    # The package cuts the trunk into slices; layers keep their numbers.
    named = {name: trunk[f"features.{name.partition('.')[2]}"] for name in network.net.state_dict()}
    network.net.load_state_dict(named)
    return FrameDistance("lpips", network.eval().to(weights.device), weights.device)


def shift_tolerant(weights: Weights) -> FrameDistance:
    """Return shift-tolerant LPIPS (Ghildyal and Liu 2022) with AlexNet; its package holds trunk and heads.

    It forgives the pixel or two by which depth and poses are off, which PSNR and SSIM do not.

    Raises:
        WeightsMissingError: if the package `stlpips_pytorch` is not there.
    """
    package = library("stlpips_pytorch.stlpips", "Shift-tolerant LPIPS")
    network = package.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    return FrameDistance("st_lpips", network.eval().to(weights.device), weights.device)
