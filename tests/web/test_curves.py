"""Slopes of the curves, thinning, smoothing and retiming of keys: the page's modules against the package's Python."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.rotations import quaternions_to_matrices
from exo2ego.geometry.cameras.trajectory import Keyframe, Trajectory
from exo2ego.geometry.cameras.trajectory_json import trajectory_from_json, trajectory_to_json
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.head.pose import estimate_head_pose
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.egox.read import read_take
from support.node_js import ask
from support.people import head_turned, make_person

FRAMES = 49
WITHIN = {"metres": 0.01, "degrees": 1.0}
SLOPES = ("tangent_in", "tangent_out", "turn_in", "turn_out")


def head_poses() -> Camera:
    """Return the camera that Head Pose finds for 49 frames of somebody who looks around, from noisy keypoints."""
    t = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    eyes = torch.stack([0.3 * torch.sin(4 * t) - 0.2, -0.2 + 0.03 * torch.sin(9 * t), 3 + 0.2 * t], dim=-1)
    heads = [head_turned(50 * math.sin(4 * x), 25 * math.sin(5 * x) - 5, 8 * math.sin(3 * x)) for x in t.tolist()]
    trunks = [head_turned(25 * math.sin(4 * x - 1) + 20) for x in t.tolist()]
    person = make_person(eyes, torch.stack(heads), torch.stack(trunks), seed=0)
    depth = Depth(person.depth, DepthMeaning.METRIC)
    lens = Pinhole.from_fov(90, 64, 64)
    return estimate_head_pose(person.keypoints, depth, person.camera, lens, 64, 64).camera


def curved(n_keys: int, seed: int) -> Trajectory:
    """Return chance keys, each with some of the slopes that a key may have."""
    chance = torch.Generator().manual_seed(seed)
    frames = sorted(torch.randperm(60, generator=chance)[:n_keys].tolist())
    numbers = torch.randn(n_keys, 19, generator=chance, dtype=torch.float64)
    keys = []
    for frame, row in zip(frames, numbers.tolist()):
        slopes = {name: tuple(row[7 + 3 * i : 10 + 3 * i]) for i, name in enumerate(SLOPES) if row[7 + 3 * i] > -0.3}
        keys.append(Keyframe(frame, tuple(row[:3]), tuple(row[3:7]), abs(row[0]) % 1, abs(row[1]) % 1, **slopes))
    return Trajectory(tuple(keys))


def off(found: Camera, wanted: Camera) -> tuple[float, float]:
    """Return how far two cameras are at most from each other, metres and degrees."""
    metres = float((found.centers - wanted.centers).norm(dim=-1).max())
    turned = found.rotations.double() @ wanted.rotations.double().mT
    cosine = (turned.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return metres, math.degrees(math.acos(float(cosine.min().clamp(-1, 1))))


@pytest.mark.parametrize(("n_keys", "seed"), [(1, 0), (2, 1), (3, 2), (7, 3), (20, 4)])
def test_curves_with_slopes_are_those_of_the_node(n_keys, seed):
    given = curved(n_keys, seed)
    frames = torch.linspace(-2, 62, 150, dtype=torch.float64)
    answer = ask("interpolate", text=trajectory_to_json(given), frames=frames.tolist(), count=60)
    positions, rotations = given.at(frames)
    theirs = torch.tensor([pose["position"] for pose in answer["at"]], dtype=torch.float64)
    assert float((theirs - positions).abs().max()) < 1e-9
    turned = torch.tensor([pose["rotation"] for pose in answer["at"]], dtype=torch.float64)
    assert float((quaternions_to_matrices(turned) - quaternions_to_matrices(rotations)).abs().max()) < 1e-9
    assert trajectory_from_json(ask("rewrite", text=trajectory_to_json(given))) == given


def test_a_turn_leaves_and_arrives_at_the_speed_that_it_has():
    """Measured on the poses: degrees a frame about the camera's own axes, metres a frame in the world."""
    given = curved(4, 7)
    step = 1e-5
    for key, sense, name in [(given.keyframes[1], 1, "out"), (given.keyframes[2], -1, "in")]:
        own = {f"turn_{name}": (1.0, -2.0, 3.0), f"tangent_{name}": (0.1, 0.2, -0.3), f"ease_{name}": 0.0}
        changed = Keyframe(**{**vars(key), **own})
        way = Trajectory(tuple(changed if one is key else one for one in given.keyframes))
        positions, rotations = way.at(torch.tensor([key.frame, key.frame + sense * step], dtype=torch.float64))
        speed = (positions[1] - positions[0]) / (sense * step)
        assert speed.tolist() == pytest.approx([0.1, 0.2, -0.3], abs=1e-3)
        first, second = quaternions_to_matrices(rotations)
        between = first.mT @ second  # nearly 1 + the turn's cross product
        turn = torch.stack([between[2, 1], between[0, 2], between[1, 0]]) / (sense * step)
        assert torch.rad2deg(turn).tolist() == pytest.approx([1, -2, 3], abs=1e-2)


def test_keys_without_slopes_turn_as_before():
    plain = Trajectory(tuple(Keyframe(key.frame, key.position, key.rotation) for key in curved(5, 8).keyframes))
    even = Trajectory(tuple(Keyframe(**{**vars(key), **_even(plain, i)}) for i, key in enumerate(plain.keyframes)))
    frames = torch.linspace(0, 60, 100, dtype=torch.float64)
    ours, theirs = (quaternions_to_matrices(way.at(frames)[1]) for way in (plain, even))
    assert float((ours - theirs).abs().max()) < 1e-9


