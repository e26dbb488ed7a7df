"""Pluecker maps: what PoseInj of Exo2EgoSyn, and core's Wan camera models, see of the cameras."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor

from ...common.cancel import bounded_slices, cancel_point
from ...common.memory import FLOAT, require_memory
from ...common.wan_grid import PLUCKER_CHANNELS, fits_wan, fitting_frames
from ...geometry.cameras.camera import Camera
from ...geometry.plucker import PluckerMaps, PoseReference, wan_camera_embedding
from ..common.previews import video_preview
from ..common.schema import schema
from ..common.sockets import CameraSocket, PluckerSocket

_PREVIEW_FPS = 7.5  # Exo2EgoSyn's clips: every fourth frame of 30 a second


class Exo2EgoPlucker(io.ComfyNode):
    """The ego camera's rays in the frame of exo camera 1."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoPlucker",
            "Pluecker Maps",
            "exo2egosyn",
            "The line of sight of every pixel of the ego camera, as six numbers in the frame of the first exo camera: "
            "what Exo2EgoSyn's PoseInj is given. Also as ComfyUI's own camera embedding for Wan Fun Camera models.",
            search_aliases=["plucker", "plücker", "ray map", "camera embedding", "poseinj"],
            inputs=[
                CameraSocket.Input("ego_camera", tooltip="The ego camera, one pose a frame."),
                CameraSocket.Input(
                    "exo_camera",
                    optional=True,
                    tooltip="Exo camera 1, in whose frame the lines are given; only its first pose counts. Without it "
                    "they count from the ego camera's own first frame, which PoseInj was not trained on.",
                ),
                io.Int.Input(
                    "width",
                    default=256,
                    min=16,
                    max=8192,
                    step=16,
                    tooltip="Width of the maps in pixels: that of the ego video. The camera's whole image is squeezed "
                    "onto it, as Exo2EgoSyn's images are.",
                ),
                io.Int.Input(
                    "height", default=256, min=16, max=8192, step=16, tooltip="Height of the maps in pixels, likewise."
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=4097,
                    step=1,
                    tooltip="Number of frames, 4n+1; 0 takes all poses of the ego camera, a smaller number the first "
                    "ones. A fixed ego camera is repeated.",
                ),
            ],
            outputs=[
                PluckerSocket.Output("plucker", display_name="pluecker maps", tooltip="For Exo2EgoSyn Apply."),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip="Left the directions, right the moments; grey is 0, red x, green y, blue z.",
                ),
                io.WanCameraEmbedding.Output(
                    "camera_embedding",
                    display_name="camera embedding",
                    tooltip="For core's WanCameraImageToVideo. It always counts from the ego camera's own first frame, "
                    "as those models expect, whether an exo camera is connected or not.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, ego_camera: Camera, width: int, height: int, frames: int, exo_camera: Camera | None = None
    ) -> io.NodeOutput:
        ego = _with_frames(ego_camera, frames)
        sets = 1 if exo_camera is None else 2
        require_memory(
            FLOAT * PLUCKER_CHANNELS * (sets + 2) * ego.n_frames * width * height,  # and embedding, preview
            f"Pluecker maps of {ego.n_frames} frames at {width} x {height}, their preview and camera embedding",
            "Lower width, height or frames.",
        )
        plucker = PluckerMaps.of(ego, exo_camera, width, height)
        own = plucker
        if plucker.reference is not PoseReference.OWN_FIRST_FRAME:
            own = PluckerMaps.of(ego, None, width, height)
        picture = _picture(plucker.maps)
        return io.NodeOutput(plucker, picture, wan_camera_embedding(own.maps), ui=video_preview(picture, _PREVIEW_FPS))


def _with_frames(camera: Camera, frames: int) -> Camera:
    """Return the first `frames` poses of a camera, or all of them for 0.

    Raises:
        ValueError: if there are fewer, or their number is not 4n+1.
    """
    wanted = frames or camera.n_frames
    if not fits_wan(wanted):
        raise ValueError(
            f"Wan samples 4n+1 frames, got {wanted} {'frames' if frames else 'poses of the ego camera'}. Set frames to "
            f"{fitting_frames(wanted)}, and cut the videos alike."
        )
    if camera.is_fixed:
        return camera.expanded(wanted)
    if wanted > camera.n_frames:
        raise ValueError(
            f"Expected {wanted} poses of the ego camera, one a frame, but it has {camera.n_frames}. Set frames to "
            f"{fitting_frames(camera.n_frames)} or fewer, or load a longer take."
        )
    return camera[:wanted]


def _picture(maps: Tensor) -> Tensor:
    """Paint maps [F, 6, H, W] as colors [F, H, 2 W, 3] in [0, 1]: directions, and moments by the largest one."""
    n_frames, _, height, width = maps.shape
    parts = [(frame, rows) for frame in range(n_frames) for rows in bounded_slices(height, PLUCKER_CHANNELS * width)]
    largest = max(float(torch.linalg.vector_norm(maps[frame, :3, rows], torch.inf)) for frame, rows in parts)
    picture = torch.empty(n_frames, height, 2 * width, 3)
    for frame, rows in parts:
        cancel_point()
        moments, directions = maps[frame, :, rows].movedim(0, -1).split(3, dim=-1)
        picture[frame, rows, :width] = directions
        picture[frame, rows, width:] = moments / max(largest, 1e-9)
        picture[frame, rows].mul_(0.5).add_(0.5).clamp_(0, 1)
    return picture


NODES = [Exo2EgoPlucker]
