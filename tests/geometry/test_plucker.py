"""Pluecker maps: the identities of lines, the same numbers as core's own, and what makes them differ."""

import math
from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.plucker import (
    PluckerMaps,
    PoseReference,
    RayModel,
    align_maps,
    plucker_maps,
    wan_camera_embedding,
)
from support.comfyui import import_comfyui

pytestmark = pytest.mark.filterwarnings("ignore:Using torch.cross without specifying the dim")  # core's

N_FRAMES = 5
# Ego-Exo4D's undistorted ego view: 150 px on 512, its centre 255.5 from the first pixel's centre.
LINEAR = Pinhole(150, 150, 256, 256)


def ego_camera(lens=LINEAR, width=512, height=512, n_frames=N_FRAMES) -> Camera:
    poses = [
        pose_from_angles((0.1 * frame, -1.6, 1.2 - 0.05 * frame), (170 - 4 * frame, -20 + frame, 3))
        for frame in range(n_frames)
    ]
    return Camera(lens, width, height, torch.stack(poses))


def exo_cameras() -> list[Camera]:
    places = [((1.0, -1.9, -1.5), (-20, -15, 0)), ((-2.0, -1.7, 0.5), (60, -10, 2)), ((0.3, -1.5, 3.5), (185, -8, 0))]
    return [Camera(Pinhole(900, 900, 640, 360), 1280, 720, pose_from_angles(*place)) for place in places]


LENSES = {
    "pinhole": LINEAR,
    "oblong pinhole": Pinhole(140, 190, 250, 270),
    "aria fisheye": preset_lens(LensPreset.EGOX_RELEASE, 512, 512),
}


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_directions_have_length_one_and_moments_are_upright_on_them(lens):
    maps = plucker_maps(ego_camera(lens), exo_cameras()[0], 48, 32)
    assert maps.shape == (N_FRAMES, 6, 32, 48)
    assert maps.dtype == torch.float32
    moments, directions = maps.double().split(3, dim=1)
    assert torch.allclose(directions.norm(dim=1), torch.ones(N_FRAMES, 32, 48).double(), atol=1e-6)
    assert (moments * directions).sum(dim=1).abs().max() < 1e-5
    assert moments.norm(dim=1).max() > 0.5  # metres: the ego camera is not at the exo camera


def test_the_poses_beside_the_maps():
    """inv(C_exo1) @ C_ego frame by frame; without an exo camera they count from the first frame."""
    ego, exo = ego_camera(), exo_cameras()[0]
    to_world = torch.linalg.inv(ego.world_to_camera.double())
    poses = PluckerMaps.of(ego, exo, 16, 16).poses
    assert poses.shape == (N_FRAMES, 4, 4)
    assert poses.dtype == torch.float32
    expected = exo.world_to_camera[0].double() @ to_world
    assert torch.allclose(poses.double(), expected, atol=1e-5)
    own = PluckerMaps.of(ego, None, 16, 16).poses
    assert torch.allclose(own[0], torch.eye(4), atol=1e-6)
    assert torch.allclose(own.double(), ego.world_to_camera[0].double() @ to_world, atol=1e-5)


def test_one_pixel_by_hand():
    """The centre of the ego image looks along its z axis; the line passes through its centre, seen from exo 1."""
    ego, exo = ego_camera(), exo_cameras()[0]
    to_exo = exo.world_to_camera[0] @ ego.camera_to_world[2]  # inv(C_exo) @ C_ego
    center, forward = to_exo[:3, 3], to_exo[:3, 2]
    moment, direction = plucker_maps(ego, exo, 3, 3)[2, :, 1, 1].double().split(3)
    assert torch.allclose(direction, forward, atol=1e-6)
    assert torch.allclose(moment, torch.linalg.cross(center, forward), atol=1e-6)
    assert torch.allclose(torch.linalg.cross(center, direction), moment, atol=1e-6)


def test_a_point_on_the_line_is_seen_at_its_pixel():
    """Any point of a pixel's line, taken back into the ego camera, projects onto that pixel."""
    ego, exo = ego_camera(LENSES["aria fisheye"]), exo_cameras()[0]
    moments, directions = plucker_maps(ego, exo, 64, 64).double().split(3, dim=1)
    foot = torch.linalg.cross(directions, moments, dim=1)  # the line's point nearest to exo 1
    points = (foot + 4.0 * directions)[3].movedim(0, -1)  # [64, 64, 3], seen from exo 1, before the ego camera
    to_world = exo.camera_to_world[0]
    pixels, z, valid = ego.project(points @ to_world[:3, :3].T + to_world[:3, 3], frame=3)
    inner = valid & (z > 0.1)
    inner[:8] = inner[-8:] = inner[:, :8] = inner[:, -8:] = False  # the corners lie outside the lens' field
    expected = replace(ego[3], width=64, height=64).pixel_grid() * 8
    assert inner.float().mean() > 0.4
    assert (pixels - expected)[inner].abs().max() < 0.02


