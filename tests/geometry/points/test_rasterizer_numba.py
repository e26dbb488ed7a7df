"""The compiled rasteriser beside its twins, and what is said where Numba cannot be had."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from exo2ego.common.cancel import cancellable
from exo2ego.geometry.points import rasterizer_numba, rasterizer_torch
from exo2ego.geometry.points.fragments import Raster, Splats
from exo2ego.geometry.points.renderer import render_points
from support.random_points import BUDGET, RASTERS, assert_same, ego_camera, random_cloud, random_splats

pytest.importorskip("numba", reason="Numba is not installed")

ROOT = Path(__file__).resolve().parents[3]
_RENDER = f"""
import logging, sys
sys.path[:0] = [{str(ROOT / "tools")!r}, {str(ROOT / "tests")!r}]
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
import pack
pack.register()
from support.random_points import ego_camera, random_cloud
from exo2ego.geometry.points.renderer import render_points
for _ in range(2):
    print("sum", render_points(random_cloud(2, 200), ego_camera(2), radius=45.0).color.double().sum().item())
print("numba" in sys.modules)
"""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", RASTERS)
def test_compiled_rasteriser_equals_its_twin(case, dtype):
    """To the last bit; the twin in torch is held against the readable one (`test_renderer`)."""
    raster, n, options = RASTERS[case]
    splats = random_splats(raster, n, dtype, **options)
    found = rasterizer_numba.rasterize(splats, raster)
    assert_same(found, rasterizer_torch.rasterize(splats, raster, BUDGET), 0.0)
    assert (found.alpha.dtype, found.pixel.dtype, found.point.dtype) == (dtype, torch.int64, torch.int64)


@pytest.mark.parametrize("strip", [Raster(2, 7, 40, 4.0, 6, top=9), Raster(2, 1, 40, 4.0, 6, top=23)])
def test_a_strip_is_a_part_of_the_image(strip):
    splats = random_splats(Raster(2, 24, 40, 4.0, 6), 700)
    assert_same(rasterizer_numba.rasterize(splats, strip), rasterizer_torch.rasterize(splats, strip, BUDGET), 0.0)


def test_a_disc_is_open():
    splats = Splats(torch.tensor([[4.5, 4.5]]), torch.tensor([2.0]), torch.tensor([0]))
    fragments = rasterizer_numba.rasterize(splats, Raster(1, 9, 9, 2.0, 1))
    assert len(fragments.pixel) == 9  # those at distance 2 are not touched
    assert fragments.alpha.max() == 1


def test_points_far_outside_are_left_out():
    where = torch.tensor([[-1e9, 3.0], [3.0, 1e9], [-7.0, 40.0], [4.5, 4.5]])
    splats = Splats(where, torch.ones(4), torch.zeros(4, dtype=torch.int64))
    assert set(rasterizer_numba.rasterize(splats, Raster(1, 9, 9, 2.0, 3)).point.flatten().tolist()) == {3, -1}


@pytest.mark.parametrize("radius", [3.0, 8.0])
def test_renders_the_same_picture_with_and_without_numba(radius, monkeypatch):
    cloud, camera = random_cloud(3, 3000), ego_camera(3, width=400, height=400)  # several strips a frame
    compiled = render_points(cloud, camera, radius=radius)
    monkeypatch.setattr(rasterizer_numba, "has_numba", lambda: False)
    plain = render_points(cloud, camera, radius=radius)
    assert 0.05 < compiled.coverage.float().mean() < 0.999
    assert torch.equal(compiled.color, plain.color)
    assert torch.equal(compiled.depth, plain.depth)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_cancel_is_asked_before_each_part(is_compiled, monkeypatch):
    monkeypatch.setattr(rasterizer_numba, "has_numba", lambda: is_compiled)
    asked = []
    with cancellable(lambda: asked.append(1)):
        render_points(random_cloud(2, 100), ego_camera(2, width=400, height=400))
    assert len(asked) >= 4


def test_a_cancelled_run_is_not_taken_for_a_numba_that_does_not_work(caplog):
    def cancel() -> None:
        raise InterruptedError

    rasterizer_numba.has_numba.cache_clear()
    with cancellable(cancel), pytest.raises(InterruptedError):
        render_points(random_cloud(1, 100), ego_camera(1))
    assert rasterizer_numba.has_numba()
    assert caplog.records == []


def test_without_numba_it_is_said_once_and_torch_renders(monkeypatch, caplog):
    rasterizer_numba.has_numba.cache_clear()
    monkeypatch.setattr(rasterizer_numba.importlib.util, "find_spec", lambda name: None)
    try:
        with caplog.at_level(logging.INFO):
            for _ in range(2):
                assert not rasterizer_numba.has_numba()
    finally:
        rasterizer_numba.has_numba.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "Ego prior: Numba is not installed (pip install numba); with it a CPU renders twice as fast."
    ]


def rendered_elsewhere(**environment: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", _RENDER], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    return result.stdout.strip().splitlines()


def test_a_numba_that_does_not_work_is_said_once_and_torch_renders(tmp_path):
    expected = rendered_elsewhere()
    assert expected[-1] == "True"
    assert not any(line.startswith("WARNING") for line in expected)
    (tmp_path / "numba.py").write_text('raise ImportError("Numba needs NumPy 2.0 or less.")')
    found = rendered_elsewhere(PYTHONPATH=str(tmp_path))
    warnings = [line for line in found if line.startswith("WARNING")]
    assert len(warnings) == 1
    assert "Numba needs NumPy 2.0 or less." in warnings[0]
    assert [line for line in found if line.startswith("sum")] == [line for line in expected if line.startswith("sum")]


def test_nowhere_to_keep_the_compiled_code_is_no_fault(tmp_path):
    """As in a folder that may not be written to."""
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    found = rendered_elsewhere(
        NUMBA_CACHE_DIR=str(nowhere / "folder"), NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator"
    )
    assert found == rendered_elsewhere()


def test_what_is_kept_serves_the_pack_under_any_name(tmp_path):
    """ComfyUI names it by its folder, the commands and tests `exo2ego`."""
    script = f"""
import importlib, sys
sys.path.insert(0, {str(ROOT / "tools")!r})
import pack
pack.NAME = sys.argv[1]
pack.register()
rasterizer = importlib.import_module(f"{{pack.NAME}}.geometry.points.rasterizer_numba")
print(rasterizer.has_numba())
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    kept = []
    for name in ("exo2ego", "/opt/custom_nodes/exo2ego", "exo2ego"):
        command = [sys.executable, "-c", script, name]
        result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        assert result.stdout.split()[0] == "True", result.stderr
        files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
        kept.append(files)
    assert len(kept[0]) == 4
    assert kept == [kept[0]] * 3, "the second name compiled anew"
