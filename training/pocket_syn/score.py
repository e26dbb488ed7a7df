"""How good the pocket's Exo2EgoSyn is: rooms that it never saw, beside what takes no model at all.

Every method sees the same rooms and the same noise, so that differences are those of pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ...evaluation.scores import score_clips
from ...networks.pocket_files import POCKET
from ...takes.views import MultiViewTake
from ..data.cache import ClipCache
from ..data.clips import ViewsBatch
from ..exo2egosyn.network import ViewsToEgo, align_input
from ..network.sampling import euler
from ..noise import generator_of
from ..pocket.report import distances, write_scores
from ..pocket.score import CODEC, FULL, Scored
from ..state import checkpoint_files
from ..trainer import CHECKPOINTS
from .plan import FIRST_FRAMES, STAGES, SynPlan, encoder_of
from .stages import shipped_network, trained_stage
from .views import clip_of_room, encode_room, kitchen_views

ALIGN, OTHER_ROOM = "EgoExo-Align alone, standing still", "views of another room"
MEAN_ROOM, NEAREST = "mean of the training rooms", "nearest exo view, resized"
EXO_COLOR, TRUE_COLOR = "mean color of the exo views", "mean color of the true clip"

_log = logging.getLogger(__name__)


def score(plan: SynPlan) -> list[str]:
    """Score the three stages as trained so far, or, where nothing was trained, the components that the pack has.

    Returns:
        A table in Markdown, nothing before the last stage has begun. It lies in files/ too, with sheets of some rooms.
    """
    if _network_of(plan) is None:
        return []
    if not (plan.pocket.folder / FIRST_FRAMES).is_dir():
        _log.warning("Exo2EgoSyn is not scored: its kitchens are not there, which the stage views makes.")
        return []
    return write_scores(score_views(plan), plan.pocket, "score_exo2egosyn.md", "views")


@torch.no_grad()
def score_views(plan: SynPlan, count: int | None = None, *, n_videos: int = 5) -> Scored:
    """Score the three stages together on rooms that none was trained on, by the protocol Exo2EgoSyn.

    Args:
        plan: the plan; all of its stages have begun, or none has and the pack's own components are scored.
        count: how many rooms; None for all that are held out.
        n_videos: rooms whose videos are returned.

    Raises:
        ValueError: if first frames, VAE or a stage are missing.
    """
    if (network_of := _network_of(plan)) is None:
        raise ValueError(
            f"The last stage of Exo2EgoSyn has not begun in {plan.folder}: run the stage exo2egosyn first."
        )
    encoder, network = encoder_of(plan), network_of()
    # Rendered and encoded here, not read from the cache, whose rooms may be from before a change of the kitchens.
    takes = [
        kitchen_views(number, clip_of_room(number, plan.n_frames, plan.size), plan.views)
        for number in range(len(plan.held_out[:count]))
    ]
    clips = [ViewsBatch.of([encode_room(take, encoder, plan.recipe())]) for take in takes]
    mean_room = encoder.video(_mean_of_training(plan))
    truths, videos = [], []
    made: dict[str, list[Tensor]] = {}
    for number, (take, clip) in enumerate(zip(takes, clips, strict=True)):
        other = clips[(number + 1) % len(clips)]
        shown = {
            FULL: encoder.video(_sampled(network, clip, plan, number)),
            ALIGN: _still(encoder.video(network.align(align_input(clip))[0]), plan),
            OTHER_ROOM: encoder.video(_sampled(network, replace(clip, exo=other.exo), plan, number)),
            MEAN_ROOM: _still(mean_room, plan),
            **_without_model(take),
            CODEC: encoder.video(clip.ego[0]),
        }
        for method, video in shown.items():
            made.setdefault(method, []).append(video)
        truths.append(take.ego)
        if number < n_videos:
            exo = {f"exo {place}": view.frames for place, view in enumerate(take.exo, 1)}
            videos.append({**exo, ALIGN: shown[ALIGN], FULL: shown[FULL], "truth": take.ego})
    measures = distances()
    scored = {
        method: score_clips(found, truths, protocol="Exo2EgoSyn", measures=measures) for method, found in made.items()
    }
    return Scored(scored, tuple(videos))


def _network_of(plan: SynPlan) -> Callable[[], nn.Module] | None:
    """Return what makes the network to score; None where a training has begun and its last stage has not."""
    has_begun = [bool(checkpoint_files(plan.recipe(name).run.out / CHECKPOINTS)) for name in STAGES]
    if has_begun[-1]:
        return partial(trained_stage, plan, STAGES[-1])
    return None if any(has_begun) or plan.files != POCKET else partial(shipped_network, plan)


def _sampled(network: ViewsToEgo, clip: ViewsBatch, plan: SynPlan, seed: int) -> Tensor:
    """Return the ego latent [16, T, h, w] from a room's own noise."""

    def velocity(x: Tensor, levels: Tensor) -> Tensor:
        return network(clip, x, levels)

    return euler(network, velocity, velocity, clip.ego, replace(plan.recipe().samples, seed=seed))[0]


def _mean_of_training(plan: SynPlan, most: int = 500) -> Tensor:
    """Return the mean first ego latent [16, 1, h, w] of clips that are trained on."""
    cache = ClipCache(plan.pocket.folder / FIRST_FRAMES)
    held_out = set(plan.held_out)
    names = [name for name in sorted(cache.entries) if name not in held_out]
    order = torch.randperm(len(names), generator=generator_of(0))[:most]
    return torch.stack([cache.read(names[index]).ego.float() for index in order]).mean(dim=0)


def _without_model(take: MultiViewTake) -> dict[str, Tensor]:
    """Return what takes no model [F, H, W, 3]: the nearest exo view, and mean colors."""
    eye = take.ego_camera.centers.mean(dim=0)
    distances = [float((view.camera.centers[0] - eye).norm()) for view in take.exo]
    nearest = take.exo[distances.index(min(distances))].frames
    exo_color = torch.stack([view.frames.mean(dim=(0, 1, 2)) for view in take.exo]).mean(dim=0)
    return {
        NEAREST: nearest,
        EXO_COLOR: exo_color.expand_as(take.ego),
        TRUE_COLOR: take.ego.mean(dim=(0, 1, 2)).expand_as(take.ego),
    }


def _still(video: Tensor, plan: SynPlan) -> Tensor:
    return video[:1].expand(plan.n_frames, -1, -1, -1)
