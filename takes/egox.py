"""Read takes as EgoX's release lays them out: one folder a take, or a dataset of many.

take folder                              dataset folder
  meta.json      one entry                 meta.json         {"test_datasets": [entry, ...]}
  exo.mp4                                  videos/NAME/exo.mp4
  ego_Prior.mp4  optional                  videos/NAME/ego_Prior.mp4, ego_GT.mp4
  ego_GT.mp4     optional                  depth_maps/NAME/*.npy   one a clip, or one a frame
  depth.npz, depth.npy, depth_f16.npz or depth_maps/*.npy
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..geometry.camera import Camera
from ..geometry.depth import Depth, DepthMeaning
from ..geometry.lens import Lens
from ..geometry.presets import RELEASE_SIZE, LensPreset
from ..media.video import read_video
from .egox_meta import EgoXMeta
from .files import load_array, load_json
from .take import Take

META_FILE = "meta.json"
EXO_FILE = "exo.mp4"
PRIOR_FILE = "ego_Prior.mp4"
TRUTH_FILE = "ego_GT.mp4"
DEPTH_FILES = ("depth.npz", "depth.npy", "depth_f16.npz")
EXO_CAMERA_FILE = "exo_camera.json"
DATASET_KEY = "test_datasets"

# Released Ego-Exo4D videos carry one frame more than they have poses and depth maps (50 for 49); it does not count.
_SPARE_FRAMES = 1


def split_take_name(text: str) -> tuple[str, str | None]:
    """Split `FOLDER#NAME` into the dataset folder and the take's name; a lone `FOLDER` has the name `None`."""
    folder, mark, name = text.partition("#")
    return (folder, name) if mark and name else (folder, None)


def read_take(folder: str | os.PathLike[str], *, lens: LensPreset | Lens = LensPreset.EGOX_RELEASE) -> Take:
    """Read a take folder.

    Args:
        folder: holds `meta.json` with one entry, `exo.mp4` and the depth; see the module's table.
        lens: the ego lens, a preset or one of the ego image's size. EgoX's files do not tell it.

    Raises:
        ValueError: if a file is missing, torn or of another length, or `meta.json` misses a key.
    """
    folder = _existing_folder(folder)
    entry = load_json(folder / META_FILE)
    if isinstance(entry, dict) and DATASET_KEY in entry:
        raise ValueError(
            f"{folder} is a dataset of takes. Name one: {folder}#NAME with NAME in {dataset_names(entry)}."
        )
    if not isinstance(entry, dict):
        raise ValueError(f"{folder / META_FILE} must hold one JSON object with a take's cameras and prompt.")
    depth_files = [folder / name for name in DEPTH_FILES if (folder / name).is_file()][:1]
    depth_files = depth_files or _maps_in(folder / "depth_maps")
    if not depth_files:
        raise ValueError(f"{folder} holds no depth: expected {', '.join(DEPTH_FILES)} or depth_maps/*.npy.")
    return _assemble(folder.name, EgoXMeta(entry, folder / META_FILE), folder, depth_files, lens)


def read_dataset_take(
    folder: str | os.PathLike[str], name: str, *, lens: LensPreset | Lens = LensPreset.EGOX_RELEASE
) -> Take:
    """Read one take of EgoX's dataset layout.

    Args:
        folder: holds `meta.json`, `videos/` and `depth_maps/`; see the module's table.
        name: the folder of the take's videos, as the entry's `exo_path` names it.
        lens: as in `read_take`.

    Raises:
        ValueError: if the dataset has no such take, and as `read_take`.
    """
    folder = _existing_folder(folder)
    meta = dataset_entry(folder, name)
    maps_folder = folder / "depth_maps" / name
    depth_files = _maps_in(maps_folder)
    if not depth_files:
        raise ValueError(f"The take {name} has no depth: expected .npy files in {maps_folder}.")
    return _assemble(name, meta, folder / "videos" / name, depth_files, lens)


def dataset_entry(folder: str | os.PathLike[str], name: str) -> EgoXMeta:
    """Return the entry of a dataset's `meta.json` whose exo video lies in a folder called `name`.

    Raises:
        ValueError: if the file is no dataset, or has no such take.
    """
    source = Path(folder) / META_FILE
    content = load_json(source)
    if not isinstance(content, dict) or not isinstance(content.get(DATASET_KEY), list):
        raise ValueError(f"{source} is no EgoX dataset: expected a list under the key {DATASET_KEY!r}.")
    for entry in content[DATASET_KEY]:
        if _name_of(entry) == name:
            return EgoXMeta(entry, source)
    raise ValueError(f"{source} has no take {name!r}; it has {dataset_names(content)}.")


