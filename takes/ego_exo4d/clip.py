"""Read clips of Ego-Exo4D takes: one to four exo views, the ego view, and all cameras in one world.

Clips for Exo2EgoSyn: every fourth frame, 4n+1 of them, squeezed to a small square. A take opens with a code that is
shown to all cameras, so frames count from the task's start. Poses, videos and task may end at different frames: a clip
lies in what all of them have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from ...geometry.cameras.undistort import through_lens
from ...geometry.take_kind import TakeKind
from ..egox.frames import StepCounter
from ..video import VideoInfo, probe_video, read_frames, squeezed
from ..views import MAX_EXO_VIEWS, Clip, EgoView, MultiViewTake, View
from .aria import RGB_SIZE, read_colour_camera
from .camera_pose import LINEAR_SIZE
from .layout import TakeFolder
from .poses import CameraPoses, EgoTrack

FPS = 30.0

Progress = Callable[[int, int], None]


def read_ego_exo4d(
    take: TakeFolder,
    clip: Clip | None = None,
    ego_view: EgoView = EgoView.UNDISTORTED,
    progress: Progress | None = None,
) -> MultiViewTake:
    """Read a clip of a take.

    The first four exo cameras that have a video and a pose are taken, in the order of their names: cam05 stands in for
    one that is missing. Exo pictures stay as they were recorded.

    Args:
        take: from `ego_exo4d_layout.open_take`.
        clip: which frames, and how large; default as Exo2EgoSyn.
        ego_view: what the ego pictures and their rays are.
        progress: called with (done, total) after each picture.

    Raises:
        ValueError: if a file is missing or torn, a pose is missing, or the take is too short.
    """
    clip = clip or Clip()
    poses = CameraPoses(take)
    remarks: list[str] = []
    exo = _exo_cameras(take, poses, remarks)
    glasses, ego_video = _ego_video(take)
    track = poses.ego(glasses)
    videos = {name: take.exo_videos()[name] for name in exo} | {glasses: ego_video}
    infos = {name: _checked_info(path) for name, path in videos.items()}
    if infos[glasses].width != infos[glasses].height:
        raise ValueError(f"{ego_video} is not square, so it is not a frame-aligned video of the glasses. Use that.")
    frames = _frames(take, clip, track, infos, remarks)
    # Cameras come before any picture, so that a missing pose is told at once.
    linear = Camera(track.lens, LINEAR_SIZE, LINEAR_SIZE, track.sensor_poses(frames)).turned_clockwise()
    recorded = linear if ego_view is EgoView.PAPER else _as_recorded(linear, take, remarks)
    square = (clip.size, clip.size)
    counter = StepCounter(len(videos) * clip.n_frames, progress)

    def decode(name: str, side: int) -> Tensor:
        return read_frames(videos[name], frames, (side, side), lambda *_: counter.step())

    views = tuple(View(name, decode(name, clip.size), camera) for name, camera in exo.items())
    if ego_view is EgoView.UNDISTORTED:
        # The pinhole magnifies the middle: its picture is made large from a large one, and reduced at the end.
        side = min(infos[glasses].width, LINEAR_SIZE)
        pictures = through_lens(decode(glasses, side), recorded.resized(side, side).lens, linear)
        ego, ego_camera = squeezed(pictures, *square), linear.resized(*square)
    else:
        ego, ego_camera = decode(glasses, clip.size), recorded.resized(*square)
    return MultiViewTake(take.entry.name, views, ego_camera, ego, FPS / clip.stride, tuple(remarks))


def frames_of_task(take: TakeFolder) -> range:
    """Return the source frames of a take that its task, videos and poses all have; a clip's start counts from there.

    Raises:
        ValueError: as `read_ego_exo4d`.
    """
    poses = CameraPoses(take)
    glasses, ego_video = _ego_video(take)
    videos = [*(take.exo_videos()[name] for name in _exo_cameras(take, poses, [])), ego_video]
    shortest = min(_checked_info(path).n_frames for path in videos)
    return _common_frames(take, poses.ego(glasses), shortest)


def _common_frames(take: TakeFolder, track: EgoTrack, shortest: int) -> range:
    start, end = take.entry.task_seconds
    last_of_task = shortest if end is None else int(end * FPS)
    return range(max(round((start or 0) * FPS), track.frames.start), min(shortest, last_of_task, track.frames.stop))


def _exo_cameras(take: TakeFolder, poses: CameraPoses, remarks: list[str]) -> dict[str, Camera]:
    """Return the exo views to read, by name."""
    videos = take.exo_videos()
    found = {name: poses.exo(name) for name in videos}
    without = [name for name, camera in found.items() if camera is None]
    if without:
        remarks.append(f"{', '.join(without)}: left out, as no file gives a pose.")
    kind = TakeKind.EGO_EXO4D
    cameras = {name: replace(camera, take_kind=kind) for name, camera in found.items() if camera is not None}
    if not cameras:
        raise ValueError(
            f"The take {take.entry.name} has no exo view with a video and a pose: videos {list(videos) or 'none'}. "
            "Download its frame-aligned videos, and the annotations 'ego_pose' or its trajectory/gopro_calibs.csv."
        )
    return dict(list(cameras.items())[:MAX_EXO_VIEWS])


def _ego_video(take: TakeFolder) -> tuple[str, Path]:
    videos = take.ego_videos()
    if not videos:
        raise ValueError(
            f"The take {take.entry.name} has no ego video: expected ariaNN_214-1.mp4 in {take.folder}/"
            "frame_aligned_videos or its downscaled/448. Download it."
        )
    return next(iter(videos.items()))


def _checked_info(path: Path) -> VideoInfo:
    info = probe_video(path)
    if abs(info.fps - FPS) > 0.1:
        raise ValueError(
            f"{path} has {info.fps:g} frames a second; poses belong to frame-aligned videos of {FPS:g}. Use those."
        )
    return info


def _frames(
    take: TakeFolder, clip: Clip, track: EgoTrack, infos: dict[str, VideoInfo], remarks: list[str]
) -> list[int]:
    """Return the frames of the clip, inside what task, videos and poses all have.

    Raises:
        ValueError: if the clip does not fit.
    """
    start, end = take.entry.task_seconds
    if start is None:
        remarks.append(
            "takes.json states no start of the task: frames count from the video's, which may show the "
            "cameras' QR code."
        )
    shortest = min(info.n_frames for info in infos.values())
    common = _common_frames(take, track, shortest)
    first, stop = common.start, common.stop
    last_of_task = shortest if end is None else int(end * FPS)
    begin = first + clip.start
    if begin + clip.span > stop:
        most = stop - first - clip.span
        advice = f"Start at {most} or earlier" if most >= 0 else "Take fewer frames or a smaller stride"
        raise ValueError(
            f"{clip.n_frames} frames with stride {clip.stride} from frame {begin} need the frames up to "
            f"{begin + clip.span - 1}, but the take {take.entry.name} ends before frame {stop} (videos {shortest}, "
            f"poses {track.frames.stop}, task {last_of_task}). {advice}; the start counts from frame {first}."
        )
    return list(range(begin, begin + clip.span, clip.stride))


def _as_recorded(linear: Camera, take: TakeFolder, remarks: list[str]) -> Camera:
    """Return the upright ego camera with the fisheye of the recorded pictures in place of the pinhole."""
    calibration = take.trajectory_file("online_calibration.jsonl")
    if calibration:
        lens = read_colour_camera(calibration).lens.turned_clockwise(RGB_SIZE, RGB_SIZE)
        return replace(linear, lens=lens, width=RGB_SIZE, height=RGB_SIZE)
    remarks.append(
        "trajectory/online_calibration.jsonl is not there: the ego lens is that of other glasses of the same make, "
        "which may be some percent off."
    )
    lens = preset_lens(LensPreset.EGOX_RELEASE, RELEASE_SIZE, RELEASE_SIZE)
    return replace(linear, lens=lens, width=RELEASE_SIZE, height=RELEASE_SIZE)
