"""The page's JavaScript against the package's Python: the same camera, the same points, the same pictures."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import NAMED_PRESETS, LensPreset, preset_lens
from exo2ego.geometry.cameras.rotations import quaternions_to_matrices
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.cameras.trajectory import Keyframe, Trajectory
from exo2ego.geometry.cameras.trajectory_json import trajectory_from_json, trajectory_to_json
from exo2ego.geometry.lenses import lens_from_json, lens_to_json
from exo2ego.geometry.lenses.brown_conrady import BrownConrady
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.opencv_fisheye import OpenCVFisheye
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.packed_cloud import pack_cloud, unpack_cloud
from exo2ego.geometry.points.point_cloud import Background, PointCloud, build_point_cloud
from exo2ego.geometry.points.renderer import render_points
from exo2ego.takes.example.room import example_take
from support.node_js import ask

LENSES = {
    "pinhole": Pinhole(210.0, 190.0, 230.5, 215.25),
    "aria": preset_lens(LensPreset.EGOX_RELEASE, 448, 448),
    "strong decentring": Fisheye624(
        150.0, 100.0, 90.0, (0.1, -0.02, 0, 0, 0, 0), (0.01, -0.02), (0.02, -0.01, 0.015, 0.005)
    ),
    "GoPro": OpenCVFisheye(180.0, 175.0, 220.0, 230.0, (0.05, -0.02, 0.01, -0.004)),
    "phone": BrownConrady(300.0, 310.0, 224.0, 220.0, (-0.2, 0.05, 0.003, -0.004, 0.01, 0.02, -0.01, 0.002)),
}
PRESETS = list(NAMED_PRESETS)
SIZE = 224


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The example room in small, its packed cloud as a file, and the cloud as a reader of that file has it."""
    take = example_take(3, exo_width=392, exo_height=224, ego_size=64)
    cloud = build_point_cloud(take.exo, take.depth, take.exo_camera, background=Background.PER_FRAME)
    path = tmp_path_factory.mktemp("cloud") / "room.bin"
    path.write_bytes(pack_cloud(cloud))
    return take, unpack_cloud(path.read_bytes()), path


@pytest.mark.parametrize("name", LENSES)
def test_projection(name):
    lens = LENSES[name]
    chance = torch.Generator().manual_seed(1)
    points = torch.randn(2000, 3, generator=chance, dtype=torch.float64) * torch.tensor([2.0, 2.0, 1.5])
    pixels, seen = lens.project(points)
    found = ask("project", lens=lens_to_json(lens), points=points.tolist())
    assert [pixel is not None for pixel in found] == seen.tolist()
    assert 500 < int(seen.sum()) < 1900
    theirs = torch.tensor([pixel for pixel in found if pixel is not None], dtype=torch.float64)
    assert float((theirs - pixels[seen]).abs().max() / pixels[seen].abs().max().clamp_min(1)) < 1e-9
    assert float((theirs - pixels[seen]).abs().max()) < 1e-3  # pixels; 0.5 would do