def test_a_common_move_of_the_world_changes_nothing():
    ego, exo = ego_camera(), exo_cameras()
    move = torch.linalg.inv(pose_from_angles((30.0, -4.0, 12.0), (77, 31, -50)))

    def moved(camera):
        return replace(camera, world_to_camera=camera.world_to_camera @ move)

    assert not torch.allclose(moved(ego).centers, ego.centers)
    assert torch.allclose(plucker_maps(ego, exo[0], 16, 16), plucker_maps(moved(ego), moved(exo[0]), 16, 16), atol=1e-5)
    before, after = align_maps(exo, ego, 8, 8), align_maps([moved(camera) for camera in exo], moved(ego), 8, 8)
    assert torch.allclose(before, after, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "expected"), [(512, (150, 150, 256, 256)), (256, (75, 75, 128, 128)), (32, (9.375, 9.375, 16, 16))]
)
def test_the_lens_scales_with_the_maps(size, expected):
    """K(512) = 150, 255.5 with integer pixel centres; rays of the small grid are those of its own scaled lens."""
    fx, fy, cx, cy = expected
    scaled = Camera(Pinhole(fx, fy, cx, cy), size, size, torch.eye(4))
    identity = Camera(LINEAR, 512, 512, torch.eye(4))
    directions = plucker_maps(identity, identity, size, size)[0, 3:].movedim(0, -1)
    assert torch.allclose(directions, scaled.local_rays.float(), atol=1e-7)


def test_each_axis_scales_by_its_own_factor():
    """A wide picture squeezed into a square: each pixel keeps its ray, for a fisheye too."""
    for lens in (Pinhole(900, 900, 640, 360), Fisheye624(500, 630, 370, radial=(0.03, 0.05, -0.05, 0.01, 0, 0))):
        wide = Camera(lens, 1280, 720, torch.eye(4))
        directions = plucker_maps(wide, wide, 256, 256)[0, 3:]  # [3, 256, 256]
        row, column = 40, 201
        pixel = torch.tensor([(column + 0.5) * 5, (row + 0.5) * 720 / 256], dtype=torch.float64)
        assert torch.allclose(directions[:, row, column].double(), lens.unproject(pixel), atol=1e-6)


def test_align_maps_are_the_first_frame_relative_to_each_view():
    ego, exo = ego_camera(), exo_cameras()
    maps = align_maps(exo, ego, 32, 32)
    assert maps.shape == (3, 6, 32, 32)
    for view, camera in enumerate(exo):
        assert torch.equal(maps[view], plucker_maps(ego, camera, 32, 32)[0])
    assert (maps[0] - maps[1]).abs().max() > 0.1
    full = plucker_maps(ego, exo[0], 256, 256)[0]
    assert not torch.allclose(maps[0], full[:, ::8, ::8], atol=1e-3)  # neither picked
    shrunk = torch.nn.functional.avg_pool2d(full, 8)
    assert (shrunk[3:].norm(dim=0) - 1).abs().max() > 1e-4  # nor scaled down: those directions are too short
    with pytest.raises(ValueError, match="at least one exo camera"):
        align_maps([], ego, 32, 32)


def test_only_the_first_pose_of_a_moving_reference_counts():
    ego, moving = ego_camera(), ego_camera(n_frames=7)
    assert torch.equal(plucker_maps(ego, moving, 8, 8), plucker_maps(ego, moving[0], 8, 8))


def test_the_own_first_frame_as_reference():
    maps = PluckerMaps.of(ego_camera(), None, 16, 16)
    assert maps.reference is PoseReference.OWN_FIRST_FRAME
    assert maps.n_frames == N_FRAMES
    assert maps.maps[0, :3].abs().max() < 1e-6  # no moment: the camera is the origin
    assert maps.maps[1, :3].abs().max() > 1e-3
    assert torch.equal(maps.maps, plucker_maps(ego_camera(), ego_camera(), 16, 16))


def test_what_a_network_is_told():
    ego, exo = ego_camera(), exo_cameras()[0]
    told = PluckerMaps.of(ego, exo, 16, 16)
    assert (told.reference, told.rays) == (PoseReference.EXO1, RayModel.PINHOLE)
    assert (told.reference.value, told.rays.value) == ("exo1", "pinhole")  # the words of the component files
    assert PluckerMaps.of(ego_camera(LENSES["aria fisheye"]), exo, 16, 16).rays is RayModel.RAYMAP


# External directions ------------------------------------------------------------------------------------------------


def test_an_external_map_of_directions():
    ego, exo = ego_camera(LENSES["aria fisheye"]), exo_cameras()[0]
    raymap = ego.resized(64, 64).local_rays
    ours = plucker_maps(ego, exo, 64, 64)
    blind = replace(ego, lens=LINEAR)  # its own lens does not count
    assert torch.allclose(plucker_maps(blind, exo, 64, 64, raymap=raymap.float()), ours, atol=1e-6)
    assert not torch.allclose(plucker_maps(blind, exo, 64, 64), ours, atol=1e-2)
    assert torch.allclose(plucker_maps(blind, exo, 64, 64, raymap=raymap.half()), ours, atol=5e-3)


