"""The pack's own sockets, and those of other packs and newer cores that it reads; the rest travels on core ones.

EXO2EGO_CAMERA  `geometry.camera.Camera`: lens, image size, world-to-camera poses (one, or one a frame).
EXO2EGO_DEPTH   `geometry.depth.Depth`: depth maps [F, H, W] and what they mean.
EXO2EGO_POINTS  `geometry.point_cloud.PointCloud`: static background and points of each frame, world metres.
EXO2EGO_PLUCKER `geometry.plucker.PluckerMaps`: Pluecker maps [F, 6, H, W], their reference and kind of rays.
EXO2EGO_SYN     `wan.exo2egosyn_components.SynComponents`: trained parts of Exo2EgoSyn, each optional.
EXO2EGO_EXO_VIEWS `wan.exo_views.ExoViews`: latents [V, 16, t, h, w] of the exo videos in the VAE's scale, their length.
POSE_KEYPOINT   of DWPose, OpenPose and SDPose nodes: OpenPose's JSON, one dictionary a frame.
MHR_POSE_DATA   of newer cores: SAM 3D Body's people in every frame.
FACE_LANDMARKS  of newer cores: MediaPipe's faces in every frame.
LOAD3D_CAMERA   of core's 3D viewers: their camera, one dictionary (see `geometry.load3d`).
"""

from __future__ import annotations

from comfy_api.latest import io

CameraSocket = io.Custom("EXO2EGO_CAMERA")
DepthSocket = io.Custom("EXO2EGO_DEPTH")
PointsSocket = io.Custom("EXO2EGO_POINTS")
PluckerSocket = io.Custom("EXO2EGO_PLUCKER")
SynSocket = io.Custom("EXO2EGO_SYN")
ExoViewsSocket = io.Custom("EXO2EGO_EXO_VIEWS")
PoseKeypointSocket = io.Custom("POSE_KEYPOINT")
MHRPoseSocket = io.Custom("MHR_POSE_DATA")
FaceLandmarksSocket = io.Custom("FACE_LANDMARKS")
Load3DCameraSocket = io.Custom("LOAD3D_CAMERA")
