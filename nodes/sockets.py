"""The pack's own sockets; everything else travels on core ones.

EXO2EGO_CAMERA  `geometry.camera.Camera`: lens, image size, world-to-camera poses (one, or one a frame).
EXO2EGO_DEPTH   `geometry.depth.Depth`: depth maps [F, H, W] and what they mean.
EXO2EGO_POINTS  `geometry.point_cloud.PointCloud`: static background and points of each frame, world metres.
EXO2EGO_PLUCKER `geometry.plucker.PluckerMaps`: Pluecker maps [F, 6, H, W], their reference and kind of rays.
"""

from __future__ import annotations

from comfy_api.latest import io

CameraSocket = io.Custom("EXO2EGO_CAMERA")
DepthSocket = io.Custom("EXO2EGO_DEPTH")
PointsSocket = io.Custom("EXO2EGO_POINTS")
PluckerSocket = io.Custom("EXO2EGO_PLUCKER")
