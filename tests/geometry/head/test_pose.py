"""The heads of synthetic people whose poses are known: noise, gaps, turning away, and everything that can be wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from exo2ego.common.messages import frame_ranges
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.rotations import shortest_turns, vectors_to_matrices
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.head import evidence
from exo2ego.geometry.head.evidence import gather_evidence
from exo2ego.geometry.head.fit import fit_heads
from exo2ego.geometry.head.keypoints import HEAD_JOINTS, Joint, Keypoints
from exo2ego.geometry.head.pose import HeadPose, estimate_head_pose
from exo2ego.geometry.lenses.pinhole import Pinhole
from support.people import FOV, HEIGHT, WIDTH, Person, direction_errors, head_turned, make_person

F = 33
LENS = Pinhole.from_fov(90, 64, 64)


def at_work(distance: float, n: int = F, **settings) -> Person:
    """Somebody who looks around, up and down, with a trunk that follows only half."""
    t = torch.linspace(0, 1, n, dtype=torch.float64)
    eyes = torch.stack([0.3 * torch.sin(4 * t) - 0.2, -0.2 + 0.03 * torch.sin(9 * t), distance + 0.2 * t], dim=-1)
    heads = [head_turned(50 * math.sin(4 * x), 25 * math.sin(5 * x) - 5, 8 * math.sin(3 * x)) for x in t.tolist()]
    trunks = [head_turned(25 * math.sin(4 * x - 1) + 20) for x in t.tolist()]
    return make_person(eyes, torch.stack(heads), torch.stack(trunks), **settings)


def turning_away(distance: float, **settings) -> Person:
    t = torch.linspace(0, 1, F, dtype=torch.float64)
    eyes = torch.stack([0 * t, 0 * t - 0.2, distance + 0 * t], dim=-1)
    heads = torch.stack([head_turned(220 * x - 20, 5) for x in t.tolist()])
    trunks = torch.stack([head_turned(195 * x - 15) for x in t.tolist()])
    return make_person(eyes, heads, trunks, **settings)


def estimate(person: Person, **settings) -> HeadPose:
    depth = Depth(person.depth, DepthMeaning.METRIC)
    settings = {"tilt_degrees": 0.0, **settings}
    return estimate_head_pose(person.keypoints, depth, person.camera, LENS, 64, 64, **settings)


def errors(found: HeadPose, person: Person) -> tuple[Tensor, Tensor]:
    """Distances in metres and angles of the viewing directions in degrees [F], [F]."""
    distance = torch.linalg.vector_norm(found.camera.centers - person.eyes, dim=-1)
    return distance, direction_errors(found.camera.rotations.mT, person.rotations)


@pytest.mark.parametrize("distance", [2.0, 3.0, 4.0])
@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (at_work, {"seed": 0}),
        (at_work, {"seed": 1, "size": 0.92}),
        (at_work, {"seed": 2, "missing": range(12, 18)}),
        (turning_away, {"seed": 3}),
    ],
    ids=["noise", "small head", "occluded", "turning away"],
)
def test_5_cm_and_8_degrees(distance, make, settings):
    person = make(distance, **settings)
    found = estimate(person)
    meters, degrees = errors(found, person)
    print(f"median {100 * meters.median():.1f} cm, {degrees.median():.1f} degrees; worst {degrees.max():.0f}")
    assert meters.median() <= 0.05
    assert degrees.median() <= 8
    assert meters.max() < 0.12
    assert degrees.max() < 30
    assert found.filled_frames == tuple(settings.get("missing", ()))


@pytest.mark.parametrize(("make", "most"), [(at_work, 5.04), (turning_away, 5.35)], ids=["at work", "turning away"])
def test_guides_leave_faces_alone_that_are_seen(monkeypatch, make, most):
    """Who sways at work does not walk. `most` degrees were the mean of these people before there were any guides."""
    people = [make(4.0, seed=seed) for seed in range(20, 26)]

    def mean_error() -> float:
        return sum(float(errors(estimate(person), person)[1].median()) for person in people) / len(people)

    found = mean_error()
    walk_of = evidence.walk_of

    def nobody_walks(*given):
        walk = walk_of(*given)
        return replace(walk, speeds=torch.zeros_like(walk.speeds))

    monkeypatch.setattr(evidence, "walk_of", nobody_walks)
    without = mean_error()
    print(f"{found:.2f} degrees, {without:.2f} without walking")
    assert found < most
    assert found < without + 0.3


def test_hidden_faces_are_told_and_trusted_less():
    person = turning_away(3.0)
    found = estimate(person)
    hidden = (person.keypoints.seen[:, : len(HEAD_JOINTS)].sum(dim=1) < 3).nonzero()[:, 0].tolist()
    assert len(hidden) > 5
    assert found.torso_frames == tuple(hidden)
    assert found.confidence[hidden].mean() < 0.6 * found.confidence[: hidden[0]].mean()
    _, degrees = errors(found, person)
    assert degrees[hidden].max() < 30
    assert f"guided by the trunk: {frame_ranges(hidden)}" in found.summary()


def test_filled_frames_have_no_confidence():
    person = at_work(3.0, missing=[0, 1, 9, 20])
    found = estimate(person)
    assert found.filled_frames == (0, 1, 9, 20)
    assert (found.confidence[[0, 1, 9, 20]] == 0).all()
    assert (found.confidence[[2, 10, 21]] > 0.2).all()
    assert "filled from their neighbours: 0-1, 9, 20" in found.summary()
    assert errors(found, person)[0].max() < 0.12


def test_without_noise_little_is_left():
    person = at_work(2.0, noise=0.0)
    meters, degrees = errors(estimate(person, smoothing=0), person)
    assert meters.median() < 0.02
    assert degrees.median() < 4  # the head's own measures, which differ from the model's


def test_the_tilt_bends_the_camera_down_and_nothing_else():
    person = at_work(2.0, n=5)
    level, tilted = estimate(person).camera, estimate(person, tilt_degrees=20).camera
    torch.testing.assert_close(level.centers, tilted.centers)
    turned = level.rotations @ tilted.rotations.mT  # tilted camera's axes in the level one
    expected = vectors_to_matrices(torch.tensor([-math.radians(20), 0, 0], dtype=torch.float64))
    torch.testing.assert_close(turned, expected.expand_as(turned))
    assert (turned[:, 1, 2] > 0.3).all()  # ahead points downwards (y is down)


def test_a_moving_exo_camera():
    """The same clip, told in a world in which the exo camera travels."""
    person = at_work(3.0)
    still = estimate(person, smoothing=0).camera
    t = torch.linspace(0, 1, F, dtype=torch.float64)
    poses = torch.eye(4, dtype=torch.float64).repeat(F, 1, 1)
    poses[:, :3, :3] = vectors_to_matrices(torch.stack([0.1 * t, 0.4 * t, 0 * t], dim=-1))
    poses[:, :3, 3] = torch.stack([t, 0 * t, 0.5 * t], dim=-1)
    moving = replace(person, camera=replace(person.camera, world_to_camera=poses))
    found = estimate(moving, smoothing=0).camera
    again = found.world_to_camera @ torch.linalg.inv(poses)
    # "Down" is one for the clip, so it may differ by what the camera tilts.
    assert (torch.linalg.inv(again)[:, :3, 3] - still.centers).norm(dim=-1).median() < 0.02
    assert direction_errors(again[:, :3, :3].mT, still.rotations.mT).median() < 2


def test_axes_of_an_estimator_decide():
    """With head axes given, as MHR and MediaPipe give them, two joints are enough."""
    person = at_work(3.0, noise=0.0)
    keypoints = person.keypoints
    confidence = keypoints.confidence.clone()
    confidence[:, [Joint.LEFT_EAR, Joint.RIGHT_EAR, Joint.NOSE, Joint.LEFT_SHOULDER]] = 0
    confidence[:, [Joint.LEFT_EYE, Joint.RIGHT_EYE]] = 1
    rays = torch.nn.functional.normalize(person.eyes, dim=-1)
    straight = shortest_turns(rays, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(rays))
    given = Keypoints(keypoints.pixels, confidence, straight @ person.rotations)
    meters, degrees = errors(estimate(replace(person, keypoints=given), smoothing=0), person)
    assert degrees.median() < 1.5
    assert meters.median() < 0.05


def test_a_head_without_depth_of_its_own():
    """Depth at the hips alone, and one joint with given axes: about as far as the body, wherever the fit starts."""
    person = at_work(3.0, noise=0.0, n=5)
    depth = person.depth.clone()
    hips = person.keypoints.pixels[:, Joint.LEFT_HIP, 1].min() - 30
    depth[:, : int(hips)] = 0
    confidence = person.keypoints.confidence.clone()
    confidence[:, [Joint.NOSE, Joint.LEFT_EAR, Joint.RIGHT_EAR, Joint.LEFT_EYE]] = 0
    rotations = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    keypoints = Keypoints(person.keypoints.pixels, confidence, rotations)
    gathered = gather_evidence(keypoints, Depth(depth, DepthMeaning.METRIC), person.camera)
    assert gathered.depths.isnan().all()
    found = fit_heads(gathered, rotations, 2 * person.eyes, log_size=0.0, size_error=0.1)
    torch.testing.assert_close(found.positions[:, 2], gathered.distance, atol=0.05, rtol=0)
    assert (torch.linalg.eigvalsh(found.information)[:, 0] > 0.1).all()


def test_progress_and_cancel():
    person = at_work(3.0, n=3)
    calls = []
    estimate(person, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 50) for done in range(1, 51)]

    def cancel(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        estimate(person, progress=cancel)


def test_a_wall_behind_an_ear_is_no_ear():
    """Joints beside the outline get the depth of the wall; it must not pull the head away."""
    person = at_work(2.5, noise=0.0, n=9)
    pixels = person.keypoints.pixels.clone()
    for joint in (Joint.LEFT_EAR, Joint.RIGHT_EAR):
        away = pixels[:, joint, 0] - pixels[:, Joint.NOSE, 0]
        pixels[:, joint, 0] += 3 * away.sign()
    beside = replace(person, keypoints=replace(person.keypoints, pixels=pixels))
    assert errors(estimate(beside, smoothing=0), person)[0].max() < 0.05


def test_what_does_not_fit_together():
    person = at_work(2.0, n=3)
    depth = Depth(person.depth, DepthMeaning.METRIC)

    def run(keypoints=person.keypoints, depth=depth, camera=person.camera):
        return estimate_head_pose(keypoints, depth, camera, LENS, 64, 64)

    with pytest.raises(ValueError, match="keypoints have 2 frames and the depth 3"):
        run(keypoints=person.keypoints[:2])
    with pytest.raises(ValueError, match="4 poses and the keypoints 3 frames"):
        run(camera=replace(person.camera, world_to_camera=torch.eye(4).repeat(4, 1, 1)))
    with pytest.raises(ValueError, match="Expected metric depth"):
        run(depth=Depth(person.depth, DepthMeaning.INVERSE))
    with pytest.raises(ValueError, match="exo camera has 64 x 64"):
        run(camera=Camera(Pinhole.from_fov(FOV, 64, 64), 64, 64, torch.eye(4)))
    with pytest.raises(ValueError, match="No joint of this person"):
        run(keypoints=Keypoints.none(3))
    outside = replace(person.keypoints, pixels=person.keypoints.pixels + 10 * WIDTH)
    with pytest.raises(ValueError, match="no depth at any joint"):
        run(keypoints=outside)
    confidence = torch.zeros_like(person.keypoints.confidence)
    confidence[:, Joint.NOSE] = 1
    with pytest.raises(ValueError, match="at least three of nose, eyes and ears"):
        run(keypoints=replace(person.keypoints, confidence=confidence))
    assert person.camera.height == HEIGHT


def test_frame_ranges():
    assert frame_ranges(()) == "none"
    assert frame_ranges((4,)) == "4"
    assert frame_ranges((0, 1, 2, 7, 9, 10)) == "0-2, 7, 9-10"
