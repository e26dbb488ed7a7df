"""Where the face cannot tell: stick figures from behind, walking, working, bent, of another size, and their doubles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exo2ego.geometry.body.body import lift_body
from exo2ego.geometry.body.down import scene_down
from exo2ego.geometry.body.facing import find_facing
from exo2ego.geometry.body.guides import hands_of, walk_of
from exo2ego.geometry.body.size import body_size
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.head.keypoints import Keypoints
from exo2ego.geometry.head.openpose import read_openpose
from exo2ego.geometry.head.person_tracks import PersonChoice, follow_person
from exo2ego.geometry.head.pose import HeadPose, estimate_head_pose
from exo2ego.geometry.lenses.pinhole import Pinhole
from support.stick_figure import FOCAL, HEIGHT, WIDTH, Clip, film

F = 13
STANDING = [(0.1, 4.0)] * F
LENS = Pinhole.from_fov(90, 64, 64)
CAMERA = Camera(Pinhole(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2), WIDTH, HEIGHT, torch.eye(4))


def parts(clip: Clip, scale: float = 1.0) -> tuple[Keypoints, Depth]:
    one = follow_person(read_openpose(clip.keypoints), PersonChoice.LARGEST)
    return one, Depth(torch.from_numpy(scale * clip.depth), DepthMeaning.METRIC)


def estimate(clip: Clip, scale: float = 1.0, **settings) -> HeadPose:
    return estimate_head_pose(*parts(clip, scale), CAMERA, LENS, 64, 64, **{"tilt_degrees": 0.0, **settings})


def angles(found: torch.Tensor, truth: np.ndarray) -> torch.Tensor:
    return (found * torch.from_numpy(truth)).sum(dim=-1).clamp(-1, 1).acos().rad2deg()


def level(v: torch.Tensor, down: np.ndarray) -> torch.Tensor:
    d = torch.from_numpy(down)
    return torch.nn.functional.normalize(v - (v @ d)[:, None] * d, dim=-1)


@pytest.mark.parametrize("yaw", [0, 25, -30])
def test_a_face_made_up_on_the_back_of_a_head(yaw):
    """Shoulders show a back; the face looks at the camera. It is the shoulders that are right."""
    clip = film(STANDING, yaw, made_up=True)
    found = estimate(clip)
    looks = found.camera.rotations[:, 2]
    aside = angles(level(looks, clip.down), level(torch.from_numpy(clip.facing), clip.down).numpy())
    print(f"{aside.median():.0f} degrees about the vertical, {angles(looks, clip.facing).median():.0f} in all")
    assert found.torso_frames == tuple(range(F))
    assert aside.median() < 20
    assert angles(looks, clip.facing).median() < 25


def test_what_is_uncertain_is_the_first_word():
    found = estimate(film(STANDING, 0, made_up=True))
    first = found.summary().splitlines()[0]
    assert first.startswith("No face seen")
    assert "13 of 13 frames seen" not in found.summary()
    assert found.confidence.mean() < 0.2
    assert "uncertain (confidence below 0.2): 0-12" in found.summary()
    assert any("Mean confidence is 0." in text for text in found.warnings())
    assert found.head_size is None


@pytest.mark.parametrize("yaw", [180, 150, -130])
def test_a_face_that_is_seen_is_believed(yaw):
    clip = film(STANDING, yaw, noise=0.2)
    found = estimate(clip)
    assert found.torso_frames == ()
    assert found.summary().startswith("13 of 13 frames seen")
    assert angles(found.camera.rotations[:, 2], clip.facing).median() < 12
    assert found.warnings() == []


def test_who_walks_is_seen_from_behind_and_looks_ahead():
    """The same back, walking away: gaze is level then, not on the hands."""
    clip = film([(0.03 * frame - 0.2, 3.5 + 0.05 * frame) for frame in range(25)], 31, made_up=True)
    keypoints, depth = parts(clip)
    body = lift_body(keypoints, depth, CAMERA)
    walk = walk_of(body, scene_down(body, depth), 1.0)
    truth = np.array([0.03, 0, 0.05]) / np.hypot(0.03, 0.05)
    assert walk.certainty.min() == 1
    assert angles(level(walk.directions, clip.down), level(torch.from_numpy(truth)[None], clip.down).numpy()).max() < 25
    found = estimate(clip, tilt_degrees=20.0)
    below = torch.asin((found.camera.rotations[:, 2] * torch.from_numpy(clip.down)).sum(dim=-1)).rad2deg()
    assert 0 < below.median() < 20
    still = estimate(film(STANDING, 31, made_up=True), tilt_degrees=20.0)
    lower = torch.asin((still.camera.rotations[:, 2] * torch.from_numpy(clip.down)).sum(dim=-1)).rad2deg()
    assert lower.median() > below.median() + 10
    assert estimate(film(STANDING, 31)).torso_frames == tuple(range(F))  # true joints of a head seen from behind


def test_walking_decides_where_shoulders_allow_both():
    """Shoulders as narrow fit a turn to either side; walking tells which."""
    clip = film([(-0.05 * frame + 0.6, 4.0 + 0.03 * frame) for frame in range(25)], -35, made_up=True)
    keypoints, depth = parts(clip)
    body = lift_body(keypoints, depth, CAMERA)
    down = scene_down(body, depth)
    facing = find_facing(body, down, walk_of(body, down, 1.0), 1.0)
    truth = level(torch.from_numpy(clip.facing), clip.down).numpy()
    assert angles(facing.directions, truth).median() < 20


def test_hands_at_work_are_looked_at():
    clip = film(STANDING, 120, working=True, head_yaw=120, head_down=20)
    keypoints, depth = parts(clip)
    body = lift_body(keypoints, depth, CAMERA)
    down = scene_down(body, depth)
    walk = walk_of(body, down, 1.0)
    facing = find_facing(body, down, walk, 1.0)
    hands = hands_of(body, down, facing.directions, walk, 1.0)
    assert hands.errors.isfinite().all()
    aside = angles(level(hands.directions, clip.down), level(torch.from_numpy(clip.facing), clip.down).numpy())
    below = (hands.directions @ torch.from_numpy(clip.down)).asin().rad2deg()
    assert aside.median() < 25
    assert 30 < below.median() < 60
    hanging = film(STANDING, 120)
    keypoints, depth = parts(hanging)
    body = lift_body(keypoints, depth, CAMERA)
    assert hands_of(body, down, facing.directions, walk, 1.0).errors.isinf().all()


def test_hands_draw_a_look_that_is_off():
    """Without arms the face alone tells; with them the look goes part of the way to the hands."""
    clip = film(STANDING, 130, working=True, head_down=0)
    keypoints, depth = parts(clip)
    blind = Keypoints(keypoints.pixels, keypoints.confidence, keypoints.rotations)
    settings = {"tilt_degrees": 20.0, "smoothing": 0.0}
    with_hands = estimate_head_pose(keypoints, depth, CAMERA, LENS, 64, 64, **settings).camera.rotations[:, 2]
    without = estimate_head_pose(blind, depth, CAMERA, LENS, 64, 64, **settings).camera.rotations[:, 2]
    down = torch.from_numpy(clip.down)
    lower = ((with_hands @ down).asin() - (without @ down).asin()).rad2deg().median()
    assert 2 < lower < 25


@pytest.mark.parametrize("camera_down", [5, 25])
@pytest.mark.parametrize("lean", [0, 45])
def test_down_is_the_floors_and_not_a_bent_backs(camera_down, lean):
    clip = film(STANDING, 90, lean=lean, camera_down=camera_down)
    keypoints, depth = parts(clip)
    down = scene_down(lift_body(keypoints, depth, CAMERA), depth)
    assert angles(down, clip.down[None]).max() < 4


def test_down_is_an_axis_of_a_world_that_was_calibrated():
    clip = film(STANDING, 90, camera_down=20)
    keypoints, depth = parts(clip)
    blind = Depth(depth.metric() * 0 + 4.0, DepthMeaning.METRIC)  # a wall, nothing else
    pose = torch.eye(4, dtype=torch.float64)
    across = np.array([1.0, 0, 0])
    pose[:3, :3] = torch.from_numpy(np.stack([across, np.cross(-clip.down, across), -clip.down], axis=1))  # z is up
    camera = Camera(CAMERA.lens, WIDTH, HEIGHT, pose)
    down = scene_down(lift_body(keypoints, blind, camera), blind)
    assert angles(down, clip.down[None]).max() < 0.01


@pytest.mark.parametrize("scale", [0.65, 1.0, 1.4])
def test_a_depth_of_another_scale_is_told(scale):
    """The camera stays in the depth's scale; the report says what is off, and by how much for a known height."""
    clip = film(STANDING, 160, noise=0.2)
    keypoints, depth = parts(clip, scale)
    assert body_size(lift_body(keypoints, depth, CAMERA)) == pytest.approx(scale, rel=0.12)
    found = estimate(clip, scale)
    told = any("scale contradicts" in text for text in found.warnings())
    assert told == (scale != 1.0)
    known = estimate(clip, scale, body_height=1.72)
    line = next(line for line in known.summary().splitlines() if line.startswith("by 1.72 m"))
    assert float(line.split("true sizes are ")[1].split()[0]) == pytest.approx(1 / scale, rel=0.15)
    for pose in (found, known):
        off = torch.linalg.vector_norm(pose.camera.centers - scale * torch.from_numpy(clip.eyes), dim=-1)
        assert off.median() < 0.15 * max(1.0, scale)
    assert known.head_size == pytest.approx(scale, rel=0.2)
