"""A made-up dataset in Ego-Exo4D's own layout: real small videos, poses as JSON and as the glasses' own tables.

The world has z up, in metres. Cameras are written from their truth by what the format says, not by the reader's code:
the glasses' sensor has its x axis down and its y axis to the left. A picture's brightness tells the frame's number, the
brightness of its left edge the camera's.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.video import write_video

TAKE, CAPTURE, UID = "made_up_bike_1", "made_up_bike", "0d1ee0f0-aaaa-bbbb-cccc-111122223333"
GLASSES = "aria01"
FPS = 30
TASK_SECONDS = (0.4, 1.9)  # frames 12 to 56
N_VIDEO, N_POSES = 64, 62

# The GoPros' fisheye at 3840 x 2160 (OpenCV's model) and the pinhole of its undistorted picture.
GOPRO_FOCAL, GOPRO_RADIAL = 1761.275757, (0.036902, 0.057131, -0.057154, 0.018458)
UNDISTORTED = [[1248.0, 0.0, 1919.5], [0.0, 1248.0, 1079.5], [0.0, 0.0, 1.0]]
LINEAR = [[150.0, 0.0, 255.5], [0.0, 150.0, 255.5], [0.0, 0.0, 1.0]]
# The colour camera at its native 2880 x 2880 pixels.
ARIA_FOCAL, ARIA_CENTER = 1220.6, (1455.2, 1442.7)
ARIA_RADIAL = (0.4, -0.47, 0.13, 1.1, -1.6, 0.6)
ARIA_TANGENTIAL, ARIA_PRISM = (0.0008, -0.0003), (-0.001, 0.0001, 0.0005, -0.0001)

EXO_PLACES = {
    "cam01": ((2.0, 0.0, 1.5), (0.0, 0.0, 1.0)),
    "cam02": ((0.2, 2.2, 1.6), (0.0, 0.0, 1.0)),
    "cam03": ((-2.1, 0.3, 1.4), (0.0, 0.0, 1.0)),
    "cam04": ((0.1, -1.9, 1.7), (0.0, 0.0, 1.0)),
    "cam05": ((1.5, 1.5, 2.2), (0.0, 0.0, 0.9)),
}

_CLOCK_START = 7_000_000_123_000  # ns, of the glasses
_FIRST_ROW = 41  # timesync_start_idx: the take's rows begin after it


@dataclass
class Tree:
    """A dataset with one take, whose parts a test may change.

    Attributes:
        limit: the folder around it, as ComfyUI's input folder.
        n_video: frames of each video.
        n_poses: ego poses.
    """

    limit: Path
    n_video: int
    n_poses: int

    @property
    def root(self) -> Path:
        return self.limit / "egoexo"

    @property
    def take(self) -> Path:
        return self.root / "takes" / TAKE

    @property
    def videos(self) -> Path:
        return self.take / "frame_aligned_videos" / "downscaled" / "448"

    @property
    def poses_file(self) -> Path:
        return self.root / "annotations" / "ego_pose" / "val" / "camera_pose" / f"{UID}.json"

    @property
    def trajectory(self) -> Path:
        return self.take / "trajectory"

    @property
    def name(self) -> str:
        return f"egoexo#{TAKE}"

    def edit_json(self, path: Path, change) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def edit_poses(self, change) -> None:
        self.edit_json(self.poses_file, change)

    def edit_take(self, **values) -> None:
        self.edit_json(self.root / "takes.json", lambda takes: takes[0].update(values))


def exo_pose(name: str) -> Tensor:
    """The truth: an exo camera's world-to-camera matrix [4, 4], upright."""
    return looking(*EXO_PLACES[name])


def ego_pose(frame: int) -> Tensor:
    """The truth: the upright ego camera's world-to-camera matrix [4, 4] at a frame."""
    time = frame / FPS
    eye = (0.1 * math.cos(time), 0.3 * time - 0.3, 1.65 + 0.02 * math.sin(3 * time))
    return looking(eye, (1.0 + 0.2 * time, 0.4 * math.sin(time), 1.1))