@pytest.mark.parametrize("name", LENSES)
def test_rays(name):
    lens = LENSES[name]
    pixels = torch.rand(300, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 200
    found = torch.tensor(ask("unproject", lens=lens_to_json(lens), pixels=pixels.tolist()), dtype=torch.float64)
    assert float((found - lens.unproject(pixels)).abs().max()) < 1e-9


@pytest.mark.parametrize("size", [(448, 448), (256, 256), (640, 352)])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_of_any_size(preset, size):
    lenses = {other.value: lens_to_json(preset_lens(other, 448, 448)) for other in PRESETS}
    answer = ask("preset", lens={"preset": preset.value}, width=size[0], height=size[1], lenses=lenses)
    ours, theirs = preset_lens(preset, *size), lens_from_json(answer["made"])
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + torch.tensor(
        [0, 0, 3]
    )
    assert float((ours.project(points)[0] - theirs.project(points)[0]).abs().max()) < 1e-6
    assert answer["named"] == {"preset": preset.value}


def trajectory(n_keys: int, seed: int) -> Trajectory:
    chance = torch.Generator().manual_seed(seed)
    frames = sorted(torch.randperm(60, generator=chance)[:n_keys].tolist())
    numbers = torch.randn(n_keys, 7, generator=chance, dtype=torch.float64)
    eases = torch.rand(n_keys, 2, generator=chance, dtype=torch.float64)
    keys = (
        Keyframe(frame, tuple(row[:3].tolist()), tuple(row[3:].tolist()), *ease.tolist())
        for frame, row, ease in zip(frames, numbers, eases)
    )
    return Trajectory(tuple(keys))


@pytest.mark.parametrize(("n_keys", "seed"), [(1, 0), (2, 1), (3, 2), (7, 3), (20, 4)])
def test_the_way_between_keyframes(n_keys, seed):
    given = trajectory(n_keys, seed)
    frames = torch.linspace(-2, 62, 150, dtype=torch.float64)
    answer = ask("interpolate", text=trajectory_to_json(given), frames=frames.tolist(), count=60)
    positions, rotations = given.at(frames)
    theirs = torch.tensor([pose["position"] for pose in answer["at"]], dtype=torch.float64)
    assert float((theirs - positions).abs().max()) < 1e-9
    turned = torch.tensor([pose["rotation"] for pose in answer["at"]], dtype=torch.float64)
    # q and -q are one rotation
    assert float((quaternions_to_matrices(turned) - quaternions_to_matrices(rotations)).abs().max()) < 1e-9
    camera = given.to_camera(60)
    matrices = torch.tensor(answer["matrices"], dtype=torch.float64)[: camera.n_frames]
    assert float((matrices - camera.world_to_camera).abs().max()) < 1e-9


def test_rotations_next_to_each_other():
    """Where the angle between two keys is tiny or half a turn, both sides still agree."""
    near = (math.cos(1e-9), math.sin(1e-9), 0.0, 0.0)
    half = (0.0, 0.0, 1.0, 0.0)
    keys = (Keyframe(0, (0, 0, 0), (1, 0, 0, 0)), Keyframe(4, (0, 0, 0), near), Keyframe(8, (0, 0, 0), half))
    given = Trajectory(keys)
    answer = ask("interpolate", text=trajectory_to_json(given), frames=[], count=9)
    ours = given.to_camera(9).world_to_camera
    assert float((torch.tensor(answer["matrices"], dtype=torch.float64) - ours).abs().max()) < 1e-6


def test_the_text_keeps_every_digit():
    given = trajectory(9, 5)
    for lens in (given.lens, LENSES["aria"], LENSES["pinhole"]):
        kept = Trajectory(given.keyframes, lens, 320, 256)
        assert trajectory_from_json(ask("rewrite", text=trajectory_to_json(kept))) == kept


def test_the_packed_cloud(room):
    _, cloud, path = room
    answer = ask("cloud", path=str(path))
    positions = torch.tensor(answer["positions"]).view(-1, 3)
    colors = torch.tensor(answer["colors"])
    for frame, chosen in enumerate(answer["frames"]):
        points, shades = cloud.frame(frame)
        assert torch.allclose(positions[chosen], points, atol=1e-5)
        levels = torch.stack([colors[chosen] >> shift & 255 for shift in (0, 8, 16, 24)], dim=-1)
        assert torch.equal(levels[:, :3], (shades * 255).round().long())
        assert (levels[:, 3] == 255).all()


@pytest.mark.parametrize("preset", [LensPreset.EGOX_RELEASE, LensPreset.PINHOLE])
def test_the_live_view_covers_what_the_renderer_covers(room, preset):
    take, cloud, path = room
    lens = preset_lens(preset, SIZE, SIZE)
    # The head's own poses, and two from beside the exo camera.
    beside = [pose_from_angles((0.4, -0.3, 0.5), (-15, -10, 5)), pose_from_angles((-1.0, 0.2, 1.0), (25, 4, -30))]
    # And one with the eyes in dark hair: all but black discs near the lens, which count as empty at their rims.
    dark = cloud.frame_colors[0].amax(dim=1).topk(200, largest=False).indices[100]
    within = pose_from_angles(tuple(cloud.frame_points[0][dark].tolist()), (60, -30, 0))
    poses = torch.stack([*take.ego_camera.world_to_camera, within, *beside])
    views = [{"matrix": pose.tolist(), "frame": index % 3} for index, pose in enumerate(poses)]
    answers = ask("coverage", path=str(path), views=views, lens=lens_to_json(lens), width=SIZE, height=SIZE)
    for view, pose, answer in zip(views, poses, answers):
        points, colors = cloud.frame(view["frame"])
        none = points[:0]
        one = type(cloud)(none, none, (points,), (colors,))
        ours = render_points(one, Camera(lens, SIZE, SIZE, pose))
        theirs = torch.tensor([int(bit) for bit in answer["covered"]]).view(SIZE, SIZE).bool()
        overlap = float((theirs & ours.coverage[0]).sum() / (theirs | ours.coverage[0]).sum())
        assert overlap > 0.99  # 0.9 is asked for
        assert answer["share"] == pytest.approx(float(theirs.double().mean()), abs=1e-9)
        assert 0.05 < answer["share"] < 0.99
        picture = torch.tensor(answer["colors"]).view(SIZE, SIZE, 4)[..., :3] / 255
        both = theirs & ours.coverage[0]
        assert float((picture - ours.color[0]).abs()[both].mean()) < 0.12  # the renderer blends, the page does not


def test_what_is_near_is_left_out_on_both_sides(room):
    take, cloud, path = room
    lens, pose = preset_lens(LensPreset.PINHOLE, SIZE, SIZE), take.ego_camera.world_to_camera[0]
    views = [{"matrix": pose.tolist(), "frame": 0}]
    request = {"path": str(path), "views": views, "lens": lens_to_json(lens), "width": SIZE, "height": SIZE}
    points, colors = cloud.frame(0)
    one = type(cloud)(points[:0], points[:0], (points,), (colors,))
    shares = []
    for near in (0.0, 0.8, 1.5):
        (answer,) = ask("coverage", near=near, **request)
        ours = render_points(one, Camera(lens, SIZE, SIZE, pose), near=near)
        theirs = torch.tensor([int(bit) for bit in answer["covered"]]).view(SIZE, SIZE).bool()
        assert float((theirs & ours.coverage[0]).sum() / (theirs | ours.coverage[0]).sum()) > 0.99
        shares.append(answer["share"])
    assert shares[0] > shares[1] > shares[2] > 0


def test_dim_discs_fade_before_their_rim(tmp_path):
    """What is all but black counts as empty, for the model and for both sides."""
    chance = torch.Generator().manual_seed(6)
    points = torch.rand(150, 3, generator=chance) * torch.tensor([4.0, 4.0, 1.0]) + torch.tensor([-2.0, -2.0, 3.0])
    colors = torch.randint(1, 9, (150, 1), generator=chance).expand(150, 3) / 255
    path = tmp_path / "dim.bin"
    path.write_bytes(pack_cloud(PointCloud(points, colors, (points[:0],), (colors[:0],))))
    lens, pose = Pinhole(200.0, 200.0, 112.0, 112.0), torch.eye(4, dtype=torch.float64)
    views = [{"matrix": pose.tolist(), "frame": 0}]
    (answer,) = ask("coverage", path=str(path), views=views, lens=lens_to_json(lens), width=SIZE, height=SIZE)
    ours = render_points(unpack_cloud(path.read_bytes()), Camera(lens, SIZE, SIZE, pose))
    theirs = torch.tensor([int(bit) for bit in answer["covered"]]).view(SIZE, SIZE).bool()
    overlap = float((theirs & ours.coverage[0]).sum() / (theirs | ours.coverage[0]).sum())
    assert overlap > 0.95
    assert float(ours.coverage.float().mean()) < 0.8 * float((ours.depth > 0).float().mean())  # discs do fade


def test_the_ground_of_the_room(room):
    """The floor of the example room lies 1.95 m below its exo camera, which looks down by 21 degrees."""
    take, _, path = room
    ground = ask("ground", path=str(path), matrix=take.exo_camera.world_to_camera[0].tolist())
    assert ground["found"]
    up = torch.tensor(ground["up"])
    down_by = math.degrees(math.asin(-float(up[2])))
    assert down_by == pytest.approx(21.1, abs=0.5)
    assert float(torch.tensor(ground["point"]).norm()) == pytest.approx(1.95, abs=0.03)


def test_angles_are_those_of_the_camera_node():
    angles = [[20.0, -10.0, 5.0], [-170.0, 60.0, -45.0], [0.0, 0.0, 90.0]]
    for given, answer in zip(angles, ask("angles", angles=angles)):
        expected = pose_from_angles((0.0, 0.0, 0.0), tuple(given))
        assert float((torch.tensor(answer["matrix"], dtype=torch.float64) - expected).abs().max()) < 1e-12
        assert answer["back"] == pytest.approx(given, abs=1e-9)
