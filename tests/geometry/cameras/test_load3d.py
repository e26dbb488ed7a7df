"""LOAD3D_CAMERA: axes, field of view, round trip, what older viewers leave out, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.field_of_view import lost_without_lens, vertical_fov
from exo2ego.geometry.cameras.load3d import VIEWER_FOV, camera_from_load3d, camera_to_load3d
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses.pinhole import Pinhole

PLAIN = {
    "position": {"x": 0, "y": 0, "z": 5},
    "target": {"x": 0, "y": 0, "z": 0},
    "zoom": 1,
    "cameraType": "perspective",
}


def three_js_pixel(info: dict, point: torch.Tensor, width: int, height: int) -> tuple[float, float]:
    """Where a viewer's upright camera shows a point of its y-up world, by its own view and projection."""
    eye, target = (torch.tensor([float(info[key][axis]) for axis in "xyz"]) for key in ("position", "target"))
    z = torch.nn.functional.normalize(eye - target, dim=0)
    x = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), z), dim=0)
    y = torch.linalg.cross(z, x)
    seen = torch.stack([x, y, z]) @ (point - eye)
    top = math.tan(math.radians(info["fov"]) / 2) / info["zoom"]
    across, up = float(-seen[0] / seen[2] / top / (width / height)), float(-seen[1] / seen[2] / top)
    return (across + 1) / 2 * width, (1 - up) / 2 * height


@pytest.mark.parametrize("zoom", [1, 2.5, 0.5])
def test_a_point_of_the_viewers_world_is_at_the_viewers_pixel(zoom):
    info = {**PLAIN, "position": {"x": 3, "y": 2, "z": 4}, "target": {"x": 0.5, "y": 1, "z": -1}, "fov": 50}
    info["zoom"] = zoom
    camera = camera_from_load3d(info, 640, 360)
    for point in ([0.0, 1.0, 0.0], [1.0, 0.3, -2.0]):
        viewers = torch.tensor(point)
        ours = viewers * torch.tensor([1.0, -1.0, -1.0])
        pixel, depth, seen = camera.project(ours)
        assert bool(seen)
        assert float(depth) > 0
        assert pixel.tolist() == pytest.approx(three_js_pixel(info, viewers, 640, 360), abs=1e-3)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, -20, 15), (180, 60, -100), (90, 90, 0)])
def test_round_trip(angles):
    poses = torch.stack([pose_from_angles((0, 0, 0), (0, 0, 0)), pose_from_angles((1, -2, 3), angles)])
    camera = Camera(Pinhole(310.0, 310.0, 200.0, 150.0), 400, 300, poses)
    info = camera_to_load3d(camera, 1)
    again = camera_from_load3d(info, 400, 300)
    assert torch.allclose(again.world_to_camera[0], camera.world_to_camera[1], atol=1e-9)
    assert again.lens.fy == pytest.approx(310, abs=1e-9)
    assert lost_without_lens(camera) == ""
    ahead = camera.rotations[1, 2] + camera.centers[1]  # one metre along our z
    target = torch.tensor([info["target"][axis] for axis in "xyz"]) * torch.tensor([1.0, -1.0, -1.0])
    assert torch.allclose(target.double(), ahead, atol=1e-6)
    if angles[2] == 0 and angles[1] != 90:  # level: without its quaternion the target says the same
        del info["quaternion"]
        assert torch.allclose(camera_from_load3d(info, 400, 300).world_to_camera, again.world_to_camera, atol=1e-9)


def test_zoom_narrows_the_field_of_view_as_in_the_viewer():
    camera = camera_from_load3d({**PLAIN, "fov": 60, "zoom": 2}, 100, 80)
    assert vertical_fov(camera) == pytest.approx(32.204, abs=1e-3)


def test_what_older_viewers_leave_out():
    camera = camera_from_load3d(PLAIN, 100, 80)
    assert vertical_fov(camera) == pytest.approx(VIEWER_FOV)
    assert torch.allclose(camera.centers[0], torch.tensor([0.0, 0.0, -5.0]).double())
    assert torch.allclose(camera.rotations[0], torch.eye(3).double(), atol=1e-12), "looks along our z"
    down = camera_from_load3d({**PLAIN, "position": {"x": 0, "y": 3, "z": 0}}, 100, 80)
    assert torch.allclose(down.rotations[0, 2], torch.tensor([0.0, 1.0, 0.0]).double(), atol=1e-12), "straight down"


