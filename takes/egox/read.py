"""Read takes as EgoX's release lays them out: one folder a take, or a dataset of many.

take folder                                dataset folder
  meta.json        one entry                 meta.json         {"test_datasets": [entry, ...]}
  exo.mp4                                    videos/NAME/exo.mp4
  ego_Prior.mp4    optional                  videos/NAME/ego_Prior.mp4, ego_GT.mp4, exo_camera.json
  ego_GT.mp4       optional                  depth_maps/NAME/*.npy   one a clip, or one a frame
  exo_camera.json  optional
  depth.npz, depth.npy, depth_f16.npz or depth_maps/*.npy

`exo_camera.json` is no file of EgoX's but a camera file of this pack (`Camera.to_json`) for the clip. Where it lies
beside the clip it takes the place of meta.json's exo camera, whose format cannot say a principal point off the
centre, another lens or a moving camera.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...common.messages import sentence
from ...common.paths import is_file, is_folder
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import RELEASE_SIZE, LensPreset
from ...geometry.depth.depth import Depth, DepthMeaning
from ...geometry.lenses import Lens
from ..files import load_json
from ..numpy_files import load_array
from ..take import Take
from ..video import read_video
from .frames import FrameCut, StepCounter
from .layout import (
    DATASET_KEY,
    DEPTH_FILES,
    EXO_CAMERA_FILE,
    EXO_FILE,
    MAPS_FOLDER,
    META_FILE,
    PRIOR_FILE,
    TRUTH_FILE,
    VIDEOS_FOLDER,
    entries_of,
    maps_in,
    name_of,
)
from .layout import files_of_take as files_of_take
from .layout import names_in_meta as names_in_meta
from .meta import EgoXMeta

Progress = Callable[[int, int], None]


def read_take(
    folder: str | os.PathLike[str],
    *,
    lens: LensPreset | Lens = LensPreset.EGOX_RELEASE,
    max_frames: int | None = None,
    progress: Progress | None = None,
) -> Take:
    """Read a take folder.

    Args:
        folder: holds `meta.json` with one entry, `exo.mp4` and the depth; see the module's table.
        lens: the ego lens, a preset or one of the ego image's size. EgoX's files do not tell it.
        max_frames: frames to read from the start; `None` reads all.
        progress: called with (done, total) after each frame of a video and each depth file.

    Raises:
        ValueError: if a file is missing, torn or of another length, or `meta.json` misses a key.
    """
    folder = _existing_folder(folder)
    entry = load_json(folder / META_FILE)
    if isinstance(entry, dict) and DATASET_KEY in entry:
        names = [name_of(take) for take in entries_of(entry, folder / META_FILE)]
        raise ValueError(f"{folder} is a dataset of takes. Name one: {folder}#NAME with NAME in {names}.")
    if not isinstance(entry, dict):
        raise ValueError(
            f"{folder / META_FILE} must hold one JSON object with a take's cameras and prompt. Choose another folder."
        )
    depth_files = [folder / name for name in DEPTH_FILES if is_file(folder / name)][:1]
    depth_files = depth_files or maps_in(folder / MAPS_FOLDER)
    if not depth_files:
        raise ValueError(
            f"{folder} contains no depth: expected {', '.join(DEPTH_FILES)} or {MAPS_FOLDER}/*.npy. Put it there."
        )
    meta = EgoXMeta(entry, folder / META_FILE)
    return _assemble(folder.name, meta, folder, depth_files, lens, max_frames, progress)


def read_dataset_take(
    folder: str | os.PathLike[str],
    name: str,
    *,
    lens: LensPreset | Lens = LensPreset.EGOX_RELEASE,
    max_frames: int | None = None,
    progress: Progress | None = None,
) -> Take:
    """Read one take of EgoX's dataset layout.

    Args:
        folder: holds `meta.json`, `videos/` and `depth_maps/`; see the module's table.
        name: the folder of the take's videos, as the entry's `exo_path` names it.
        lens: as in `read_take`.
        max_frames: as in `read_take`.
        progress: as in `read_take`.

    Raises:
        ValueError: if the dataset has no such take, and as `read_take`.
    """
    folder = _existing_folder(folder)
    meta = dataset_entry(folder / META_FILE, name)
    maps_folder = folder / MAPS_FOLDER / name
    depth_files = maps_in(maps_folder)
    if not depth_files:
        raise ValueError(f"The take {name} has no depth: expected .npy files in {maps_folder}. Put them there.")
    return _assemble(name, meta, folder / VIDEOS_FOLDER / name, depth_files, lens, max_frames, progress)


def dataset_entry(source: str | os.PathLike[str], name: str | None = None) -> EgoXMeta:
    """Return the entry of a dataset's meta.json whose exo video lies in a folder called `name`.

    Args:
        source: the file.
        name: the take; a dataset of one take needs none.

    Raises:
        ValueError: if the file is no dataset, has no such take, or several and none was named.
    """
    entries = entries_of(load_json(source), source)
    for entry in entries:
        if name_of(entry) == name or (name is None and len(entries) == 1):
            return EgoXMeta(entry, source)
    names = [name_of(entry) for entry in entries]
    if name is None:
        raise ValueError(f"{source} is a dataset of several takes. Name one: {source}#NAME with NAME in {names}.")
    raise ValueError(f"{source} has no take {name!r}; it has {names}. Choose one of these.")


def _assemble(
    name: str,
    meta: EgoXMeta,
    videos: Path,
    depth_files: Sequence[Path],
    lens: LensPreset | Lens,
    max_frames: int | None,
    progress: Progress | None,
) -> Take:
    cut = FrameCut(len(meta.ego_poses()), max_frames, meta.source)
    files = [EXO_FILE, *(file for file in (PRIOR_FILE, TRUTH_FILE) if is_file(videos / file))]
    one_map_file = len(depth_files) == 1
    depth_files = depth_files if one_map_file else cut.map_files(depth_files)
    counter = StepCounter(len(files) * cut.n_frames + len(depth_files), progress)
    clips, rates = {}, {}
    for file in files:
        frames, rates[file] = read_video(videos / file, cut.frames_to_decode, lambda *_: counter.step())
        clips[file] = cut.clip(frames, file)
    exo, prior, truth = (clips.get(file) for file in (EXO_FILE, PRIOR_FILE, TRUTH_FILE))
    height, width = exo.shape[1:3]
    maps = _read_depth(depth_files, counter)
    maps = cut.maps(maps) if one_map_file else maps
    map_height, map_width = maps.shape[1:]
    left, kept = _columns_of_clip(map_width, map_height, width, height, meta)
    exo_camera = meta.exo_camera(map_width, map_height).cropped(left, 0, kept, map_height)
    # Whole columns miss the clip's shape by up to half a column. The camera is stretched as the depth is, so that
    # each depth value keeps its ray.
    fitted = exo_camera.lens.scaled(width / kept, height / map_height)
    exo_camera = replace(exo_camera, lens=fitted, width=width, height=height)
    if is_file(videos / EXO_CAMERA_FILE):
        beside = cut.camera(_camera_beside(videos / EXO_CAMERA_FILE, width, height))
        exo_camera = replace(beside, take_kind=exo_camera.take_kind)
    seen = prior if prior is not None else truth
    ego_height, ego_width = (RELEASE_SIZE, RELEASE_SIZE) if seen is None else seen.shape[1:3]
    return Take(
        name=name,
        exo=exo,
        exo_camera=exo_camera,
        depth=Depth.from_array(maps, DepthMeaning.METRIC).cropped(left, 0, kept, map_height).resized(width, height),
        ego_camera=cut.camera(meta.ego_camera(ego_width, ego_height, lens)),
        prompt=meta.prompt(),
        fps=rates[EXO_FILE],
        ego_prior=prior,
        ego_truth=truth,
    )


def _camera_beside(path: Path, width: int, height: int) -> Camera:
    """Read the camera file that lies beside a clip of `width` x `height`."""
    try:
        return Camera.from_json(path.read_text(encoding="utf-8")).resized(width, height)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not the camera of this clip: {sentence(str(error))} Export it again.") from error


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


def _read_depth(files: Sequence[Path], counter: StepCounter) -> Tensor:
    """Read depth maps [F, H, W] from one array of the clip, or from one file a frame."""
    arrays = []
    for file in files:
        arrays.append(torch.from_numpy(load_array(file)))
        counter.step()
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(f"The depth maps in {files[0].parent} differ in size. Write them all in one size.")
    maps = torch.stack(arrays) if arrays[0].ndim == 2 else arrays[0]
    if maps.ndim != 3 or (arrays[0].ndim == 3 and len(arrays) > 1):
        raise ValueError(
            f"Expected the depth of a clip as one array [F, H, W] or one file [H, W] a frame, got {len(arrays)} of "
            f"shape {list(arrays[0].shape)} in {files[0].parent}. Save it so."
        )
    return maps


def _existing_folder(folder: str | os.PathLike[str]) -> Path:
    folder = Path(folder)
    if not is_folder(folder):
        raise ValueError(f"There is no folder {folder}. Give a take folder, or DATASET#NAME.")
    return folder
