"""What each paper compares: which pixels, in which size, as luma or RGB.

EgoX's is that of its public reproduction, Exo2EgoSyn's that of Exo2Ego-V's `metric.py`, which its paper follows.
Both average over frames first, then over clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.memory import FLOAT, require_memory

# Rec. 601, as both EgoX's reproduction and PIL's "L" weigh the channels.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Protocol:
    """How two clips are made comparable.

    Attributes:
        name: the public name.
        size: pixels of a side that the paper's figures are of.
        resizes: whether clips of another size are brought to `size`, without cropping. Where they are not, both clips
            must have one size, and the right end of a wider one counts: the ego view on EgoX's canvas.
        luma: whether PSNR and SSIM compare luma of 8-bit frames, as EgoX does, or the RGB channels as they are.
        frames: of the paper's clips.
    """

    name: str
    size: int
    resizes: bool
    luma: bool
    frames: int

    def pair(self, pred: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Return both clips [F, H, W, 3] in [0, 1] in one size.

        Args:
            pred: the clip that is scored [F, H, W, 3 or more], in [0, 1]; values outside are clipped.
            truth: the true ego view, likewise.

        Raises:
            ValueError: if the shapes are no clips, or cannot be compared.
        """
        for name, clip in (("scored video", pred), ("true ego view", truth)):
            if clip.ndim != 4 or clip.shape[-1] < 3 or 0 in clip.shape:
                raise ValueError(f"Expected the {name} as frames [F, H, W, 3], got {list(clip.shape)}.")
        if len(pred) != len(truth):
            raise ValueError(
                f"The scored video has {len(pred)} frames, and the true ego view {len(truth)}. Cut both to the same "
                "frames."
            )
        side = self.size if self.resizes else 0
        pixels = len(pred) * max(side * side, pred.shape[1] * pred.shape[2], truth.shape[1] * truth.shape[2])
        require_memory(4 * 3 * FLOAT * pixels, f"Scoring {len(pred)} frames", "Score fewer frames, or smaller ones.")
        if self.resizes:
            return self._plain(pred), self._plain(truth)
        height, width = truth.shape[1:3]
        if pred.shape[1] != height or pred.shape[2] < width:
            raise ValueError(
                f"The scored video is {pred.shape[2]} x {pred.shape[1]}, and the ego truth {width} x {height}. "
                f"The protocol {self.name} does not resize: give the video in that size, or on a wider canvas with "
                "the ego view on its right."
            )
        return self._plain(pred[:, :, -width:]), self._plain(truth)

    def mask(self, mask: Tensor, height: int, width: int) -> Tensor:
        """Return a mask [F, h, w] in the size of the clips that `pair` returned, as bool [F, height, width].

        Raises:
            ValueError: if it belongs to clips of another size, and the protocol does not resize.
        """
        if self.resizes:
            return torch.nn.functional.interpolate(mask[:, None].float(), (height, width), mode="nearest")[:, 0] > 0.5
        if mask.shape[1] != height or mask.shape[2] < width:
            raise ValueError(
                f"The ego prior, or its mask, is {mask.shape[2]} x {mask.shape[1]}, and the true ego view {width} x "
                f"{height}. Give the prior of the same camera."
            )
        return mask[:, :, -width:].bool()

    def compared(self, frame: Tensor) -> Tensor:
        """Return what PSNR and SSIM compare of a frame [H, W, 3] in [0, 1]: [C, H, W] float64, of a range of 1."""
        if not self.luma:
            return frame.double().movedim(-1, 0)
        eight_bit = frame.mul(255).round().double()  # [H, W, 3]
        return (eight_bit @ eight_bit.new_tensor(LUMA) / 255)[None]

    def notes(self, frames: int, height: int, width: int) -> list[str]:
        """Return why figures of clips of that shape cannot be set beside the paper's; none where they can."""
        found = []
        if (height, width) != (self.size, self.size) and not self.resizes:
            found.append(
                f"{self.name}'s published figures are of {self.size} x {self.size}, these of {width} x {height}."
            )
        if frames != self.frames:
            found.append(f"{self.name}'s published figures are of clips of {self.frames} frames, these of {frames}.")
        return found

    def _plain(self, clip: Tensor) -> Tensor:
        clip = clip[..., :3].detach().cpu().float().clamp(0, 1)
        if not self.resizes or clip.shape[1:3] == (self.size, self.size):
            return clip
        small = torch.nn.functional.interpolate(
            clip.movedim(-1, 1), (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
        )
        return small.movedim(1, -1).clamp(0, 1)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("EgoX", size=448, resizes=False, luma=True, frames=49),
        Protocol("Exo2EgoSyn", size=256, resizes=True, luma=False, frames=9),
    )
}


def protocol_of(name: Protocol | str) -> Protocol:
    """Return a protocol by its name.

    Raises:
        ValueError: if there is none of that name.
    """
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise ValueError(f"There is no protocol {name!r}. Choose {' or '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
