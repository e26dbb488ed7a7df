"""Point Cloud: the exo clip lifted into the world (paper section 3.1)."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...geometry.depth.clip_size import at_image_size
from ...geometry.depth.depth import Depth
from ...geometry.depth.dynamic_mask import estimate_dynamic, mask_to_frames, share_of
from ...geometry.points.point_cloud import Background, build_point_cloud
from ...geometry.take_kind import TakeKind
from ...takes.clips.cut import Cut
from ...takes.ply_files import SCANS
from ..common.own_inputs import StreamedImages, cut_input, mask_or_track, track_inputs
from ..common.progress import logger, progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, DepthSocket, PointsSocket
from .scan import scan_inputs, with_scan

_ESTIMATED, _NONE = "mask, or estimated", "none"
_MOVING_POINTS = _BY_TAKE, _BY_KEEP_MOVING = ["by the take", "by keep_moving"]

# Above this share of the clip the mask is inverted, or the depth flickers more than the estimate can take out.
_MUCH_MOVING_PERCENT = 50.0


class Exo2EgoPointCloud(io.ComfyNode):
    """The exo clip as colored points in the world."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoPointCloud",
            "Point Cloud",
            "prior",
            "Lifts the exo clip into colored points: a static background averaged over the clip, plus what moves in "
            "each frame.",
            search_aliases=["unproject", "depth to points"],
            inputs=[
                StreamedImages("images", tooltip="The exo video."),
                DepthSocket.Input("depth", tooltip="Its metric depth, one map a frame; resized to the images."),
                CameraSocket.Input("camera", tooltip="The exo camera; resized to the images."),
                io.Mask.Input(
                    "moving",
                    optional=True,
                    tooltip="White where people and things move, from any segmentation pack (one image a frame). "
                    "Without it motion is estimated over time, which misses people who stand still.",
                ),
                io.Combo.Input(
                    "background",
                    options=[background.value for background in Background],
                    default=Background.MEAN.value,
                    tooltip="mean: one clean background averaged over all frames (a fixed camera only). per frame: "
                    "every frame's own points, for moving cameras and very short clips.",
                ),
                io.Combo.Input(
                    "moving_parts",
                    options=[_ESTIMATED, _NONE],
                    default=_ESTIMATED,
                    tooltip="What counts as moving when the background is averaged: the mask (or a temporal estimate "
                    "where none is connected), or nothing at all.",
                ),
                io.Boolean.Input(
                    "keep_moving",
                    default=True,
                    tooltip="Draw what moves, in its own frame. EgoX did so for film clips, but not for Ego-Exo4D: see "
                    "moving_points.",
                ),
                io.Int.Input(
                    "stride",
                    default=2,
                    min=1,
                    max=16,
                    tooltip="Take every n-th pixel in both directions. 2 as in EgoX's release; the model was trained "
                    "on it.",
                ),
                io.Float.Input(
                    "reliability",
                    default=0.1,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Drop pixels whose depth varies by more than this share within 5x5 pixels: they smear "
                    "across edges. 0.1 as in EgoX's release.",
                ),
                io.Combo.Input(
                    "moving_points",
                    options=_MOVING_POINTS,
                    default=_BY_TAKE,
                    optional=True,
                    tooltip="by the take: the kind of take decides. An Ego-Exo4D take gets the background alone (the "
                    "mean of all frames where no mask is connected), as EgoX was trained on it; film clips and all "
                    "other clips follow keep_moving. by keep_moving: keep_moving decides for every clip.",
                ),
                cut_input("a mask", " Only the mask follows: depth and camera have inputs of their own for it."),
                *track_inputs("moving"),
                *scan_inputs(),
            ],
            outputs=[PointsSocket.Output("points", display_name="points")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        depth: Depth,
        camera: Camera,
        background: str,
        moving_parts: str,
        keep_moving: bool,
        stride: int,
        reliability: float,
        moving: Tensor | None = None,
        moving_points: str = _BY_KEEP_MOVING,  # what graphs from before this input say
        cut: Cut | None = None,
        sam3_track: Any = None,
        track_objects: str = "",
        scan: str = SCANS.built_in,
        splat: Any = None,
    ) -> io.NodeOutput:
        depth, camera = at_image_size(images, depth, camera)
        moving = mask_or_track("moving", moving, sam3_track, track_objects)
        progress = progress_bar()
        chosen = Background(background)
        kind = camera.take_kind if moving_points == _BY_TAKE else None
        alone = kind is not None and not kind.draws_moving_points
        drawn = keep_moving and not alone
        if moving is not None and cut is not None:
            moving = cut.mask(moving)
        mask = None if moving is None else mask_to_frames(moving, *depth.values.shape)
        dynamic = None
        if chosen is Background.MEAN and moving_parts == _ESTIMATED:
            # Where the background stands alone, the mean of all frames is nearer to the released priors than one with
            # estimated holes: IoU 0.83 against 0.75 on a kitchen take.
            estimates = mask is None and not alone
            dynamic = estimate_dynamic(images, depth, progress=progress) if estimates else mask
        cloud = build_point_cloud(
            images,
            depth,
            camera,
            background=chosen,
            dynamic=dynamic,
            dynamic_points=drawn,
            stride=stride,
            reliability_threshold=reliability,
            progress=progress,
        )
        cloud, scanned = with_scan(cloud, scan, splat)
        warning = _moving_warning(dynamic, mask, f'background "{background}", moving_parts "{moving_parts}"')
        rule = "every frame shows its own" if chosen is Background.PER_FRAME else _rule(kind, drawn)
        if drawn != keep_moving:
            logger.info("Exo2EgoPointCloud: %s.", rule)
        text = "\n".join([cloud.describe(), f"{_moving_share(dynamic)}; {rule}", *([scanned] if scanned else [])])
        if warning:
            warn(cls, warning)
        show_text(cls, text)
        return io.NodeOutput(cloud)


def _rule(kind: TakeKind | None, drawn: bool) -> str:
    """Return which rule decided on the moving points, and how."""
    result = "drawn" if drawn else "left out"
    if kind is None:
        return f"moving points {result}, as keep_moving says"
    if drawn == kind.draws_moving_points:
        return f"moving points {result}, by the take: {kind.value}"
    return f"moving points {result}, as keep_moving says; the take is of the kind {kind.value}"


def _moving_share(dynamic: Tensor | None) -> str:
    if dynamic is None:
        return "moving: 0 % (motion detection is off)"
    return f"moving: {share_of(dynamic):.1f} % of the clip"


def _moving_warning(dynamic: Tensor | None, mask: Tensor | None, settings: str) -> str:
    """Return what is odd about the moving parts in use, and about the connected mask; empty if nothing is."""
    if dynamic is None:
        return "" if mask is None else f"The mask of moving parts has no effect with {settings}."
    if share_of(dynamic) <= _MUCH_MOVING_PERCENT:
        return ""
    advice = (
        "Align the depth over time, or connect a mask to 'moving'."
        if mask is None
        else "Check that it is not inverted."
    )
    source = "The motion mask estimated from the clip" if mask is None else "The connected motion mask"
    covered = f"{source} covers more than {_MUCH_MOVING_PERCENT:.0f} % of it"
    return f"{covered}, which leaves little background to average. {advice}"


NODES = [Exo2EgoPointCloud]
