"""A scene that was scanned or reconstructed elsewhere, in place of the clip's own background."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...geometry.points.point_cloud import PointCloud
from ...geometry.points.splat import read_splat
from ...takes.ply_files import SCANS
from ..common.input_files import NamedInput, input_folder
from ..common.sockets import SplatSocket


def scan_inputs() -> list[io.Input]:
    """Return the optional inputs for a scan."""
    return [
        NamedInput(
            "scan",
            SCANS,
            tooltip="A PLY file (points, a mesh's corners or Gaussian splats) below the input folder, in metres and in "
            "the exo camera's world: it takes the place of the averaged background.",
            optional=True,
        ),
        SplatSocket.Input(
            "splat",
            optional=True,
            tooltip="Instead of scan: Gaussian splats of newer ComfyUIs. One that is nearly transparent is left out.",
        ),
    ]


def with_scan(cloud: PointCloud, scan: str, splat: Any) -> tuple[PointCloud, str]:
    """Return the points with the scan as their background, where there is one, and a sentence on it.

    Raises:
        ValueError: if both are given, or one cannot be read.
    """
    if splat is None and scan == SCANS.built_in:
        return cloud, ""
    if splat is not None and scan != SCANS.built_in:
        raise ValueError("Choose a scan or connect splat, not both: each is the whole background.")
    found = SCANS.load(input_folder(), scan) if splat is None else read_splat(splat)
    points, colors = found
    before = len(cloud.background_points)
    text = f"{len(points):,} points of the {'scan' if splat is None else 'splats'} stand for {before:,} of the clip's."
    return replace(cloud, background_points=points, background_colors=colors), text