def _even(way: Trajectory, index: int) -> dict[str, tuple[float, ...]]:
    """Return the turns of a key that are those of the even turns to its neighbors."""
    slopes = ask("slopes", text=trajectory_to_json(way), index=index)
    return {name: tuple(slopes[name]) for name in ("turn_in", "turn_out")}


@pytest.mark.parametrize(
    "slope", [{"tangent_in": [1, 2]}, {"turn_out": [0, 400, 0]}, {"turn_in": "fast"}, {"tangent_out": [1e7, 0, 0]}]
)
def test_slopes_that_make_no_curve_are_refused_on_both_sides(slope):
    content = json.loads(trajectory_to_json(curved(2, 1)))
    content["keyframes"][0] |= slope
    with pytest.raises(ValueError, match=next(iter(slope))):
        trajectory_from_json(json.dumps(content))
    state = ask("edit", steps=[{"text": json.dumps(content)}])
    assert "Keyframe 0" in state["problem"]


def test_49_head_poses_become_at_most_12_keys():
    camera = head_poses()
    dense = Trajectory.from_camera(camera)
    assert len(dense.keyframes) == FRAMES
    thin = trajectory_from_json(ask("thin", text=trajectory_to_json(dense), **WITHIN))
    assert len(thin.keyframes) <= 12
    metres, degrees = off(thin.to_camera(FRAMES), camera)
    assert metres <= 0.01 + 1e-6
    assert degrees <= 1 + 1e-3
    tight = trajectory_from_json(ask("thin", text=trajectory_to_json(dense), metres=0.001, degrees=0.1))
    assert len(thin.keyframes) < len(tight.keyframes) < FRAMES


@pytest.mark.parametrize("name", ["iiith_cooking_57_2_2451_2499", "joker"])
def test_recorded_and_released_heads_become_at_most_12_keys(shared_take, name):
    camera = read_take(shared_take(name)).ego_camera
    dense = Trajectory.from_camera(camera)
    thin = trajectory_from_json(ask("thin", text=trajectory_to_json(dense), **WITHIN))
    assert len(thin.keyframes) <= 12
    metres, degrees = off(thin.to_camera(FRAMES), dense.to_camera(FRAMES))
    assert metres <= 0.01 + 1e-6
    assert degrees <= 1 + 1e-3


def test_smoothing_takes_noise_out_within_the_tolerance():
    chance = torch.Generator().manual_seed(3)
    t = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    calm = torch.stack([0.3 * t, 0.02 * torch.sin(3 * t), 2 * t], dim=-1)
    noisy = calm + 0.003 * torch.randn(FRAMES, 3, generator=chance, dtype=torch.float64)
    way = Trajectory(tuple(Keyframe(i, tuple(p), (1.0, 0.0, 0.0, 0.0)) for i, p in enumerate(noisy.tolist())))
    smooth = trajectory_from_json(ask("smooth", text=trajectory_to_json(way), **WITHIN)).to_camera(FRAMES).centers
    assert _bend(smooth) < 0.1 * _bend(noisy)
    assert float((smooth - noisy).norm(dim=-1).max()) <= 0.01 + 1e-9
    assert float((smooth - calm).norm(dim=-1).mean()) < float((noisy - calm).norm(dim=-1).mean())
    held = trajectory_from_json(ask("smooth", text=trajectory_to_json(way), metres=0.001, degrees=1))
    assert float((held.to_camera(FRAMES).centers - noisy).norm(dim=-1).max()) <= 0.001 + 1e-9


def _bend(places: Tensor) -> float:
    return float(places.diff(dim=0).diff(dim=0).norm(dim=-1).mean())


def test_keys_are_moved_and_scaled_in_time():
    way = Trajectory(tuple(Keyframe(f, (float(f), 0, 0), (1, 0, 0, 0), tangent_in=(1, 0, 0)) for f in (0, 4, 6, 8, 20)))
    text = trajectory_to_json(way)

    def frames(**request: object) -> list[int]:
        made = trajectory_from_json(ask("retime", text=text, chosen=[4, 6, 8], last=48, **request))
        return [key.frame for key in made.keyframes]

    assert frames(by=3) == [0, 7, 9, 11, 20]
    assert frames(by=-10) == [0, 2, 4, 20], "as far as the clip goes; the key at 0 is replaced"
    assert frames(by=3, copy=True) == [0, 4, 6, 7, 8, 9, 11, 20]
    assert frames(end="end", to=12) == [0, 4, 8, 12, 20]
    assert frames(end="start", to=2) == [0, 2, 5, 8, 20]
    assert frames(end="end", to=1) == [0, 4, 5, 6, 20], "never two at one frame"
    made = trajectory_from_json(ask("retime", text=text, chosen=[4, 6, 8], last=48, end="end", to=12))
    assert made.keyframes[2].tangent_in == pytest.approx((0.5, 0, 0)), "twice the time, half the speed"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("hello", "JSON"),
        ("[1, 2]", '"format": "exo2ego.trajectory"'),
        ('{"format": "exo2ego.trajectory", "version": 9}', "Version 9"),
        ('{"format": "exo2ego.trajectory", "version": 1, "lens": {"preset": "my lens"}}', "my lens"),
    ],
)
def test_a_pasted_text_that_is_no_trajectory_is_told(text, told):
    message = ask("pasted", text=text)
    assert message.startswith("This text is not a trajectory as the camera editor copies it")
    assert told in message