def sensor_pose(frame: int) -> Tensor:
    """World to the colour sensor as it is mounted: x is the picture's down, y its left."""
    right, down, forward = ego_pose(frame)[:3]
    return torch.stack([down, -right, forward, torch.tensor([0, 0, 0, 1.0]).double()])


def looking(eye, target) -> Tensor:
    """World-to-camera matrix [4, 4] of an upright camera (x right, y down, z forward) in a world with z up."""
    eye, target = torch.tensor(eye, dtype=torch.float64), torch.tensor(target, dtype=torch.float64)
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0, 0, 1.0]).double()), dim=0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose


def gopro_lens() -> Fisheye624:
    """The truth: the recorded exo picture's lens at 3840 x 2160, pixel centres at +0.5."""
    return Fisheye624(GOPRO_FOCAL, 1920.0, 1080.0, radial=(*GOPRO_RADIAL, 0, 0))


def brightness(frame: int) -> float:
    """How bright a frame is: no two within 50 frames are alike."""
    return 0.15 + 0.7 * (frame % 50) / 50


def frame_numbers(frames: Tensor) -> list[int]:
    """Read the numbers (modulo 50) of frames [F, H, W, 3] back from the middle of the pictures."""
    middle = frames[:, frames.shape[1] // 2, frames.shape[2] // 2].mean(dim=-1)
    return ((middle - 0.15) / 0.7 * 50).round().int().tolist()


def view_number(frames: Tensor) -> int:
    """Read the number of the camera, from 1, back from the left edge of the pictures."""
    return round(float(frames[:, :, 0].mean()) * 10)


def write_tree(limit: Path, n_video: int = N_VIDEO, n_poses: int = N_POSES, views=("cam01", "cam02", "cam03", "cam04")):
    """Write a dataset below `limit`."""
    tree = Tree(limit, n_video, n_poses)
    for name in (*views, f"{GLASSES}_214-1"):
        size = (48, 48) if name.startswith("aria") else (32, 56)
        shades = torch.tensor([brightness(frame) for frame in range(n_video)])
        frames = shades[:, None, None, None].repeat(1, *size, 3)
        frames[:, :, : size[1] // 4] = int(name[3:5]) / 10 if name.startswith("cam") else 0
        write_video(tree.videos / f"{name}.mp4", frames, FPS, crf=4)
    entry = {
        "take_name": TAKE,
        "take_uid": UID,
        "root_dir": f"takes/{TAKE}",
        "task_start_sec": TASK_SECONDS[0],
        "task_end_sec": max(TASK_SECONDS[1], (n_video - 1) / FPS) if n_video > N_VIDEO else TASK_SECONDS[1],
        "best_exo": "cam02",
        "parent_task_name": "Bike Repair",
        "timesync_start_idx": _FIRST_ROW,
        "timesync_end_idx": _FIRST_ROW + 1 + n_video,
        "capture": {"capture_name": CAPTURE, "cameras": []},
    }
    (tree.root / "takes.json").write_text(json.dumps([entry]))
    _write_poses(tree, views)
    _write_trajectory(tree, views)
    return tree


def _write_poses(tree: Tree, views) -> None:
    content = {"metadata": {"take_name": TAKE, "take_uid": UID}}
    for name in views:
        content[name] = {
            "camera_intrinsics": UNDISTORTED,
            "camera_extrinsics": exo_pose(name)[:3].tolist(),
            "distortion_coeffs": list(GOPRO_RADIAL),
        }
    poses = {str(frame): sensor_pose(frame)[:3].tolist() for frame in range(tree.n_poses)}
    content[GLASSES] = {"camera_intrinsics": LINEAR, "camera_extrinsics": poses}
    tree.poses_file.parent.mkdir(parents=True)
    tree.poses_file.write_text(json.dumps(content))


def _write_trajectory(tree: Tree, views) -> None:
    """The glasses' tables: `gopro_calibs.csv`, trajectory, calibration and clock."""
    keys = ["tx", "ty", "tz", "qx", "qy", "qz", "qw"]
    header = ["cam_uid", "graph_uid", *(f"{key}_world_cam" for key in keys), "image_width", "image_height"]
    header += ["intrinsics_type", *(f"intrinsics_{number}" for number in range(8)), "start_frame_idx", "end_frame_idx"]
    lens = [3840, 2160, "KANNALABRANDTK3", GOPRO_FOCAL, GOPRO_FOCAL, 1919.5, 1079.5, *GOPRO_RADIAL]
    poses = {name: _numbers_of(torch.linalg.inv(exo_pose(name))) for name in views}
    rows = [[f" {name}", "graph", *pose, *lens, -1, -1, 1.0] for name, pose in poses.items()]
    _write_csv(tree.trajectory / "gopro_calibs.csv", [*header, "quality"], rows)

    device_from_camera = looking((0.06, -0.01, 0.02), (0.9, 0.4, 0.3))  # any rigid move will do
    quaternion = _numbers_of(device_from_camera)
    params = [ARIA_FOCAL, *ARIA_CENTER, *ARIA_RADIAL, *ARIA_TANGENTIAL, *ARIA_PRISM]
    rgb = {
        "Label": "camera-rgb",
        "Projection": {"Name": "FisheyeRadTanThinPrism", "Params": params},
        "T_Device_Camera": {"Translation": quaternion[:3], "UnitQuaternion": [quaternion[6], quaternion[3:6]]},
    }
    slam = {"Label": "camera-slam-left", "Projection": {"Name": "FisheyeRadTanThinPrism", "Params": [0.0] * 15}}
    line = json.dumps({"tracking_timestamp_us": 1, "CameraCalibrations": [slam, rgb]})
    (tree.trajectory / "online_calibration.jsonl").write_text(f"{line}\n{line}\n")

    # A pose every millisecond between two frames would be long; one at each frame and one nearby show the choice.
    header = ["graph_uid", "tracking_timestamp_us", *(f"{key}_world_device" for key in keys)]
    rows = []
    for frame in range(-1, tree.n_video):
        to_world = torch.linalg.inv(sensor_pose(frame)) @ torch.linalg.inv(device_from_camera)
        away = to_world.clone()
        away[:3, 3] += 5.0
        time = _clock(frame) // 1000
        rows += [["graph", at, *_numbers_of(pose)] for at, pose in ((time, to_world), (time + 900, away))]
    _write_csv(tree.trajectory / "closed_loop_trajectory.csv", header, rows)

    column = f"{GLASSES}_214-1_capture_timestamp_ns"
    times = {row: _clock(row - _FIRST_ROW - 1) for row in range(_FIRST_ROW, _FIRST_ROW + 1 + tree.n_video)}
    rows = [[row, times.get(row, "")] for row in range(max(times) + 1)]
    _write_csv(tree.root / "captures" / CAPTURE / "timesync.csv", ["cam01_pts", column], rows)


def _clock(frame: int) -> int:
    return _CLOCK_START + round(frame * 1e9 / FPS)


def _numbers_of(pose: Tensor) -> list[float]:
    """Translation and quaternion x, y, z, w of a matrix [4, 4]."""
    rotation = pose[:3, :3]
    w = 0.5 * math.sqrt(max(0.0, 1 + float(rotation.trace())))
    if w > 1e-3:
        x, y, z = (float(rotation[i, j] - rotation[j, i]) / (4 * w) for i, j in ((2, 1), (0, 2), (1, 0)))
    else:  # a half turn: the axis is the eigenvector of eigenvalue 1
        values, vectors = torch.linalg.eigh(rotation + rotation.T)
        (x, y, z), w = vectors[:, values.argmax()].tolist(), 0.0
    return [*pose[:3, 3].tolist(), x, y, z, w]


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])


def truth_camera(lens: Pinhole | Fisheye624, width: int, height: int, frames) -> Camera:
    """The upright ego camera at given frames."""
    return Camera(lens, width, height, torch.stack([ego_pose(frame) for frame in frames]))
