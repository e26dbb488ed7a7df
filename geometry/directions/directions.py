"""Directions at token resolution for geometry-guided attention (GGA; paper sections 3.3 and F.1).

GGA compares where an ego token looks with where an exo token's point lies, both as directions from the ego camera:

    q = (q~ - c_i) / |q~ - c_i|        the ray of the ego token, q~ any point on it
    k = (k~ - c_i) / |k~ - c_i|        k~ the world point that the exo token shows
    g(q, k) = cos(q, k) + 1            (Eq. 5), then a bias on the logits: see `attention.bias`

with c_i the ego camera's centre in the frame of the *query*: a key has one direction for every query frame.

The published code and the paper differ in how these vectors are made; `GGAGeometry` names the choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from ...common.wan_grid import SPATIAL_STRIDE, TEMPORAL_STRIDE, latent_groups, video_frames
from ..cameras.aspect import same_aspect
from ..cameras.camera import Camera
from ..depth.depth import Depth
from .average import averaged_keys, averaged_rays
from .release import released_rays, trained_rays
from .sampled import physical_rays, sampled_keys


class GGAGeometry(str, Enum):
    """How the directions are made.

    In all but `PAPER_AVERAGE` one frame stands for each latent frame (0, 4, 8, ...), keys are sampled at 2x2 places of
    a token, and only the rays differ.
    """

    AS_RELEASED = "as released"
    """The published inference code, which made the published results: OpenCV's undistortion fed with fisheye
    coefficients (rays about 10 degrees off the lens that rendered the priors), means of 2x2 unit vectors left shorter
    than one. The ego camera's own lens is not used."""
    AS_TRAINED = "as trained"
    """The training code: pinhole rays without any lens, the world-to-camera rotation in place of its inverse, the
    quarter turn applied to vectors in the world. 21 to 108 degrees off inference's rays, on three takes."""
    PHYSICAL = "physical"
    """The rays of the ego camera as it is, and means brought back to unit length."""
    PAPER_AVERAGE = "paper average"
    """Section F.1: unit directions of all pixels, averaged over each patch of 4 frames x 16 x 16 pixels, by the ego
    camera as it is. The first latent frame holds one frame, and its patch is 1 x 16 x 16. The centre that keys are
    seen from is the mean of the centres of the query's frames. Brought back to unit length, as Eq. 5 takes a
    cosine."""


@dataclass(frozen=True, eq=False)
class GGADirections:
    """World directions of the tokens of T latent frames, float32 on the CPU.

    Attributes:
        ego_queries: [T, He, We, 3].
        exo_keys: [query frame T, key frame T, Hx, Wx, 3]; zero where the exo token has no depth.
    """

    ego_queries: Tensor
    exo_keys: Tensor


def gga_directions(
    exo_camera: Camera,
    exo_depth: Depth,
    ego_camera: Camera,
    *,
    latent_frames: int,
    exo_tokens: tuple[int, int],
    ego_tokens: tuple[int, int],
    geometry: GGAGeometry = GGAGeometry.AS_RELEASED,
    progress: Callable[[int, int], None] | None = None,
) -> GGADirections:
    """Compute the directions of a clip.

    Args:
        exo_camera: the camera of the depth maps (same size), fixed or F poses.
        exo_depth: metric depth of the F exo frames, cropped as the exo video is. Pixels without depth are left out
            of a token's mean; a token without any has the key zero, which downstream means no bias.
        ego_camera: the upright ego camera, fixed or F poses.
        latent_frames: T; frames 0, 4, ..., 4 (T - 1) have to exist.
        exo_tokens: (rows, columns) of the exo part of the token grid, (28, 49) for 448 x 784 pixels.
        ego_tokens: (rows, columns) of the ego part.
        geometry: see `GGAGeometry`.
        progress: called with (query frames done, T), or with (frames done, F) for `PAPER_AVERAGE`; may raise to
            cancel.

    Raises:
        ValueError: if lengths, sizes, shapes or the kind of depth do not fit each other.
    """
    geometry = GGAGeometry(geometry)
    n_frames = exo_depth.n_frames
    _check(n_frames, latent_frames, exo_tokens, ego_tokens)
    _check_shape("exo depth", (exo_depth.width, exo_depth.height), "exo", exo_tokens)
    if geometry in _OWN_LENS:
        _check_shape("ego camera", (ego_camera.width, ego_camera.height), "ego", ego_tokens)
    exo_depth.metric()  # refuses inverse depth before any work is done
    ego_camera = ego_camera.expanded(n_frames)
    if geometry is GGAGeometry.PAPER_AVERAGE:
        groups = latent_groups(n_frames)
        queries = averaged_rays(ego_camera, groups, ego_tokens)
        keys = averaged_keys(exo_camera, exo_depth, ego_camera, groups, exo_tokens, progress)
    else:
        rays = _RAYS[geometry]
        queries = rays(ego_camera[::TEMPORAL_STRIDE], ego_tokens)
        unit_length = geometry is GGAGeometry.PHYSICAL
        keys = sampled_keys(exo_camera, exo_depth, ego_camera, TEMPORAL_STRIDE, exo_tokens, unit_length, progress)
    return GGADirections(queries.float(), keys.float())


_RAYS = {
    GGAGeometry.AS_RELEASED: released_rays,
    GGAGeometry.AS_TRAINED: trained_rays,
    GGAGeometry.PHYSICAL: physical_rays,
}
# The geometries that look through the ego camera's lens; the others use the release's grid.
_OWN_LENS = (GGAGeometry.PHYSICAL, GGAGeometry.PAPER_AVERAGE)


def _check_shape(what: str, size: tuple[int, int], part: str, tokens: tuple[int, int]) -> None:
    """Refuse a picture `size` (width, height) that is not what the tokens (rows, columns) show."""
    width, height = SPATIAL_STRIDE * tokens[1], SPATIAL_STRIDE * tokens[0]
    if not same_aspect(size, (width, height)):
        raise ValueError(
            f"The {what} is {size[0]} x {size[1]} pixels, but the {part} part of the video is {width} x {height}: the "
            "aspect ratios differ, so they show different parts of the image. Crop video, depth and camera alike."
        )


def _check(n_frames: int, latent_frames: int, exo_tokens: tuple[int, int], ego_tokens: tuple[int, int]) -> None:
    needed = video_frames(latent_frames)
    if n_frames != needed:
        raise ValueError(
            f"{latent_frames} latent frames stand for {needed} frames, but the exo depth has {n_frames}. "
            "Cut the clip's depth and cameras to the frames that are sampled."
        )
    if min(*exo_tokens, *ego_tokens) < 1:
        raise ValueError(f"Expected positive token grids, got exo {exo_tokens} and ego {ego_tokens}.")
