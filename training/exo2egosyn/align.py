"""Stage 0 as a method of the trainer: EgoExo-Align learns the first ego latent (the paper's section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...common.wan_grid import LATENT_CHANNELS
from ...networks.components.metadata import AlignMetadata
from ...networks.exo2egosyn.ego_exo_align import AlignConfig, EgoExoAlign
from ..data.cache import ClipCache
from ..data.clips import ViewsBatch, ViewsClip
from ..method import Method
from ..network.lora import COMFYUI
from ..network.transformer import WanSize
from ..noise import Draws, generator_of
from ..state import Checkpoint
from .files import told, write_checked
from .network import align_input

_PREFIX = "align."


class FirstFrame(nn.Module):
    """EgoExo-Align on clips.

    Args:
        config: sizes.
    """

    def __init__(self, config: AlignConfig) -> None:
        super().__init__()
        self.align = EgoExoAlign(config)

    def forward(self, clips: ViewsBatch) -> Tensor:
        """Return what every view's slot predicts, latent and Pluecker map [B, V, 22, h, w]."""
        return self.align.view_outputs(align_input(clips))


class Align(Method):
    """EgoExo-Align, from nothing: L1 between the mean of the views' latents and the true first ego latent."""

    lasting = ("align.dim", "align.heads", "align.dim_head", "align.num_blocks", "align.patch_size")
    held_out_levels = (0.0,)  # there is no noise

    def network(self) -> FirstFrame:
        """Return the untrained network; equal seeds give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator_of(self.recipe.run.seed, -4).initial_seed())
            return FirstFrame(self.recipe.align.config())

    def empty_network(self, size: WanSize | None) -> nn.Module:
        """Return the network without weights."""
        with torch.device("meta"):
            return FirstFrame(self.recipe.align.config())

    def batch(self, clips: Sequence[ViewsClip], device: torch.device | str) -> ViewsBatch:
        """Join clips."""
        return ViewsBatch.of(clips, device)

    def losses(self, network: nn.Module, clips: ViewsBatch, draws: Draws) -> Tensor:
        """Return each clip's mean absolute error of the latent [B], and of the Pluecker maps where they count."""
        outputs = network(clips).float()
        truth = clips.ego[:, :, 0].float()
        latent = outputs[:, :, :LATENT_CHANNELS].mean(dim=1)  # [B, 16, h, w]
        losses = (latent - truth).abs().flatten(1).mean(dim=1)
        if weight := self.recipe.align.plucker_weight:
            maps = outputs[:, :, LATENT_CHANNELS:] - clips.align_plucker.float()
            losses = losses + weight * maps.abs().flatten(1).mean(dim=1)
        return losses

    @torch.no_grad()
    def sample(self, network: nn.Module, clips: ViewsBatch, cache: ClipCache) -> dict[str, Tensor]:
        """Predict the first ego latent; beside it are the true one and that of exo view 1."""
        was_training = network.training
        network.eval()
        latent = network.align(align_input(clips))
        network.train(was_training)
        return {"ego": latent, "truth": clips.ego[:, :, :1], "exo": clips.exo[:, 0, :, :1]}

    def export(self, checkpoint: Checkpoint, path: Path, names: str = COMFYUI) -> str:
        """Write the component align."""
        settings = self.recipe.align
        metadata = AlignMetadata(
            **told(self.recipe, checkpoint.step, stage=0),
            dim=settings.dim,
            heads=settings.heads,
            dim_head=settings.dim_head,
            num_blocks=settings.num_blocks,
            ff_mult=settings.ff_mult,
            patch_size=settings.patch_size,
        )
        tensors = {name.removeprefix(_PREFIX): value for name, value in checkpoint.best.items()}
        return write_checked(path, metadata, tensors, checkpoint)

    def trained(self) -> str:
        """Return what is trained."""
        return "EgoExo-Align"

    def check_clips(self, cache: ClipCache) -> None:
        """Check that clips have the recipe's views, and an ego latent of the exo latents' size."""
        super().check_clips(cache)
        check_views(cache, self.recipe.exo2egosyn.views, same_size=True)


def check_views(cache: ClipCache, views: int, *, same_size: bool) -> None:
    """Check the layouts of Exo2EgoSyn's clips.

    Args:
        cache: of the clips.
        views: number of exo views that every clip has.
        same_size: whether exo and ego latents have one size.

    Raises:
        ValueError: naming the first clip that has another layout.
    """
    for name, entry in cache.entries.items():
        layout = entry.layout
        if layout.views != views:
            raise ValueError(
                f"The clip {name} in {cache.folder} has {layout.views} exo views, and [exo2egosyn] views is {views}: "
                "make the cache with this recipe, or set views to what it has."
            )
        exo, ego = (layout.exo_height, layout.exo_width), (layout.ego_height, layout.ego_width)
        if same_size and exo != ego:
            raise ValueError(
                f"The clip {name} in {cache.folder} has exo latents of {exo[1]} x {exo[0]} and an ego latent of "
                f"{ego[1]} x {ego[0]}: where first frames are predicted, and in VAWAN, they are of one size. Set "
                "exo_size and ego_size under [data] alike."
            )
