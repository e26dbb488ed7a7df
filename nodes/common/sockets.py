"""The pack's own sockets, and those of other packs and newer cores that it reads; the rest travels on core ones.

What lies in each is told in docs/sockets.md.
"""

from __future__ import annotations

from comfy_api.latest import io

CameraSocket = io.Custom("EXO2EGO_CAMERA")
DepthSocket = io.Custom("EXO2EGO_DEPTH")
PointsSocket = io.Custom("EXO2EGO_POINTS")
CutSocket = io.Custom("EXO2EGO_CUT")
PluckerSocket = io.Custom("EXO2EGO_PLUCKER")
SynSocket = io.Custom("EXO2EGO_SYN")
ExoViewsSocket = io.Custom("EXO2EGO_EXO_VIEWS")
PoseKeypointSocket = io.Custom("POSE_KEYPOINT")
MHRPoseSocket = io.Custom("MHR_POSE_DATA")
KimodoPoseSocket = io.Custom("KIMODO_POSE_DATA")
FaceLandmarksSocket = io.Custom("FACE_LANDMARKS")
Load3DCameraSocket = io.Custom("LOAD3D_CAMERA")
MoGeGeometrySocket = io.Custom("MOGE_GEOMETRY")
SplatSocket = io.Custom("SPLAT")
SAM3TrackSocket = io.Custom("SAM3_TRACK_DATA")
DA3GeometrySocket = io.Custom("DA3_GEOMETRY")
