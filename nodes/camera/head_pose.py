"""The ego camera from a person's head: keypoints of any pose estimator, depth and the exo camera."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...common.messages import with_advice
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import NAMED_PRESETS, RELEASE_SIZE, LensPreset, preset_lens
from ...geometry.depth.depth import Depth
from ...geometry.head.core_keypoints import read_face_landmarks, read_kimodo, read_mhr
from ...geometry.head.keypoints import People
from ...geometry.head.openpose import read_openpose
from ...geometry.head.person_tracks import PersonChoice, follow_person
from ...geometry.head.pose import DEFAULT_SMOOTHING, DEFAULT_TILT, estimate_head_pose
from ..common.previews import depth_picture, video_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import (
    CameraSocket,
    DepthSocket,
    FaceLandmarksSocket,
    KimodoPoseSocket,
    MHRPoseSocket,
    PoseKeypointSocket,
)
from ..drawings.head_axes import draw_heads, drawn_size
from ..drawings.plots import confidence_chart


class Exo2EgoHeadPose(io.ComfyNode):
    """The ego camera between a person's eyes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoHeadPose",
            "Head Pose",
            "camera",
            "Finds the ego camera automatically: where the person's eyes are and where they look, from keypoints of a "
            "pose estimator, the metric depth and the exo camera. Reports which frames were filled; correct it in the "
            "Camera Editor.",
            search_aliases=["ego camera", "openpose", "DWPose", "head tracking", "gaze"],
            inputs=[
                DepthSocket.Input("depth", tooltip="Metric depth of the exo clip, one map a frame."),
                CameraSocket.Input("exo_camera", tooltip="The exo camera; resized to the depth."),
                PoseKeypointSocket.Input(
                    "keypoints",
                    optional=True,
                    tooltip="POSE_KEYPOINT of DWPose, OpenPose or SDPose, or of Load Keypoints: 18 or 25 body joints. "
                    "Points of face and hands make it more exact; arms and legs help where the face is hidden.",
                ),
                MHRPoseSocket.Input(
                    "mhr_pose",
                    optional=True,
                    tooltip="SAM 3D Body's pose of newer ComfyUI versions, with the keypoints or instead of them.",
                ),
                FaceLandmarksSocket.Input(
                    "face_landmarks",
                    optional=True,
                    tooltip="MediaPipe's face landmarks of newer ComfyUI versions, with the keypoints or instead of "
                    "them.",
                ),
                io.Image.Input("images", optional=True, tooltip="The exo video, for the preview only."),
                io.Combo.Input(
                    "person",
                    options=[choice.value for choice in PersonChoice],
                    default=PersonChoice.LARGEST.value,
                    tooltip="Who wears the camera, where several people are seen: the largest over the clip, the one "
                    "nearest to the middle, or by the number below. They are followed through the clip.",
                ),
                io.Int.Input(
                    "number",
                    default=0,
                    min=0,
                    max=99,
                    tooltip="For 'by number': people are numbered from 0 as they first appear.",
                ),
                io.Float.Input(
                    "tilt_degrees",
                    default=DEFAULT_TILT,
                    min=-60.0,
                    max=80.0,
                    step=1.0,
                    tooltip="How far the camera is tilted down from where the face points, as head-worn cameras are. "
                    "The glasses of an Ego-Exo4D take measured 18 to 25.",
                ),
                io.Float.Input(
                    "smoothing",
                    default=DEFAULT_SMOOTHING,
                    min=0.0,
                    max=200.0,
                    step=1.0,
                    tooltip="Frames. Movements of this period keep half of their size, faster ones go; nothing lags "
                    "behind. 0 leaves every frame as it was found.",
                ),
                io.Combo.Input(
                    "lens",
                    options=[preset.value for preset in NAMED_PRESETS],
                    default=LensPreset.EGOX_RELEASE.value,
                    tooltip="The ego lens. The released LoRA was trained on the Aria fisheye; pinhole sees 90 degrees.",
                ),
                io.Int.Input("width", default=RELEASE_SIZE, min=16, max=8192, tooltip="Ego image width in pixels."),
                io.Int.Input("height", default=RELEASE_SIZE, min=16, max=8192, tooltip="Ego image height in pixels."),
                KimodoPoseSocket.Input(
                    "kimodo_pose",
                    optional=True,
                    tooltip="A rig that Kimodo moves (KIMODO_POSE_DATA of newer ComfyUI versions), for a clip that was "
                    "rendered of it.",
                ),
                io.Float.Input(
                    "scale_from_body_height",
                    optional=True,
                    default=0.0,
                    min=0.0,
                    max=2.5,
                    step=0.01,
                    tooltip="How tall the person is, in metres. Trunk and limbs then give the head's size, and the "
                    "report states by what factor the depth's metres are off. The camera stays in the depth's own "
                    "scale. 0: an adult of unknown height.",
                ),
            ],
            outputs=[
                CameraSocket.Output("ego_camera", display_name="ego camera", tooltip="One pose a frame."),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip="Joints and the camera's axes over the exo video: red right, green down, blue ahead.",
                ),
                io.Image.Output("chart", display_name="confidence chart", tooltip="Confidence of every frame."),
                io.String.Output(
                    "report", display_name="report", tooltip="What was found, and which frames were filled."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        depth: Depth,
        exo_camera: Camera,
        person: str,
        number: int,
        tilt_degrees: float,
        smoothing: float,
        lens: str,
        width: int,
        height: int,
        keypoints: Any = None,
        mhr_pose: Any = None,
        face_landmarks: Any = None,
        images: Tensor | None = None,
        kimodo_pose: Any = None,
        scale_from_body_height: float = 0.0,
    ) -> io.NodeOutput:
        people = _people(keypoints, mhr_pose, kimodo_pose, face_landmarks).resized(depth.width, depth.height)
        exo_camera = exo_camera.resized(depth.width, depth.height, "depth maps")
        one = follow_person(people, PersonChoice(person), number)
        if images is not None and len(images) != len(one):
            raise ValueError(
                f"The exo video has {len(images)} frames and the keypoints {len(one)}. Cut the longer one."
            )
        found = estimate_head_pose(
            one,
            depth,
            exo_camera,
            preset_lens(LensPreset(lens), width, height),
            width,
            height,
            tilt_degrees=tilt_degrees,
            smoothing=smoothing,
            body_height=scale_from_body_height,
            progress=progress_bar(),
        )
        pictures = _depth_pictures(depth) if images is None else images
        preview = draw_heads(pictures, exo_camera, found.camera, one, found.filled_frames)
        chart = confidence_chart(found.confidence, found.filled_frames, found.torso_frames)
        report = found.summary()
        for text in found.warnings():
            warn(cls, text)
        show_text(cls, report)
        return io.NodeOutput(found.camera, preview, chart, report, ui=video_preview(preview))


def _depth_pictures(depth: Depth) -> Tensor:
    """Paint the depth at the size of the preview."""
    small = depth.resized(*drawn_size(depth.width, depth.height))
    return depth_picture(small.inverse(), small.valid)


def _people(keypoints: Any, mhr_pose: Any, kimodo_pose: Any, face_landmarks: Any) -> People:
    """Read what is connected, and join it: the first of them leads."""
    given = (
        (keypoints, read_openpose),
        (mhr_pose, read_mhr),
        (kimodo_pose, read_kimodo),
        (face_landmarks, read_face_landmarks),
    )
    with with_advice("Run the estimator again, or connect another one."):
        found = [read(payload) for payload, read in given if payload is not None]
    if not found:
        raise ValueError(
            "Connect keypoints (POSE_KEYPOINT of a DWPose node, or Load Keypoints), mhr_pose, kimodo_pose or "
            "face_landmarks: without them there is no head to find."
        )
    people = found[0]
    for other in found[1:]:
        people = people.merged_with(other)
    return people


NODES = [Exo2EgoHeadPose]
