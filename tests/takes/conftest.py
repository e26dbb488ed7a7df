"""A small take on disk, laid out by hand as EgoX's files are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from exo2ego.takes.video import write_video

N_FRAMES = 5
WIDTH, HEIGHT, MAP_WIDTH = 64, 32, 72


@dataclass
class TakeFolder:
    """A take folder whose parts a test may change."""

    path: Path

    def meta(self) -> dict:
        return json.loads((self.path / "meta.json").read_text())

    def write_meta(self, entry) -> None:
        (self.path / "meta.json").write_text(json.dumps(entry))

    def write_clip(self, name: str, n_frames: int = N_FRAMES, width: int = WIDTH) -> None:
        grey = torch.linspace(0.2, 0.8, n_frames)[:, None, None, None].expand(n_frames, HEIGHT, width, 3)
        write_video(self.path / name, grey, fps=20)

    def write_depth(self, depth, name: str = "depth_f16.npz") -> None:
        np.savez_compressed(self.path / name, depth=depth)


def depth_maps(n_frames=N_FRAMES) -> np.ndarray:
    """Maps [F, 32, 72] whose value is 1 + column / 100 + frame."""
    columns = 1 + np.arange(MAP_WIDTH) / 100
    return (columns[None, None] + np.arange(n_frames)[:, None, None] + np.zeros((1, HEIGHT, 1))).astype(np.float16)


def raw_ego_pose(frame: int) -> list:
    """Turn about y by 0.1 rad a frame: 3 x 4, in the axes of the sensor as it is mounted."""
    c, s = np.cos(0.1 * frame), np.sin(0.1 * frame)
    return [[c, 0, s, 0.5], [0, 1, 0, -0.2], [-s, 0, c, 0.1 * frame]]


@pytest.fixture
def take_folder(tmp_path) -> TakeFolder:
    folder = TakeFolder(tmp_path / "small_take")
    folder.path.mkdir()
    folder.write_clip("exo.mp4")
    folder.write_clip("ego_Prior.mp4", width=HEIGHT)
    folder.write_depth(depth_maps())
    folder.write_meta(
        {
            "exo_path": "./example/videos/small_take/exo.mp4",
            "prompt": "[Exo view] a room [Ego view] a table",
            "camera_intrinsics": [[500.0, 0.0, 360.0], [0.0, 510.0, 160.0], [0.0, 0.0, 1.0]],
            "camera_extrinsics": [[1, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 1, 2.0]],
            "ego_intrinsics": [[150.0, 0.0, 255.5], [0.0, 150.0, 255.5], [0.0, 0.0, 1.0]],
            "ego_extrinsics": [raw_ego_pose(frame) for frame in range(N_FRAMES)],
        }
    )
    return folder


@pytest.fixture
def dataset_folder(take_folder, tmp_path) -> Path:
    """The same take in EgoX's dataset layout, beside another entry."""
    folder = tmp_path / "dataset"
    videos = folder / "videos" / "small_take"
    videos.mkdir(parents=True)
    for name in ("exo.mp4", "ego_Prior.mp4"):
        (take_folder.path / name).rename(videos / name)
    maps = folder / "depth_maps" / "small_take"
    maps.mkdir(parents=True)
    for frame, values in enumerate(depth_maps()):
        np.save(maps / f"frame_{frame + 7}.npy", values)  # 7..11: text order is not the frames' order
    other = {**take_folder.meta(), "exo_path": "./videos/other/exo.mp4", "prompt": "other"}
    (folder / "meta.json").write_text(json.dumps({"test_datasets": [other, take_folder.meta()]}))
    return folder
