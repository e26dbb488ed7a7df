"""Videos for VBench, which needs an environment of its own, and the commands that measure them there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from ...common.whole_file import whole_file
from ...takes.video import write_video
from ..evaluate import ClipVideos

FOLDER, NAMES = "vbench", "names.json"
# EgoX's Table 1; measured on the whole canvas, exo and ego side by side.
DIMENSIONS = ("temporal_flickering", "motion_smoothness", "dynamic_degree")
_CRF = 0  # lossless: compression flickers


class VBenchVideos:
    """Writes what VBench measures: a folder a method, a video a clip.

    Args:
        folder: of the evaluation; videos go into `vbench/` in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._names: list[str] = []
        self._methods: dict[str, str] = {}

    def add(self, videos: ClipVideos) -> None:
        """Write a clip's videos: exo on the left of each method's ego view where it is known."""
        self._names.append(videos.name)
        for method, ego in videos.methods.items():
            name = f"{len(self._methods) + 1:02}_{re.sub('[^A-Za-z0-9]+', '_', method)}"
            folder = self._methods.setdefault(method, name)
            path = self._folder / folder / f"{len(self._names):04}.mp4"
            write_video(path, canvas(videos.exo, ego), videos.fps, crf=_CRF)

    def commands(self) -> list[str]:
        """Write which number is which clip; returns the lines to run where VBench is installed."""
        with whole_file(self._folder / NAMES) as unfinished:
            names = {f"{number:04}": name for number, name in enumerate(self._names, 1)}
            unfinished.write_text(json.dumps({"clips": names, "methods": self._methods}, indent=1), encoding="utf-8")
        return [
            f"vbench evaluate --videos_path '{self._folder / folder}' --dimension {dimension} --mode=custom_input"
            for folder in self._methods.values()
            for dimension in DIMENSIONS
        ]


def canvas(exo: Tensor | None, ego: Tensor) -> Tensor:
    """Return exo and ego side by side as EgoX samples them, [F, H, W, 3]; the ego view alone where exo is not known.

    Args:
        exo: [F, h, w, 3], scaled to the ego view's height.
        ego: [F, H, W, 3].
    """
    if exo is None or len(exo) != len(ego):
        return ego
    height = ego.shape[1]
    width = round(exo.shape[2] * height / exo.shape[1])
    if exo.shape[1:3] != (height, width):
        exo = torch.nn.functional.interpolate(
            exo.movedim(-1, 1), (height, width), mode="bilinear", antialias=True, align_corners=False
        ).movedim(1, -1)
    return torch.cat([exo, ego], dim=2)
