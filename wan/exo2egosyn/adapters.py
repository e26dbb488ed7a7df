"""The small networks beside Wan: exo tokens, VAWAN's channels and poses, the ego camera's path.

They are one network with a ModelPatcher of its own, which ComfyUI loads, offloads and counts along with the MODEL.
Their layers are ComfyUI's, which bring weights to the input's device and type.
"""

from __future__ import annotations

from dataclasses import dataclass

import comfy.latent_formats
import comfy.ops
import torch
from einops import rearrange
from torch import Tensor, nn

from ...common.wan_grid import WAN_PATCH, latent_frames
from ...networks.components.build import (
    build_exo_channels,
    build_exo_tokenizer,
    build_pose_injection,
    build_pose_network,
)
from ...networks.components.metadata import Component
from ...networks.components.set import SynComponents
from ...networks.exo2egosyn.pose_blocks import PoseBlocks
from ...networks.exo2egosyn.pose_encoder import PoseEncoder
from ...networks.exo2egosyn.pose_time import PoseTime
from ...networks.exo2egosyn.rotary import rotary_turns


@dataclass(frozen=True, eq=False)
class CallFeatures:
    """What the adapters give to one model call.

    Attributes:
        context: exo tokens [B, n, dim] in the place of the text.
        channels: what VAWAN adds to the tokens before the first block [B, tokens, dim].
        pose: the ego camera's path for PoseInj [1, tokens, pose width].
        block_pose: the path for AC3D's light blocks [1, tokens, their width].
        turns: rotary angles of the tokens [tokens, 64], for the light blocks.
        time: what Time&Pose adds to the time embedding [frames, dim].
    """

    context: Tensor | None = None
    channels: Tensor | None = None
    pose: Tensor | None = None
    block_pose: Tensor | None = None
    turns: Tensor | None = None
    time: Tensor | None = None


class SynAdapters(nn.Module):
    """The adapters of the components that are there.

    Args:
        components: what the artist chose.
        exo: exo latents [V, 16, t, h, w] in the VAE's scale; needed where a component reads them.
        plucker: Pluecker maps [F, 6, H, W]; needed by PoseInj and AC3D.
        poses: ego camera to exo camera 1 [F, 4, 4]; needed by Time&Pose.
    """

    def __init__(
        self, components: SynComponents, exo: Tensor | None, plucker: Tensor | None, poses: Tensor | None = None
    ) -> None:
        super().__init__()
        operations = comfy.ops.manual_cast
        builders = {
            Component.MULTIEXOCON: build_exo_tokenizer,
            Component.VAWAN: build_exo_channels,
            Component.POSEINJ: build_pose_injection,
        }
        built = {
            component: None if (part := components.get(component)) is None else builder(part, operations)
            for component, builder in builders.items()
        }
        self.tokenizer = built[Component.MULTIEXOCON]
        self.channels = built[Component.VAWAN]
        self.pose = built[Component.POSEINJ]
        part = components.get(Component.VAWAN)
        network = None if part is None else build_pose_network(part, operations)
        self.pose_blocks = network if isinstance(network, PoseBlocks) else None
        if self.pose_blocks is not None:
            # torch.compile traces the light block, once for all; what picks it is not traced.
            self._inject = torch.compiler.disable(self.pose_blocks.inject, recursive=False)
        # Untrained, it adds zero, and then it is left out: core rounds an embedding for each frame differently from
        # one for all of them.
        self.pose_time = network if isinstance(network, PoseTime) and _is_trained(network) else None
        # Plain attributes, which stay on the CPU: megabytes, and each call brings what it needs along.
        self._exo = None if exo is None else comfy.latent_formats.Wan21().process_in(exo.detach().float().cpu())
        self._plucker = None if plucker is None else rearrange(plucker.detach().float().cpu(), "f c h w -> 1 c f h w")
        self._poses = None if poses is None else poses.detach().float().cpu()

    def features(
        self, like: Tensor, is_null: list[bool], exo_frames: list[int] | None, frames: list[int] | None
    ) -> CallFeatures:
        """Compute what a model call needs.

        Args:
            like: the call's input, for device, type and batch: rows come in equal groups, one for each of `is_null`.
            is_null: whether a group of rows is CFG's null branch, in which the exo latents are zero.
            exo_frames: latent frames of the exo clip that the call sees, None for all.
            frames: latent frames of the ego clip that the call samples, None for all.
        """
        _, _, n_frames, height, width = like.shape
        grid = n_frames, height // WAN_PATCH[1], width // WAN_PATCH[2]
        return CallFeatures(
            context=None if self.tokenizer is None else self._by_rows(self.tokenizer, like, is_null, exo_frames),
            channels=None if self.channels is None else self._by_rows(self.channels, like, is_null, exo_frames),
            pose=None if self.pose is None else self._pose_tokens(self.pose, like, frames),
            block_pose=None if self.pose_blocks is None else self._pose_tokens(self.pose_blocks, like, frames),
            turns=None if self.pose_blocks is None else rotary_turns(grid, like.device),
            time=None if self.pose_time is None else self._pose_times(like, frames),
        )

    # torch.compile traces what it calls, not this: the block's number would be a new guard at every block.
    @torch.compiler.disable(recursive=False)
    def enter(self, index: int, tokens: Tensor, features: CallFeatures) -> Tensor:
        """Return the input of Wan's block `index`, tokens [B, n, dim], with what belongs into it."""
        if index == 0 and features.channels is not None:
            tokens = tokens + features.channels
        if index == 0 and features.pose is not None:
            tokens = self.pose.inject(tokens, features.pose)
        if features.block_pose is not None:
            tokens = self._inject(index, tokens, features.block_pose, features.turns)
        return tokens

    def numbers_per_token(self) -> int:
        """Return how many numbers are held for a sampled token, beside Wan's own, while a block runs."""
        return 0 if self.pose_blocks is None else self.pose_blocks.out.out_channels

    def _by_rows(self, network: nn.Module, like: Tensor, is_null: list[bool], frames: list[int] | None) -> Tensor:
        exo = self._exo if frames is None else self._exo[:, :, frames]
        exo = exo[None].to(like.device)
        # In float32 as Wan's own patch embedding, then in the model's type.
        tokens = {null: network(torch.zeros_like(exo) if null else exo).to(like.dtype) for null in set(is_null)}
        rows = len(like) // len(is_null)
        if len(tokens) == 1:
            return tokens[is_null[0]].expand(len(like), -1, -1)
        return torch.cat([tokens[null].expand(rows, -1, -1) for null in is_null])

    def _pose_tokens(self, encoder: PoseEncoder, like: Tensor, frames: list[int] | None) -> Tensor:
        pose = encoder.encode(self._plucker.to(like.device)).to(like.dtype)
        if frames is None:
            return pose
        steps = latent_frames(self._plucker.shape[2])
        by_frame = rearrange(pose, "b (frame token) dim -> b frame token dim", frame=steps)
        return rearrange(by_frame[:, frames], "b frame token dim -> b (frame token) dim")

    def _pose_times(self, like: Tensor, frames: list[int] | None) -> Tensor:
        times = self.pose_time(self._poses.to(like.device))
        return times if frames is None else times[frames]


def _is_trained(network: PoseTime) -> bool:
    return any(parameter.any() for parameter in network.proj_out.parameters())