@pytest.mark.parametrize(
    ("raymap", "message"),
    [
        (torch.zeros(64, 64, 3), "unit directions"),
        (torch.full((64, 64, 3), math.nan), "unit directions"),
        (torch.ones(64, 64, 3), r"lengths from 1\.732"),
        (torch.ones(32, 32, 3), r"\[64, 64, 3\], got \[32, 32, 3\]"),
        (torch.ones(3, 64, 64), r"got \[3, 64, 64\]"),
    ],
)
def test_a_map_of_directions_that_is_none(raymap, message):
    with pytest.raises(ValueError, match=message):
        plucker_maps(ego_camera(), exo_cameras()[0], 64, 64, raymap=raymap)


@pytest.mark.parametrize("size", [(0, 16), (16, -1)])
def test_no_size(size):
    with pytest.raises(ValueError, match="whole number of pixels from 1"):
        plucker_maps(ego_camera(), exo_cameras()[0], *size)


# Core's own ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core():
    import_comfyui()
    from comfy_extras import nodes_camera_trajectory

    return nodes_camera_trajectory


def rays_of_core(core, camera: Camera, reference: Camera) -> torch.Tensor:
    """What core's `ray_condition` makes of a pinhole camera relative to another, [F, 6, H, W]."""
    lens = camera.lens
    intrinsics = torch.tensor([lens.fx, lens.fy, lens.cx, lens.cy]).expand(1, camera.n_frames, 4)
    to_reference = (reference.world_to_camera[0] @ camera.camera_to_world).float()[None]
    return core.ray_condition(intrinsics, to_reference, camera.height, camera.width, "cpu")[0].permute(0, 3, 1, 2)


@pytest.mark.parametrize("n_frames", [1, 2, 4, 5])
@pytest.mark.parametrize("lens", [LENSES["pinhole"], LENSES["oblong pinhole"]])
def test_the_same_rays_as_core(core, lens, n_frames):
    ego = ego_camera(lens.scaled(40 / 512, 24 / 512), 40, 24, n_frames)
    exo = exo_cameras()[0]
    assert torch.allclose(plucker_maps(ego, exo, 40, 24), rays_of_core(core, ego, exo), atol=1e-5)


def test_three_frames_are_right_here_and_wrong_in_core(core):
    """`torch.cross` without `dim` takes the first axis of length 3: with three frames, that of time."""
    five, exo = ego_camera(LINEAR.scaled(1 / 16, 1 / 16), 32, 32), exo_cameras()[0]
    three = five[:3]
    ours = plucker_maps(three, exo, 32, 32)
    assert torch.equal(ours, plucker_maps(five, exo, 32, 32)[:3])
    theirs = rays_of_core(core, three, exo)
    assert torch.allclose(ours[:, 3:], theirs[:, 3:], atol=1e-5)
    assert not torch.allclose(ours[:, :3], theirs[:, :3], atol=0.1)
    assert torch.allclose(ours, rays_of_core(core, five, exo)[:3], atol=1e-5)


@pytest.mark.parametrize("motion", ["Pan Left", "Zoom In", "ClockWise (CW)"])
def test_the_same_embedding_as_core(core, motion):
    """The node's own output for a preset motion, from cameras of the same poses and lens."""
    width, height, n_frames = 48, 32, 9
    theirs = core.WanCameraEmbedding.execute(motion, width, height, n_frames, 1.0, 0.5, 0.6, 0.5, 0.4).result[0]
    move = core.CAMERA_DICT[motion]
    motions = core.get_camera_motion(core.np.array(move["angle"]), core.np.array(move["T"]), 1.0, n_frames)
    to_world = torch.eye(4, dtype=torch.float64).repeat(n_frames, 1, 1)
    to_world[:, :3] = torch.from_numpy(motions)
    # Core believes every picture to be cut out of one of 1280 x 720 and widens the focal length accordingly.
    fx, fy = 0.5 * height * 1280 / 720, 0.6 * height
    lens = Pinhole(fx, fy, 0.5 * width, 0.4 * height)
    camera = Camera(lens, width, height, torch.linalg.inv(to_world))
    ours = wan_camera_embedding(PluckerMaps.of(camera, None, width, height).maps)
    assert ours.shape == theirs.shape == (1, 24, 3, height, width)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_how_frames_lie_in_the_embedding():
    maps = torch.arange(9 * 6).view(9, 6, 1, 1).expand(9, 6, 2, 2).float()  # value = 6 * frame + channel
    embedding = wan_camera_embedding(maps)
    assert embedding.shape == (1, 24, 3, 2, 2)
    for group, frames in enumerate([(0, 0, 0, 0), (1, 2, 3, 4), (5, 6, 7, 8)]):
        for channel in range(6):
            for place, frame in enumerate(frames):
                assert (embedding[0, 4 * channel + place, group] == 6 * frame + channel).all()


@pytest.mark.parametrize("shape", [(4, 6, 2, 2), (9, 5, 2, 2), (9, 6, 2), (0, 6, 2, 2)])
def test_maps_that_are_no_clip(shape):
    with pytest.raises(ValueError, match=r"\[4n \+ 1, 6, H, W\]"):
        wan_camera_embedding(torch.zeros(shape))
