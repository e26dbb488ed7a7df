"""Do an ego camera's poses fit what the exo cameras see: depth against pose scale, the prior, a path without jumps?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...geometry.depth.depth import Depth, DepthMeaning
from ...geometry.points.point_cloud import Background, build_point_cloud
from ...geometry.points.quick_view import quick_view
from ...takes.take import Take
from ...takes.video import squeezed
from ...takes.views import MultiViewTake
from .findings import Findings
from .images import agreement
from .settings import ScreenSettings

_SIDE = 112  # pixels of the prior that is rendered for comparison
_STRIDE = 2  # pixels of the exo image from point to point
# Half a head and a pose's error, as a share of the image's width: there the head's depth is looked for.
_AROUND = 0.02
# The head may be cut by the image's edge, as a share of its size.
_BEYOND = 0.15


@dataclass(frozen=True)
class _Sight:
    """Where exo cameras see the ego camera: pixel, metres ahead, whether within the image or near its edge."""

    x: float
    y: float
    z: float
    within: bool
    near: bool


def check_path(camera: Camera, fps: float, settings: ScreenSettings, found: Findings) -> None:
    """Check that the ego camera does not jump."""
    if camera.n_frames < 2:
        return
    steps = (camera.centers[1:] - camera.centers[:-1]).norm(dim=-1) * fps  # [F - 1], metres a second
    fastest, at = (float(value) for value in steps.max(dim=0))
    found.measure("fastest_metres_a_second", fastest)
    if fastest > settings.speed:
        found.reasons["path"] = (
            f"The ego camera moves by {fastest / fps:.2f} m from frame {at:.0f} to {at + 1:.0f}, {fastest:.1f} m/s: a "
            f"head stays below {settings.speed:g} m/s. A pose is wrong there."
        )


def check_scale(take: Take, settings: ScreenSettings, found: Findings) -> None:
    """Check where the exo camera sees the ego camera: the depth there is that of the wearer's head.

    The ratio of the ego camera's depth and of the nearest surface around its place in the exo image is about 1, and
    scales as the poses' unit does against the depth's.
    """
    depth, ratios, near = take.depth.metric(), [], 0
    frames = range(0, take.n_frames, max(1, take.n_frames // 12))
    for frame in frames:
        sight = _sight(take.exo_camera, take.ego_camera, frame)
        near += sight.near
        if sight.within and sight.z > 0:
            reach = max(2, round(_AROUND * take.exo_camera.width))
            x, y = int(sight.x), int(sight.y)
            around = depth[frame, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            if (seen := around[around > 0]).numel():
                ratios.append(sight.z / float(seen.min()))
    if not near:
        found.reasons["poses"] = (
            "The ego camera lies outside the exo image, or behind the exo camera, in every frame: the exo view has to "
            "show the one who wears it."
        )
    if not ratios:
        return
    ratio = found.measure("pose_to_depth", median(ratios))
    if settings.scale and not 1 / settings.scale <= ratio <= settings.scale:
        found.reasons["scale"] = (
            f"The ego camera is {ratio:.3g} times as far from the exo camera as the depth says of the head there, "
            f"expected 1 to within a factor of {settings.scale:g}: poses and depth have different units, or another "
            "origin."
        )


def check_prior_agrees(take: Take, moments: Sequence[int], settings: ScreenSettings, found: Findings) -> list[Tensor]:
    """Compare the ego prior with one rendered from depth and poses; returns the latter at the moments, [H, W, 3]."""
    rendered, agreements = [], []
    for frame in moments:
        at = slice(frame, frame + 1)
        depth = Depth(take.depth.metric()[at], DepthMeaning.METRIC)
        exo = take.exo_camera if take.exo_camera.is_fixed else take.exo_camera[at]
        cloud = build_point_cloud(take.exo[at], depth, exo, background=Background.PER_FRAME, stride=_STRIDE)
        image = quick_view(cloud, take.ego_camera.expanded(take.n_frames)[at], _SIDE).color[0]
        rendered.append(image)
        if take.ego_prior is not None:
            given = squeezed(take.ego_prior[at], image.shape[1], image.shape[0])[0]
            agreements.append(agreement(image, given))
    if take.ego_prior is None or not settings.agreement:
        return rendered
    mean = found.measure("prior_agreement", sum(agreements) / len(agreements))
    if mean < settings.agreement:
        found.reasons["prior"] = (
            f"The ego prior agrees by {mean:.2f} with one rendered from depth and poses, expected at least "
            f"{settings.agreement:g}: it was made with other poses or another depth, or one of them is wrong."
        )
    return rendered


def check_seen(take: MultiViewTake, found: Findings) -> None:
    """Check that an exo camera sees the ego camera in most frames, as there is no depth to compare with."""
    seen = [
        any(_sight(view.camera, take.ego_camera, frame).near for view in take.exo) for frame in range(take.n_frames)
    ]
    share = found.measure("seen_percent", 100 * sum(seen) / len(seen))
    if share < 50:
        found.reasons["poses"] = (
            f"The ego camera lies within an exo image in {share:.0f} % of the frames: the poses of the glasses and of "
            "the exo cameras do not fit each other."
        )


def _sight(exo: Camera, ego: Camera, frame: int) -> _Sight:
    at = 0 if exo.is_fixed else frame
    pixels, z, valid = exo.project(ego.centers[0 if ego.is_fixed else frame][None], at)
    x, y = pixels[0].tolist()
    ahead = bool(valid[0]) and float(z[0]) > 0
    slack_x, slack_y = _BEYOND * exo.width, _BEYOND * exo.height
    return _Sight(
        x,
        y,
        float(z[0]),
        within=ahead and 0 <= x < exo.width and 0 <= y < exo.height,
        near=ahead and -slack_x <= x < exo.width + slack_x and -slack_y <= y < exo.height + slack_y,
    )
