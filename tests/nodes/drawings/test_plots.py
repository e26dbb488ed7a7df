from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from exo2ego.geometry.depth.align import align_depth
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.nodes.drawings.plots import alignment_chart, coverage_chart


@pytest.fixture(scope="module")
def alignment():
    generator = torch.Generator().manual_seed(0)
    temporal = torch.rand(1, 20, 30, generator=generator).expand(12, 20, 30).clone()
    scale = 0.7 * (1 + 0.05 * torch.randn(12, 1, 1, generator=generator))
    temporal[4] = 0.5
    metric = 1 / (scale * temporal + 0.1)
    return align_depth(Depth(temporal, DepthMeaning.INVERSE), Depth(metric, DepthMeaning.METRIC))


def has_color(image: torch.Tensor, color: str) -> bool:
    target = torch.tensor([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool(((image - target).abs().amax(dim=-1) < 0.03).any())


def test_alignment_chart_is_an_image_with_its_curves(alignment):
    chart = alignment_chart(alignment, 640, 400)
    assert chart.shape == (1, 400, 640, 3)
    assert chart.dtype == torch.float32
    assert chart.min() >= 0
    assert chart.max() <= 1
    assert has_color(chart, "#1f6feb")  # used values
    assert has_color(chart, "#9aa5b1")  # fitted values
    assert has_color(chart, "#3c2224")  # a failed frame, shaded


def test_alignment_chart_of_a_perfect_fit_and_of_one_frame():
    values = 1 + torch.rand(1, 20, 30)
    for n_frames in (1, 5):
        depth = Depth(values.expand(n_frames, 20, 30), DepthMeaning.METRIC)
        assert alignment_chart(align_depth(None, depth)).shape == (1, 640, 960, 3)


def test_coverage_chart_shows_the_heights_of_its_bars():
    low, high = coverage_chart([10.0] * 8), coverage_chart(torch.full((8,), 90.0))
    assert low.shape == (1, 320, 960, 3)

    def blue(chart):
        return (chart[..., 2] - chart[..., 0] > 0.2).float().mean()

    assert blue(high) / blue(low) == pytest.approx(9, rel=0.15)
    with pytest.raises(ValueError, match="at least one frame"):
        coverage_chart([])


def in_a_fresh_interpreter(script: str) -> None:
    """Run a script that can import the pack, in a process that no other test has touched."""
    prelude = "import sys; sys.path.insert(0, 'tools'); import pack; pack.register(); "
    root = sys.modules["pack"].ROOT
    subprocess.run([sys.executable, "-c", prelude + script], cwd=root, check=True)


def test_charts_leave_pyplot_alone():
    in_a_fresh_interpreter(
        "from exo2ego.nodes.drawings.plots import coverage_chart; coverage_chart([50.0]); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )


def test_importing_the_modules_does_not_import_heavy_ones():
    in_a_fresh_interpreter(
        "import exo2ego.nodes.drawings.plots, exo2ego.geometry.depth.dynamic_mask; "
        "assert not {'matplotlib', 'kornia'} & set(sys.modules)"
    )
