"""How long large work goes on after a cancel, and the peak of the process.

That is the longest time between two cancel points, in seconds of one core, whatever else the machine does.

python tools/run.py memory [--side 4096] [--only plucker]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import timing  # noqa: F401 (registers the pack)
import torch

from exo2ego.common.cancel import cancellable
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import NAMED_PRESETS, LensPreset, preset_lens
from exo2ego.geometry.depth.align import AlignmentMethod, align_depth
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.depth.dynamic_mask import estimate_dynamic
from exo2ego.geometry.head.keypoints import N_JOINTS, Keypoints, People
from exo2ego.geometry.head.person_tracks import PersonChoice, follow_person
from exo2ego.geometry.plucker import PluckerMaps, wan_camera_embedding
from exo2ego.geometry.points.point_cloud import Background, build_point_cloud
from exo2ego.geometry.points.renderer import render_points
from exo2ego.measure import clip as scene
from exo2ego.takes.numpy_files import load_array

_PEOPLE = 2000
_GB = 1e9


def works(side: int, preset: LensPreset, only: str = "") -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield one large frame, or many people, for every kind of work whose name begins with `only`."""
    lens = preset_lens(preset, side, side)
    camera = Camera(lens, side, side, torch.eye(4))
    frame = scene.make_clip(1)
    images = torch.rand(1, side, side, 3)
    coarse = 2 + torch.rand(1, 1, 8, 8)
    metres = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")[0]
    clip = torch.nn.functional.interpolate(coarse, (400, 400), mode="bilinear")[0].expand(400, -1, -1)
    depth = Depth(metres, DepthMeaning.METRIC)
    people = _crowd()

    def cloud(stride: int) -> Callable[[], object]:
        return lambda: build_point_cloud(
            images, depth, camera, background=Background.MEAN, stride=stride, reliability_threshold=10.0
        )

    def render() -> object:
        return render_points(build_point_cloud(frame.images, frame.depth, frame.exo_camera), camera)

    all_works = {
        "depth": lambda: Depth.from_array(metres, DepthMeaning.METRIC).describe(),
        "align": lambda: align_depth(
            Depth(metres.reciprocal(), DepthMeaning.INVERSE), depth, method=AlignmentMethod.ROBUST
        ),
        "align, 400 frames": lambda: align_depth(
            Depth(clip.reciprocal(), DepthMeaning.INVERSE),
            Depth(clip, DepthMeaning.METRIC),
            method=AlignmentMethod.ROBUST,
        ),
        "moving parts": lambda: estimate_dynamic(images, depth),
        "points": cloud(2),
        "points, stride 1": cloud(1),
        "render": render,
        "plucker": lambda: wan_camera_embedding(PluckerMaps.of(camera, None, side, side).maps),
        f"{_PEOPLE} people": lambda: follow_person(people, PersonChoice.LARGEST),
    }
    yield from ((name, work) for name, work in all_works.items() if name.startswith(only))
    if "npz".startswith(only):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "depth.npz"
            np.savez_compressed(path, depth=metres.numpy())  # before the watch starts: reading is the node's part
            yield "npz", lambda: load_array(path)


def _crowd() -> People:
    chance = torch.Generator().manual_seed(0)
    middles = 1900 * torch.rand(_PEOPLE, 1, 2, generator=chance, dtype=torch.float64)
    joints = middles + 20 * torch.randn(_PEOPLE, N_JOINTS, 2, generator=chance, dtype=torch.float64)
    seen = torch.ones(_PEOPLE, N_JOINTS, dtype=torch.float64)
    one = Keypoints(joints, seen, Keypoints.none(_PEOPLE).rotations)
    return People((one, one, one), 1920, 1080)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how soon large work can be cancelled.")
    parser.add_argument("--side", type=int, default=4096, help="of the frame, in pixels")
    parser.add_argument("--only", default="", help="what the name of the work begins with")
    lenses = [preset.value for preset in NAMED_PRESETS]
    parser.add_argument("--lens", choices=lenses, default=LensPreset.EGOX_RELEASE.value, help="a pinhole is faster")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':20} seconds  cancel points  longest gap  peak of the process")
    for name, run in works(options.side, LensPreset(options.lens), options.only):
        asked = [time.process_time()]
        with cancellable(lambda times=asked: times.append(time.process_time())):
            run()
        asked.append(time.process_time())
        gap = max(after - before for before, after in pairwise(asked))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GB
        print(f"{name:20} {asked[-1] - asked[0]:7.2f}  {len(asked) - 2:13,}  {gap:9.2f} s  {peak:10.1f} GB", flush=True)


if __name__ == "__main__":
    main()