def test_a_pinhole_stands_in_for_a_fisheye_and_that_is_said():
    pose = pose_from_angles((0, 0, 0), (0, 0, 0))
    fisheye = Camera(preset_lens(LensPreset.EGOX_RELEASE, 448, 448), 448, 448, pose)
    fov = camera_to_load3d(fisheye)["fov"]
    assert 80 < fov < 150
    assert f"{fov:.1f} degrees stands in for the Fisheye624 lens" in lost_without_lens(fisheye)
    off = Camera(Pinhole(300.0, 310.0, 201.0, 150.0), 400, 300, pose)
    assert "fx 300.000, fy 310.000" in lost_without_lens(off)
    assert "+1.000, +0.000 pixels" in lost_without_lens(off)


def orbit(count: int, **change) -> list[dict]:
    """What core's Create Camera Orbit hands out: the viewer's camera turned about its target."""
    cameras = []
    for number in range(count):
        angle = math.radians(360 * number / count)
        place = {"x": 5 * math.sin(angle), "y": 0.5, "z": 5 * math.cos(angle)}
        cameras.append({**PLAIN, "position": place, "fov": 40, "zoom": 1.5, **change})
    return cameras


def test_a_list_is_a_trajectory():
    cameras = orbit(8)
    result = camera_from_load3d(cameras, 640, 360)
    assert result.n_frames == 8
    for frame, info in enumerate(cameras):
        pixel, _, seen = result[frame].project(torch.tensor([0.3, -0.2, 0.1]))
        assert bool(seen)
        assert pixel.tolist() == pytest.approx(three_js_pixel(info, torch.tensor([0.3, 0.2, -0.1]), 640, 360), abs=1e-3)
    again = camera_from_load3d([camera_to_load3d(result, frame) for frame in range(8)], 640, 360)
    assert torch.allclose(again.world_to_camera, result.world_to_camera, atol=1e-9)
    assert again.lens.fy == pytest.approx(result.lens.fy)
    assert camera_from_load3d(cameras[:1], 640, 360).is_fixed


def test_a_list_whose_cameras_zoom():
    cameras = [*orbit(2), *orbit(1, zoom=3)]
    with pytest.raises(ValueError, match=r"The 3 cameras of the list have vertical fields of view from 13\.8 to 27\.3"):
        camera_from_load3d(cameras, 640, 360)
    with pytest.raises(ValueError, match="list of 3D viewers' cameras is empty"):
        camera_from_load3d([], 640, 360)
    with pytest.raises(ValueError, match="dictionary, got list"):
        camera_from_load3d([orbit(1)], 640, 360)


def test_no_field_of_view_is_the_viewers():
    """Core's own renderer takes 0 so."""
    assert vertical_fov(camera_from_load3d({**PLAIN, "fov": 0}, 100, 80)) == pytest.approx(VIEWER_FOV)


@pytest.mark.parametrize(
    ("info", "match"),
    [
        ("camera", "dictionary, got str"),
        ({**PLAIN, "cameraType": "orthographic"}, "orthographic"),
        ({**PLAIN, "position": None}, "'position' of a LOAD3D_CAMERA"),
        ({**PLAIN, "position": {"x": 1, "y": 2}}, "'position' of a LOAD3D_CAMERA"),
        ({**PLAIN, "target": {"x": 1, "y": 2, "z": float("nan")}}, "must be finite"),
        ({**PLAIN, "target": PLAIN["position"]}, "has no viewing direction"),
        ({**PLAIN, "quaternion": {"x": 0, "y": 0, "z": 0, "w": 0}}, "is zero"),
        ({**PLAIN, "fov": 180}, "between 0 and 180"),
        ({**PLAIN, "fov": "wide"}, "is a number, got 'wide'"),
        ({**PLAIN, "zoom": 0}, "'zoom' of a LOAD3D_CAMERA is a number above 0, got 0"),
        ({**PLAIN, "zoom": math.inf}, "above 0, got inf"),
        ({**PLAIN, "zoom": None}, "is a number, got None"),
    ],
)
def test_refuses_what_is_no_camera(info, match):
    with pytest.raises(ValueError, match=match):
        camera_from_load3d(info, 100, 80)


def test_refuses_a_frame_that_is_not_there():
    with pytest.raises(ValueError, match="frames 0 to 0; there is no frame 1"):
        camera_to_load3d(camera_from_load3d(PLAIN, 100, 80), 1)
