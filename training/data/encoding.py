"""Encode takes for the cache: EgoX's clips and Exo2EgoSyn's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...attention.layout import TokenLayout
from ...common.wan_grid import PATCH, SPATIAL_STRIDE, VAE_STRIDE, latent_frames
from ...geometry.directions.clip import ClipGeometry
from ...geometry.plucker import PluckerMaps, align_maps
from ...takes.take import Take
from ...takes.video import squeezed
from ...takes.views import EgoView, MultiViewTake
from ..recipe import Recipe
from .clips import AnyClip, TrainingClip, ViewsClip
from .encoders import Encoders
from .sources import ClipSource, clip_of

_GRAY = 0.5  # of images; 0 in the VAE's own scale
# By [exo2egosyn] rays: rays come from the camera model that made the images.
EGO_VIEWS = {"pinhole": EgoView.UNDISTORTED, "raymap": EgoView.FISHEYE}


def clip_encoder(recipe: Recipe, encoders: Encoders) -> Callable[[ClipSource], AnyClip]:
    """Return what reads and encodes a clip of the recipe's method.

    It raises ValueError if a take cannot be read or does not fit the recipe.
    """
    data = recipe.data
    if recipe.clip_kind == TrainingClip.kind:
        return lambda source: encode_take(source.take.take(data.frames, data.exo_size, data.ego_size), encoders, recipe)
    gray = encoders.latent(torch.full((data.frames, data.ego_size[1], data.ego_size[0], 3), _GRAY))
    text = encoders.text_without_padding("")

    def encode(source: ClipSource) -> ViewsClip:
        take = source.take.views(clip_of(recipe, source.start), EGO_VIEWS[recipe.exo2egosyn.rays])
        return encode_views(take, encoders, recipe, gray, text)

    return encode


def misfits(take: Take, recipe: Recipe) -> dict[str, str]:
    """Return why a take is not one of the recipe's: what it lacks, another length, other sizes; by a word for each."""
    data, found = recipe.data, {}
    if take.ego_prior is None or take.ego_truth is None:
        lacks = "ego prior (ego_Prior.mp4)" if take.ego_prior is None else "true ego view (ego_GT.mp4)"
        found["views"] = f"It has no {lacks}: EgoX is trained on both."
    if take.n_frames != data.frames:
        found["length"] = f"It has {take.n_frames} frames, and [data] says {data.frames}: cut it, or change the recipe."
    wanted = {"exo": data.exo_size, "true ego": data.ego_size, "ego prior": data.ego_size}
    videos = {"exo": take.exo, "true ego": take.ego_truth, "ego prior": take.ego_prior}
    sizes = {name: (video.shape[2], video.shape[1]) for name, video in videos.items() if video is not None}
    other = [
        f"{name} {width} x {height} in place of {wanted[name][0]} x {wanted[name][1]}"
        for name, (width, height) in sizes.items()
        if (width, height) != wanted[name]
    ]
    if other:
        found["size"] = (
            f"Its videos have other sizes than [data] says: {', '.join(other)}. Resize them, or change the recipe."
        )
    return found


def encode_take(take: Take, encoders: Encoders, recipe: Recipe) -> TrainingClip:
    """Encode a take as a recipe says.

    Raises:
        ValueError: if the take lacks the true ego view or the ego prior, or has other sizes.
    """
    data, egox = recipe.data, recipe.egox
    for sentence in misfits(take, recipe).values():
        raise ValueError(f"The take {take.name} does not fit the recipe. {sentence}")
    exo, ego, prior = (encoders.latent(video) for video in (take.exo, take.ego_truth, take.ego_prior))
    rows = data.exo_size[1] // SPATIAL_STRIDE
    layout = TokenLayout(latent_frames(data.frames), rows, exo.shape[-1] // PATCH, ego.shape[-1] // PATCH)
    geometry = ClipGeometry(take.exo_camera, take.depth, take.ego_camera, egox.resolved_geometry)
    directions = geometry.directions(layout)
    picture = torch.zeros_like(take.exo[0]) if egox.black_picture else _first_frame(encoders, exo, ego.shape[-1])
    return TrainingClip(
        exo=exo,
        ego=ego,
        prior=prior,
        text=encoders.text(take.prompt),
        features=encoders.features(picture),
        ego_queries=directions.ego_queries.float().contiguous(),
        exo_keys=directions.exo_keys.float().contiguous(),
    )


def _first_frame(encoders: Encoders, exo: Tensor, ego_width: int) -> Tensor:
    """Return the first frame of the decoded [exo | noise] latent [H, W, 3], as inference shows it to CLIP."""
    first = exo[:, :1]
    noise = torch.randn(*first.shape[:-1], ego_width, generator=torch.Generator().manual_seed(0))
    return encoders.video(torch.cat([first, noise], dim=-1))[0]


def encode_views(
    take: MultiViewTake, encoders: Encoders, recipe: Recipe, gray: Tensor, text: Tensor | None
) -> ViewsClip:
    """Encode a take from several sides as a recipe says (Exo2EgoSyn, sections 3.3 and 3.4).

    Args:
        take: the clip; images of another size are squeezed to the recipe's.
        encoders: at least the VAE.
        recipe: all settings.
        gray: latent of a gray clip of the ego view's size [16, T, h, w].
        text: vectors of the empty prompt.

    Raises:
        ValueError: if the take has fewer exo views than the recipe says.
    """
    data, n_views = recipe.data, recipe.exo2egosyn.views
    if len(take.exo) < n_views:
        raise ValueError(
            f"The take {take.name} has {len(take.exo)} exo views, and [exo2egosyn] views says {n_views}: leave it out, "
            "or train on fewer views."
        )
    views = take.exo[:n_views]
    cameras = [view.camera for view in views]
    ego = squeezed(take.ego, *data.ego_size)
    first_then_gray = torch.full_like(ego, _GRAY)
    first_then_gray[:1] = ego[:1]
    maps = PluckerMaps.of(take.ego_camera, cameras[0], *data.ego_size)
    width, height = (side // VAE_STRIDE for side in data.exo_size)
    return ViewsClip(
        exo=torch.stack([encoders.latent(squeezed(view.frames, *data.exo_size)) for view in views]),
        ego=encoders.latent(ego),
        gray=gray,
        first_then_gray=encoders.latent(first_then_gray),
        plucker=maps.maps,
        align_plucker=align_maps(cameras, take.ego_camera, width, height),
        poses=maps.poses.contiguous(),
        text=text,
    )
