"""What the demo measures: the prior against what is known to be true, timings and versions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomllib

from exo2ego.evaluation.fills import mean_color_fill
from exo2ego.evaluation.images import psnr
from exo2ego.evaluation.regions import covered, iou
from exo2ego.evaluation.scores import score_clips

if TYPE_CHECKING:
    from torch import Tensor

    from exo2ego.takes.take import Take
    from exo2ego.takes.views import MultiViewTake

ROOT = Path(__file__).resolve().parents[2]

_SAME_DEPTH = 0.02  # a surface counts as seen where its depth is the camera's, up to this share


def score_prior(
    prior: Tensor, truth: Tensor | None, released: Tensor | None, shared: Tensor | None = None
) -> dict[str, Any]:
    """Compare a rendered prior with the true ego view and with the released prior, as far as they are known.

    Args:
        prior: [F, H, W, 3] in [0, 1].
        truth: the true ego view, of that shape.
        released: the prior that came with the take, of that shape.
        shared: where the ego view shows what the exo camera sees, too [F, H, W]: a perfect prior covers just that.

    Returns:
        IoU of the covered area, and PSNR in dB where both show something. Elsewhere a prior says nothing.
    """
    scores: dict[str, Any] = {}
    if truth is not None and truth.shape == prior.shape:
        where = covered(prior) if shared is None else covered(prior) & shared
        scores["against_true_view"] = {"psnr_db": _rounded(psnr(prior, truth, where))}
        if shared is not None:
            scores["against_true_view"]["iou"] = _rounded(iou(covered(prior), shared))
    if released is not None and released.shape == prior.shape:
        both = covered(prior) & covered(released)
        scores["against_released_prior"] = {
            "psnr_db": _rounded(psnr(prior, released, both)),
            "iou": _rounded(iou(covered(prior), covered(released))),
        }
    return scores


def score_ego(ego: Tensor, truth: Tensor | None, prior: Tensor) -> dict[str, Any]:
    """Score an ego video, and beside it the prior whose holes have its mean color, which invents nothing.

    Args:
        ego: [F, H, W, 3] in [0, 1].
        truth: the true ego view, of that shape; None or of another shape for no scores.
        prior: the rendered prior, of that shape.
    """
    if truth is None or truth.shape != ego.shape:
        return {}
    unseen = ~covered(prior)
    videos = {"ego_video": ego, "prior_filled_with_mean_color": mean_color_fill(prior, unseen)}
    scores = {name: score_clips(video, truth, protocol="EgoX", unseen=unseen).means for name, video in videos.items()}
    wanted = ("psnr", "psnr_seen", "psnr_unseen", "ssim")
    return {name: {key: _rounded(values[key]) for key in wanted} for name, values in scores.items()}


def score_views(ego: Tensor, take: MultiViewTake, exo: Sequence[Tensor]) -> dict[str, Any]:
    """Score an ego video of several exo views, and beside it what takes no model.

    Args:
        ego: [F, H, W, 3] in [0, 1].
        take: the clip, with the true ego view.
        exo: the exo videos that were shown, the take's first ones, of the ego video's shape.
    """
    if take.ego.shape != ego.shape:
        return {}
    eye = take.ego_camera.centers.mean(dim=0)
    distances = [float((view.camera.centers[0] - eye).norm()) for view in take.exo[: len(exo)]]
    videos = {
        "ego_video": ego,
        "nearest_exo_video": exo[distances.index(min(distances))],
        "mean_color_of_the_exo_videos": sum(video.mean(dim=(0, 1, 2)) for video in exo).div(len(exo)).expand_as(ego),
    }
    scores = {name: score_clips(video, take.ego, protocol="Exo2EgoSyn").means for name, video in videos.items()}
    return {name: {key: _rounded(values[key]) for key in ("psnr", "ssim")} for name, values in scores.items()}


def seen_by_both(take: Take) -> Tensor:
    """Return where the ego view of the example room shows a surface that its exo camera sees as well [F, H, W]."""
    import torch

    from exo2ego.takes.example.room import ExampleRoom

    exo_depth, exo = take.depth.metric(), take.exo_camera
    ego_depth, _ = ExampleRoom(take.n_frames).geometry(take.ego_camera, with_head=False)
    points = take.ego_camera.unproject(ego_depth)  # [F, H, W, 3]
    seen = torch.zeros(ego_depth.shape, dtype=torch.bool)
    for frame in range(take.n_frames):
        pixels, z, in_front = exo.project(points[frame])
        column, row = pixels.floor().long().unbind(-1)
        inside = in_front & (column >= 0) & (column < exo.width) & (row >= 0) & (row < exo.height)
        nearest = exo_depth[frame, row.clamp(0, exo.height - 1), column.clamp(0, exo.width - 1)]
        seen[frame] = inside & (ego_depth[frame] > 0) & ((z - nearest).abs() < _SAME_DEPTH * z)
    return seen


def coverage(per_frame: list[float]) -> dict[str, Any]:
    """Summarise coverage in percent per frame."""
    return {"mean": _rounded(sum(per_frame) / len(per_frame)), "lowest": min(per_frame), "per_frame": per_frame}


def versions(system_stats: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that matter, from ComfyUI's `/system_stats` and the pack's own file."""
    system = system_stats["system"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "pack": project["version"],
        "comfyui": system["comfyui_version"],
        "torch": system["pytorch_version"],
        "python": system["python_version"].split()[0],
        "device": system_stats["devices"][0]["name"],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 3)
