"""Pose data of newer ComfyUI versions, from a JSON file: what SAM 3D Body's and MediaPipe's nodes would hand on."""

from __future__ import annotations

import json
from pathlib import Path

import folder_paths
import numpy as np
from comfy_api.latest import io

_ARRAYS = ("pred_keypoints_2d", "pred_keypoints_3d", "pred_cam_t", "landmarks_xy", "transformation_matrix")


class StandInPoseData(io.ComfyNode):
    """Reads a file of the input folder and turns its lists into arrays."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInPoseData",
            category="test",
            inputs=[io.String.Input("filename")],
            outputs=[io.Custom("MHR_POSE_DATA").Output(), io.Custom("FACE_LANDMARKS").Output()],
        )

    @classmethod
    def execute(cls, filename: str) -> io.NodeOutput:
        content = json.loads((Path(folder_paths.get_input_directory()) / filename).read_text())
        for frame in content["frames"]:
            for person in frame:
                person |= {key: np.float32(person[key]) for key in _ARRAYS if key in person}
        return io.NodeOutput(content, content)