def _assemble(name: str, meta: EgoXMeta, videos: Path, depth_files: Sequence[Path], lens: LensPreset | Lens) -> Take:
    n_frames = len(meta.ego_poses())
    exo, fps = read_video(videos / EXO_FILE)
    height, width = exo.shape[1:3]
    maps = _read_depth(depth_files)
    map_height, map_width = maps.shape[1:]
    left, kept = _columns_of_clip(map_width, map_height, width, height, meta)
    depth = Depth.from_array(_first(maps, n_frames, "depth", meta), DepthMeaning.METRIC)
    prior, truth = (
        _first(read_video(videos / file)[0], n_frames, file, meta) if (videos / file).is_file() else None
        for file in (PRIOR_FILE, TRUTH_FILE)
    )
    exo_camera = meta.exo_camera(map_width, map_height).cropped(left, 0, kept, map_height)
    if (videos / EXO_CAMERA_FILE).is_file():
        exo_camera = Camera.from_json((videos / EXO_CAMERA_FILE).read_text(encoding="utf-8"))
    seen = prior if prior is not None else truth
    ego_height, ego_width = (RELEASE_SIZE, RELEASE_SIZE) if seen is None else seen.shape[1:3]
    return Take(
        name=name,
        exo=_first(exo, n_frames, EXO_FILE, meta),
        exo_camera=exo_camera.resized(width, height),
        depth=depth.cropped(left, 0, kept, map_height).resized(width, height),
        ego_camera=meta.ego_camera(ego_width, ego_height, lens),
        prompt=meta.prompt(),
        fps=fps,
        ego_prior=prior,
        ego_truth=truth,
    )


def _columns_of_clip(map_width: int, map_height: int, width: int, height: int, meta: EgoXMeta) -> tuple[int, int]:
    """Return the first column of the depth maps that the clip shows, and how many it shows.

    The clip is the middle of the image that the maps show whole (784 of 796 columns in the release), so the maps
    lose columns on both sides until they have the clip's aspect ratio.
    """
    kept = round(map_height * width / height)
    if kept > map_width:
        raise ValueError(
            f"Depth maps of {map_width} x {map_height} do not cover the {width} x {height} clip of {meta.source}: "
            f"its aspect ratio needs {kept} columns. Use the depth of the same clip."
        )
    return (map_width - kept) // 2, kept


def _read_depth(files: Sequence[Path]) -> Tensor:
    """Read depth maps [F, H, W] from one array of the clip, or from one file a frame."""
    arrays = [torch.from_numpy(load_array(file)) for file in files]
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(f"The depth maps in {files[0].parent} differ in size. Write them all in one size.")
    maps = torch.stack(arrays) if arrays[0].ndim == 2 else arrays[0]
    if maps.ndim != 3 or (arrays[0].ndim == 3 and len(arrays) > 1):
        raise ValueError(
            f"Expected the depth of a clip as one array [F, H, W] or one file [H, W] a frame, got {len(arrays)} of "
            f"shape {list(arrays[0].shape)} in {files[0].parent}."
        )
    return maps


def _first(frames: Tensor, n_frames: int, what: str, meta: EgoXMeta) -> Tensor:
    """Return the frames that have a pose, and refuse parts of another length."""
    if not n_frames <= len(frames) <= n_frames + _SPARE_FRAMES:
        raise ValueError(
            f"{what} of the take in {meta.source} has {len(frames)} frames, but 'ego_extrinsics' has {n_frames} poses. "
            "Exo clip, depth and poses must cover the same frames: cut the longer ones."
        )
    return frames[:n_frames]


def _maps_in(folder: Path) -> list[Path]:
    """List the .npy files of a folder in the order of the numbers in their names (frame_10 after frame_9)."""

    def parts(path: Path) -> list[tuple[int, str]]:
        return [(int(text), "") if text.isdigit() else (-1, text) for text in re.split(r"(\d+)", path.stem)]

    return sorted(folder.glob("*.npy"), key=parts)


def _existing_folder(folder: str | os.PathLike[str]) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}. Give a take folder, or DATASET#NAME.")
    return folder


def _name_of(entry: dict[str, Any]) -> str:
    return PurePosixPath(str(entry.get("exo_path", "")).replace("\\", "/")).parent.name


def dataset_names(content: dict[str, Any]) -> list[str]:
    """Return the names of the takes of a dataset's `meta.json`."""
    return [_name_of(entry) for entry in content[DATASET_KEY]]
