"""Print the memory that rendering one large frame takes for its temporaries, and its budget, in MiB."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import pack

pack.register()

import torch  # noqa: E402

from exo2ego.geometry.cameras.camera import Camera  # noqa: E402
from exo2ego.geometry.lenses.pinhole import Pinhole  # noqa: E402
from exo2ego.geometry.points.point_cloud import PointCloud  # noqa: E402
from exo2ego.geometry.points.renderer import render_points  # noqa: E402

WIDTH, HEIGHT, POINTS = 960, 540, 60_000
BUDGET = 64 * 2**20


def _peak() -> float:
    """Return the most memory this process has held; getrusage would count the parent's, from before exec."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def main() -> None:
    unit = torch.rand(POINTS, 3, generator=torch.Generator().manual_seed(0))
    z = 1 + unit[:, 2:]
    points = torch.cat([(unit[:, :2] - 0.5) * torch.tensor([WIDTH / HEIGHT, 1.0]) * z, z], dim=1)
    none = torch.zeros(0, 3)
    camera = Camera(Pinhole(HEIGHT, HEIGHT, WIDTH / 2, HEIGHT / 2), WIDTH, HEIGHT, torch.eye(4))
    few = PointCloud(none, none, (points[:100],), (unit[:100],))
    render_points(few, camera, memory_budget_bytes=BUDGET)  # what is loaded once
    before = _peak()
    render_points(PointCloud(none, none, (points,), (unit,)), camera, memory_budget_bytes=BUDGET)
    result = 16 * WIDTH * HEIGHT / 2**20  # colour and depth of the frame are no temporaries
    print(_peak() - before - result, BUDGET / 2**20)


if __name__ == "__main__":
    main()
