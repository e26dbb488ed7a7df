"""Every format written and read back to 1e-6: a pinhole and a fisheye, fixed and moving, near and far."""

from __future__ import annotations

import json

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses import Lens
from exo2ego.geometry.lenses.brown_conrady import BrownConrady
from exo2ego.geometry.lenses.opencv_fisheye import OpenCVFisheye
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.camera_formats.read import CameraRole, read_camera
from exo2ego.takes.camera_formats.write import CameraFormat, write_camera

ARIA = preset_lens(LensPreset.EGOX_RELEASE, 448, 448)
PLAIN = Pinhole(200.0, 200.0, 224.0, 224.0)
EXO = Camera(Pinhole(600.0, 600.0, 392.5, 224.5), 784, 448, pose_from_angles((0.2, 0.1, 0), (3, -2, 1)))
GOPRO = OpenCVFisheye(180.0, 175.0, 220.0, 230.0, (0.05, -0.02, 0.01, -0.004))
PHONE = BrownConrady(420.0, 430.0, 226.0, 221.0, (-0.2, 0.05, 0.003, -0.004, 0.01, 0.02, -0.01, 0.002))
EXACT = [CameraFormat.JSON, CameraFormat.NPZ, CameraFormat.GLTF]  # these keep the whole lens
HOLDS_FISHEYE = [kind for kind in CameraFormat if kind is not CameraFormat.CHAN]


def moving(lens: Lens, n_frames: int = 49) -> Camera:
    drawn = torch.rand(n_frames, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(n_frames)) * 2 - 1
    scale = torch.tensor([3.0, 2.0, 5.0, 180.0, 85.0, 180.0], dtype=torch.float64)
    rows = (drawn * scale).tolist()
    return Camera(lens, 448, 448, torch.stack([pose_from_angles(tuple(row[:3]), tuple(row[3:])) for row in rows]))


def back(folder, camera: Camera, kind: CameraFormat) -> Camera:
    path = folder / f"camera{kind.suffix}"
    write_camera(path, camera, kind, exo_camera=EXO, fps=30)
    size = {"width": 448} if kind is CameraFormat.CHAN else {}
    return read_camera(path, **size)


@pytest.mark.parametrize(
    ("kind", "lens"),
    [
        *((kind, PLAIN) for kind in CameraFormat),
        *((kind, ARIA) for kind in HOLDS_FISHEYE),
        *((kind, lens) for kind in EXACT for lens in (GOPRO, PHONE)),
    ],
    ids=lambda value: getattr(value, "name", type(value).__name__),
)
@pytest.mark.parametrize("n_frames", [1, 49])
def test_round_trip(tmp_path, kind, lens, n_frames):
    camera = moving(lens, n_frames)
    again = back(tmp_path, camera, kind)
    assert again.n_frames == n_frames
    assert (again.width, again.height) == (448, 448)
    assert float((again.camera_to_world - camera.camera_to_world).abs().max()) <= 1e-6
    expected = ARIA if kind is CameraFormat.EGOX else lens  # meta.json tells none: the reader's choice
    seen = torch.tensor([[0.3, -0.2, 1.0], [1.0, 0.5, 1.0]], dtype=torch.float64)
    assert torch.allclose(again.lens.project(seen)[0], expected.project(seen)[0], atol=1e-6)


def test_every_lens_number_comes_back_exactly(tmp_path):
    odd = Pinhole(310.0, 305.0, 200.25, 230.5)
    for lens in (odd, ARIA):
        for kind in (CameraFormat.JSON, CameraFormat.NPZ, CameraFormat.GLTF):
            assert back(tmp_path, moving(lens, 3), kind).lens == lens


def test_egox_file_is_in_egoxs_axes(tmp_path):
    """Of the sensor as it is mounted: the upright picture's right is its up."""
    camera = moving(ARIA, 3)
    lost = write_camera(tmp_path / "meta.json", camera, CameraFormat.EGOX, exo_camera=EXO)
    assert "no ego lens" in lost
    meta = json.loads((tmp_path / "meta.json").read_text())
    rows = torch.tensor(meta["ego_extrinsics"], dtype=torch.float64)
    ours = camera.world_to_camera
    assert torch.allclose(rows, torch.stack([ours[:, 1], -ours[:, 0], ours[:, 2]], dim=1))
    exo = read_camera(tmp_path / "meta.json", CameraRole.EXO, width=784, height=448)
    assert torch.allclose(exo.world_to_camera, EXO.world_to_camera)
    assert exo.lens == EXO.lens


def test_a_released_file_comes_out_as_it_went_in(tmp_path, shared_take):
    source = shared_take("joker") / "meta.json"
    given = json.loads(source.read_text())
    entry = given["test_datasets"][0] if "test_datasets" in given else given
    exo = read_camera(source, CameraRole.EXO)
    write_camera(tmp_path / "meta.json", read_camera(source), CameraFormat.EGOX, exo_camera=exo)
    written = json.loads((tmp_path / "meta.json").read_text())
    for key in ("ego_extrinsics", "camera_extrinsics"):
        released, ours = (torch.tensor(content[key], dtype=torch.float64) for content in (entry, written))
        assert float((ours - released).abs().max()) < 1e-12
    assert written["ego_intrinsics"] == entry["ego_intrinsics"]


def test_what_a_format_needs_or_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="connect exo_camera"):
        write_camera(tmp_path / "a.json", moving(ARIA, 2), CameraFormat.EGOX)
    with pytest.raises(ValueError, match="fixed pinhole"):
        write_camera(tmp_path / "a.json", moving(ARIA, 2), CameraFormat.EGOX, exo_camera=moving(PLAIN, 2))
    with pytest.raises(ValueError, match="Fisheye624"):
        write_camera(tmp_path / "a.chan", moving(ARIA, 2), CameraFormat.CHAN)
    assert "Fisheye624" in write_camera(tmp_path / "a.gltf", moving(ARIA, 2), CameraFormat.GLTF)
    assert write_camera(tmp_path / "b.gltf", moving(PLAIN, 2), CameraFormat.GLTF) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gltf", "b.gltf"], "nothing half written"


def test_a_chan_file_needs_a_size(tmp_path):
    write_camera(tmp_path / "a.chan", moving(PLAIN, 2), CameraFormat.CHAN)
    with pytest.raises(ValueError, match="not store the image size"):
        read_camera(tmp_path / "a.chan")
    wide = read_camera(tmp_path / "a.chan", width=896, height=448)
    assert wide.lens.fy == pytest.approx(200)
    assert wide.lens.cx == 448
