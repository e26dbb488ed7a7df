"""Exo2EgoSyn's stages on Wan 2.2 as methods of the trainer: MultiExoCon, PoseInj, and the baseline VAWAN."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...networks.components.metadata import LoraMetadata, MultiExoConMetadata, PoseInjMetadata, VawanMetadata
from ...networks.exo2egosyn.vawan import AC3D, NO_POSE, POSE_PREFIX
from ...networks.weights.lora_keys import split_key
from ...networks.weights.wan_kinds import WAN22_I2V, Expert, expert_of
from ..data.cache import ClipCache
from ..data.clips import ViewsBatch, ViewsClip
from ..method import Method
from ..network.egox import noised, velocity_losses
from ..network.lora import COMFYUI
from ..network.sampling import euler
from ..network.transformer import WanSize, empty_transformer, load_transformer
from ..noise import Draws
from ..recipe import STAGE_1, VAWAN, Recipe
from ..state import Checkpoint
from .align import check_views
from .build import CROSS_ATTENTION, new_network, read_parts_into
from .files import TRANSFORMER, lora_tensors, part_tensors, told, told_of_guidance, wan_tensors, write_checked
from .network import ViewsToEgo
from .settings import PREDICTED

_LORA_SUFFIX = "_lora"

_log = logging.getLogger(__name__)


class SynStage(Method):
    """Stage 1 trains cross-attention and exo embedding, stage 2 PoseInj, VAWAN the patch embedding and its poses.

    All of them train a LoRA on self-attention with it, by the flow-matching loss over the whole range of noise levels:
    the paper has the low-noise expert alone, for all steps.
    """

    lasting = ("exo2egosyn.views", "exo2egosyn.first_frame", "exo2egosyn.cond_tail", "exo2egosyn.exo_dropout")
    lasting += ("exo2egosyn.exo_pos", "exo2egosyn.fuse", "exo2egosyn.pose_dim")
    lasting += ("vawan.pose", "vawan.pose_width", "vawan.pose_shared")
    base_kind = WAN22_I2V

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        assert recipe.model.base is not None
        if expert_of(recipe.model.base.name) is Expert.HIGH_NOISE:
            raise ValueError(
                f"[model] base {recipe.model.base.name} is Wan 2.2's high-noise expert by its name. Exo2EgoSyn trains "
                "the low-noise expert, for all noise levels: name wan2.2_i2v_low_noise_14B."
            )

    def network(self) -> ViewsToEgo:
        """Return the network, at the start of its training, with the files that it goes on from."""
        recipe = self.recipe
        memory = recipe.memory
        dtype = memory.dtype(recipe.run.precision)
        # Cross-attention is what stage 1 trains, and stage 2 takes from its file.
        spared = "" if recipe.run.method == VAWAN else CROSS_ATTENTION
        transformer = load_transformer(recipe.model.base, dtype, WAN22_I2V, memory.base, spared)
        network = new_network(transformer, recipe)
        read_parts_into(network, recipe)
        return network

    def empty_network(self, size: WanSize | None) -> nn.Module:
        """Return the network without weights."""
        assert size is not None
        transformer = empty_transformer(size)
        with torch.device("meta"):
            return new_network(transformer, self.recipe)

    def batch(self, clips: Sequence[ViewsClip], device: torch.device | str) -> ViewsBatch:
        """Join clips."""
        return ViewsBatch.of(clips, device)

    def losses(self, network: nn.Module, clips: ViewsBatch, draws: Draws) -> Tensor:
        """Return each clip's mean squared error of the velocity [B]; some clips come without their exo latents."""
        left_out = draws.chances < self.recipe.exo2egosyn.exo_dropout
        velocity = network(clips, noised(clips.ego, draws.noise, draws.levels), draws.levels, left_out)
        return velocity_losses(velocity, clips.ego, draws.noise)

    def sample(self, network: nn.Module, clips: ViewsBatch, cache: ClipCache) -> dict[str, Tensor]:
        """Sample the ego view; beside it are the truth and exo view 1."""
        nothing = torch.ones(len(clips), dtype=torch.bool, device=clips.exo.device)

        def against(x: Tensor, levels: Tensor) -> Tensor:
            return network(clips, x, levels, nothing)

        def velocity(x: Tensor, levels: Tensor) -> Tensor:
            return network(clips, x, levels)

        latent = euler(network, velocity, against, clips.ego, self.recipe.samples)
        return {"ego": latent, "truth": clips.ego, "exo": clips.exo[:, 0]}

    def files(self, path: Path) -> list[Path]:
        """Return the files: stages 1 and 2 train two components, NAME_multiexocon or NAME_poseinj and NAME_lora."""
        if self.recipe.run.method == VAWAN:
            return [path]
        part = "_multiexocon" if self.recipe.run.method == STAGE_1 else "_poseinj"
        return [path.with_name(f"{path.stem}{name}{path.suffix}") for name in (part, _LORA_SUFFIX)]

    def export(self, checkpoint: Checkpoint, path: Path, names: str = COMFYUI) -> str:
        """Write the components."""
        files = self.files(path)
        if self.recipe.run.method == VAWAN:
            return self._export_vawan(checkpoint, path)
        export = self._export_multiexocon if self.recipe.run.method == STAGE_1 else self._export_poseinj
        return "\n".join((export(checkpoint, files[0]), self._export_lora(checkpoint, files[1])))

    def trained(self) -> str:
        """Return what is trained."""
        beside = f"LoRA of rank {self.recipe.lora.rank}"
        if self.recipe.run.method == VAWAN:
            pose = self.recipe.vawan.pose
            return f"patch embedding{'' if pose == NO_POSE else f', poses by {pose}'} and {beside}"
        if self.recipe.run.method == STAGE_1:
            return f"cross-attention, exo patch embedding and {beside}"
        return f"PoseInj and {beside}"

    def describe(self) -> list[str]:
        """Return expert, noise range and what the condition is."""
        syn, noise, base = self.recipe.exo2egosyn, self.recipe.noise, self.recipe.model.base
        assert base is not None
        named = "low-noise expert" if expert_of(base.name) is Expert.LOW_NOISE else "its name tells no expert"
        lines = [
            f"base: {base.name} ({named}), noise levels {noise.lowest:g} to {noise.highest:g}, shift {noise.shift:g}",
            f"first frame: {syn.first_frame}, then {syn.cond_tail}; {syn.exo_dropout:.0%} of the samples without exo "
            "views",
        ]
        if (noise.lowest, noise.highest) != (0, 1):
            lines.append("  the files are sampled at all noise levels, and these are not all trained")
        return lines

    def peak_rate(self, name: str) -> float:
        """Return the learning rate of a parameter: the cross-attention's own is lower."""
        is_cross_attention = name.startswith(TRANSFORMER) and ".attn2." in name and split_key(name) is None
        if is_cross_attention:
            return self.recipe.exo2egosyn.cross_attention_lr
        return super().peak_rate(name)

    def check_clips(self, cache: ClipCache) -> None:
        """Check that clips have the recipe's views and sizes."""
        super().check_clips(cache)
        syn = self.recipe.exo2egosyn
        same_size = syn.first_frame == PREDICTED or self.recipe.run.method == VAWAN
        check_views(cache, syn.views, same_size=same_size)

    @property
    def _stage(self) -> int | None:
        if self.recipe.run.method == VAWAN:
            return None
        return 1 if self.recipe.run.method == STAGE_1 else 2

    def _told(self, checkpoint: Checkpoint) -> dict:
        return told(self.recipe, checkpoint.step, self._stage)

    def _export_multiexocon(self, checkpoint: Checkpoint, path: Path) -> str:
        metadata = MultiExoConMetadata(
            **self._told(checkpoint), **told_of_guidance(self.recipe), exo_pos=self.recipe.exo2egosyn.exo_pos
        )
        crossed = wan_tensors(checkpoint.best)
        tensors = {**part_tensors(checkpoint.best, "tokenizer"), **crossed}
        return write_checked(path, metadata, tensors, checkpoint, dict.fromkeys(crossed, torch.bfloat16))

    def _export_poseinj(self, checkpoint: Checkpoint, path: Path) -> str:
        metadata = PoseInjMetadata(**self._told(checkpoint), fuse=self.recipe.exo2egosyn.fuse)
        return write_checked(path, metadata, part_tensors(checkpoint.best, "pose"), checkpoint)

    def _export_lora(self, checkpoint: Checkpoint, path: Path) -> str:
        lora = self.recipe.lora
        metadata = LoraMetadata(**self._told(checkpoint), rank=lora.rank, alpha=lora.alpha)
        return write_checked(path, metadata, lora_tensors(checkpoint.best, lora.alpha), checkpoint)

    def _export_vawan(self, checkpoint: Checkpoint, path: Path) -> str:
        lora, vawan, best = self.recipe.lora, self.recipe.vawan, checkpoint.best
        light = {"pose_width": vawan.pose_width, "pose_shared": vawan.pose_shared} if vawan.pose == AC3D else {}
        metadata = VawanMetadata(
            **self._told(checkpoint),
            **told_of_guidance(self.recipe),
            rank=lora.rank,
            alpha=lora.alpha,
            pose=vawan.pose,
            **light,
        )
        tensors = wan_tensors(best)
        new = part_tensors(best, "channels")["embed.weight"]
        tensors["patch_embedding.weight"] = torch.cat([tensors["patch_embedding.weight"], new], dim=1)
        tensors |= lora_tensors(best, lora.alpha)
        poses = part_tensors(best, "vawan_pose", POSE_PREFIX)
        return write_checked(path, metadata, {**tensors, **poses}, checkpoint, dict.fromkeys(poses, torch.bfloat16))
