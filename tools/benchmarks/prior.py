"""How long the ego prior takes: a clip from depth to picture, and the rasterisers side by side.

python tools/run.py prior [--frames 49] [--device cuda] [--repeats 2] [--json FILE]
"""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import timing
import torch

from exo2ego.geometry.points import rasterizer_numba, rasterizer_torch
from exo2ego.geometry.points.fragments import Fragments, Raster, Splats
from exo2ego.geometry.points.point_cloud import Background, PointCloud, build_point_cloud
from exo2ego.geometry.points.renderer import DEFAULT_MEMORY_BUDGET, RenderBackend, Rendering, render_points
from exo2ego.measure import clip as scene

# The readable twin lies with the tests.
TESTS = Path(__file__).resolve().parents[2] / "tests"


def clip_rows(frames: int, device: str, repeats: int) -> list[timing.Row]:
    """Time a clip at the release's size, from depth maps to pictures."""
    clip = scene.make_clip(frames)

    def build(background: Background) -> PointCloud:
        return build_point_cloud(clip.images, clip.depth, clip.exo_camera, background=background)

    def render(cloud: PointCloud, backend: RenderBackend) -> Rendering:
        return render_points(cloud, clip.ego_camera, backend=backend, device=device)

    def render_without_numba(cloud: PointCloud) -> Rendering:
        with patch.object(rasterizer_numba, "has_numba", lambda: False):
            return render(cloud, RenderBackend.TORCH)

    own, mean = build(Background.PER_FRAME), build(Background.MEAN)
    coverage = float(render(own, RenderBackend.TORCH).coverage_percent.mean())
    counts = own.counts.tolist()
    print(f"{frames} frames of {min(counts):,} to {max(counts):,} points, {coverage:.0f} % covered, on {device}")
    cases = {
        "clip: points, per frame": partial(build, Background.PER_FRAME),
        "clip: points, mean background": partial(build, Background.MEAN),
        "clip: render, per frame": partial(render, own, RenderBackend.TORCH),
        "clip: render, mean background": partial(render, mean, RenderBackend.TORCH),
    }
    if device == "cpu" and rasterizer_numba.has_numba():
        cases |= {
            "clip: render, per frame, without Numba": partial(render_without_numba, own),
            "clip: render, mean background, without Numba": partial(render_without_numba, mean),
        }
    if importlib.util.find_spec("pytorch3d") is not None:
        cases["clip: render, per frame, PyTorch3D"] = partial(render, own, RenderBackend.PYTORCH3D)
    return [timing.measure(name, run, repeats) for name, run in cases.items()]


def twin_rows(repeats: int) -> list[timing.Row]:
    """Time the fast rasteriser beside its readable twin, small enough for the twin."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from support import rasterizer_reference

    raster = Raster(1, 96, 96, 5.0 * 96 / 448, 20)
    generator = torch.Generator().manual_seed(0)
    unit = torch.rand(4000, 3, generator=generator)
    splats = Splats(unit[:, :2] * 96, unit[:, 2] + 0.5, torch.zeros(4000, dtype=torch.int64))

    def fast() -> Fragments:
        return rasterizer_torch.rasterize(splats, raster, DEFAULT_MEMORY_BUDGET)

    def twin() -> Fragments:
        return rasterizer_reference.rasterize(splats, raster)

    assert torch.equal(fast().point, twin().point)
    return [
        timing.measure("4,000 points at 96 x 96: fast rasteriser", fast, repeats),
        timing.measure("4,000 points at 96 x 96: readable twin", twin, repeats),
    ]


def main() -> None:
    """Measure and print."""
    parser = timing.arguments(__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    rows = clip_rows(options.frames, options.device, options.repeats) + twin_rows(options.repeats)
    timing.report(rows, "clip: render, per frame", options.json)


if __name__ == "__main__":
    main()
