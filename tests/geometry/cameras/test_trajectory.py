"""Trajectories by keyframes: the formulas frame by frame, text and back, keys from a camera, refusals."""

from __future__ import annotations

import json
import math

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.cameras.trajectory import Keyframe, Trajectory
from exo2ego.geometry.cameras.trajectory_json import MAX_CHARACTERS, trajectory_from_json, trajectory_to_json
from exo2ego.geometry.lenses.pinhole import Pinhole

KEYS = (
    Keyframe(3, (0.0, 1.0, 2.0), (1.0, 0.0, 0.0, 0.0), ease_out=1.0),
    Keyframe(7, (1.0, 1.5, 2.0), (0.0, 0.0, 1.0, 0.0), ease_in=0.25, ease_out=0.5),
    Keyframe(8, (1.0, 0.5, 3.0), (-0.8, 0.1, 0.6, 0.2)),
    Keyframe(20, (-2.0, 0.0, 1.0), (0.5, 0.5, 0.5, 0.5), ease_in=1.0),
)


def expected(keys: tuple[Keyframe, ...], frame: float) -> tuple[list[float], list[float]]:
    """Position and quaternion at a frame, in plain Python as the format describes them."""
    if frame <= keys[0].frame:
        return list(keys[0].position), list(keys[0].rotation)
    if frame >= keys[-1].frame:
        return list(keys[-1].position), list(keys[-1].rotation)
    i = max(number for number, key in enumerate(keys) if key.frame <= frame)
    a, b = keys[i], keys[i + 1]

    def tangent(number: int) -> list[float]:
        before, after = keys[max(number - 1, 0)], keys[min(number + 1, len(keys) - 1)]
        return [(q - p) / (after.frame - before.frame) for p, q in zip(before.position, after.position)]

    length = b.frame - a.frame
    u = (frame - a.frame) / length
    s = (u**3 - 2 * u**2 + u) * (1 - a.ease_out) + (3 * u**2 - 2 * u**3) + (u**3 - u**2) * (1 - b.ease_in)
    position = [
        (2 * s**3 - 3 * s**2 + 1) * p0
        + (s**3 - 2 * s**2 + s) * length * t0
        + (3 * s**2 - 2 * s**3) * p1
        + (s**3 - s**2) * length * t1
        for p0, p1, t0, t1 in zip(a.position, b.position, tangent(i), tangent(i + 1))
    ]
    cosine = sum(p * q for p, q in zip(a.rotation, b.rotation))
    sign = -1 if cosine < 0 else 1
    angle = math.acos(min(1, abs(cosine)))
    weights = (math.sin((1 - s) * angle) / math.sin(angle), sign * math.sin(s * angle) / math.sin(angle))
    return position, [weights[0] * p + weights[1] * q for p, q in zip(a.rotation, b.rotation)]


def test_every_frame_is_where_the_formulas_say():
    trajectory = Trajectory(KEYS)
    frames = torch.arange(-2, 26, 0.25, dtype=torch.float64)
    positions, rotations = trajectory.at(frames)
    for frame, position, rotation in zip(frames.tolist(), positions, rotations):
        where, turned = (torch.tensor(values, dtype=torch.float64) for values in expected(KEYS, frame))
        assert torch.allclose(position, where, atol=1e-12), frame
        assert abs(float(rotation @ turned)) == pytest.approx(1, abs=1e-12), frame


def test_the_camera_stands_at_its_keys_and_looks_their_way():
    camera = Trajectory(KEYS).to_camera(24)
    assert camera.n_frames == 24
    for key in KEYS:
        assert torch.allclose(camera.centers[key.frame], torch.tensor(key.position, dtype=torch.float64), atol=1e-12)
    # Half a turn about y: forward is the world's -z, right its -x, and down stays down.
    assert torch.allclose(
        camera.camera_to_world[7, :3, :3], torch.diag(torch.tensor([-1.0, 1.0, -1.0])).double(), atol=1e-12
    )
    assert torch.equal(camera.world_to_camera[:4], camera.world_to_camera[:1].expand(4, 4, 4)), "held before"
    assert torch.equal(camera.world_to_camera[20:], camera.world_to_camera[20:21].expand(4, 4, 4)), "held after"
    assert camera.lens == preset_lens(LensPreset.EGOX_RELEASE, 448, 448)


@pytest.mark.parametrize(("ease_out", "ease_in"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_ease_is_the_speed_at_a_key(ease_out, ease_in):
    keys = (
        Keyframe(0, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), ease_out=ease_out),
        Keyframe(10, (10.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), ease_in=ease_in),
    )
    x = Trajectory(keys).at(torch.tensor([0.0, 1e-4, 10 - 1e-4, 10.0], dtype=torch.float64))[0][:, 0]
    assert float(x[1] - x[0]) / 1e-4 == pytest.approx(1 - ease_out, abs=1e-3)
    assert float(x[3] - x[2]) / 1e-4 == pytest.approx(1 - ease_in, abs=1e-3)


def test_text_and_back():
    trajectory = Trajectory(KEYS, Pinhole(300.0, 301.0, 200.5, 100.25), 400, 200, {"orbit": [1, 2.5], "lock": True})
    assert trajectory_from_json(trajectory_to_json(trajectory)) == trajectory
    named = Trajectory(KEYS[:1], LensPreset.SCRIPT_DEFAULT, 640, 480)
    again = trajectory_from_json(trajectory_to_json(named))
    assert again == named
    assert again.lens_in_pixels == preset_lens(LensPreset.SCRIPT_DEFAULT, 640, 480)
    fish = Trajectory((), preset_lens(LensPreset.EGOX_RELEASE, 448, 448))
    assert trajectory_from_json(trajectory_to_json(fish)) == fish


@pytest.mark.parametrize("text", ["", "  \n", '{"format": "exo2ego.trajectory", "version": 1}'])
def test_no_keyframes(text):
    trajectory = trajectory_from_json(text)
    assert trajectory == Trajectory()
    with pytest.raises(ValueError, match="at least one key"):
        trajectory.to_camera(5)


def moving_camera(n_frames: int = 40) -> Camera:
    poses = [
        pose_from_angles((math.sin(f / 9), 0.1 * f, 2 - f / 30), (4.0 * f, 10 * math.sin(f / 5), 90 - f))
        for f in range(n_frames)
    ]
    return Camera(Pinhole(200.0, 200.0, 112.0, 112.0), 224, 224, torch.stack(poses))


def test_keys_of_every_frame_give_the_camera_back():
    camera = moving_camera()
    trajectory = Trajectory.from_camera(camera)
    assert len(trajectory.keyframes) == 40
    again = trajectory_from_json(trajectory_to_json(trajectory)).to_camera(40)
    assert torch.allclose(again.world_to_camera, camera.world_to_camera, atol=1e-12)
    assert (again.lens, again.width, again.height) == (camera.lens, 224, 224)


@pytest.mark.parametrize(("metres", "degrees"), [(0.005, 0.3), (0.01, 0.5), (0.1, 180.0), (10.0, 0.5)])
def test_fewer_keys_stay_within_the_tolerance(metres, degrees):
    camera = moving_camera()
    trajectory = Trajectory.from_camera(camera, metres, degrees)
    again = trajectory.to_camera(40)
    assert len(trajectory.keyframes) < 40
    assert float((again.centers - camera.centers).norm(dim=-1).max()) <= metres
    between = again.rotations @ camera.rotations.mT
    cosine = ((between.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2).clamp(-1, 1)
    assert float(torch.rad2deg(cosine.acos()).max()) <= degrees + 1e-5
    looser = Trajectory.from_camera(camera, 3 * metres, 3 * degrees)
    assert len(looser.keyframes) <= len(trajectory.keyframes)


def test_a_fixed_camera_is_one_key():
    trajectory = Trajectory.from_camera(moving_camera()[7], 0.01, 0.1)
    assert [key.frame for key in trajectory.keyframes] == [0]
    camera = trajectory.to_camera(5)
    assert camera.n_frames == 5
    assert torch.allclose(camera.world_to_camera, moving_camera()[7].world_to_camera.expand(5, 4, 4), atol=1e-12)


GOOD = {"frame": 2, "position": [0, 1, 2], "rotation": [1, 0, 0, 0]}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "exo2ego.camera"}, "something else"),
        ({"version": 2}, "version 1, got 2"),
        ({"version": True}, "version 1, got True"),
        ({"width": 0}, "1 to 8192 pixels"),
        ({"height": 1e9}, "1 to 8192 pixels"),
        ({"width": 10.5}, "whole number"),
        ({"width": "448"}, "must be a number"),
        ({"lens": None}, '"lens" is an object'),
        ({"lens": {"preset": "mirror"}}, "Expected the lens preset"),
        ({"lens": {"preset": ["pinhole"]}}, "Expected the lens preset"),
        ({"lens": {"preset": "own coefficients"}}, "Expected the lens preset"),
        ({"lens": {"type": "prism"}}, "lens of type"),
        ({"lens": {"type": ["pinhole"]}}, "lens of type"),
        ({"lens": {"type": "pinhole", "fx": 1, "fy": 1, "cx": 0}}, "lacks a number"),
        ({"lens": {"type": "pinhole", "fx": "1", "fy": 1, "cx": 0, "cy": 0}}, "wrong kind"),
        ({"lens": {"type": "pinhole", "fx": 0, "fy": 1, "cx": 0, "cy": 0}}, "positive focal"),
        ({"lens": {"type": "fisheye624", "focal": 1, "cx": 0, "cy": 0, "radial": 7}}, "wrong kind"),
        ({"view": []}, '"view" is an object'),
        ({"keyframes": {}}, '"keyframes" is a list'),
        ({"keyframes": [GOOD] * 10_001}, "at most 10,000"),
        ({"keyframes": [7]}, "keyframe 0 as an object"),
        ({"keyframes": [{"frame": 1, "position": [0, 0, 0]}]}, "lacks rotation"),
        ({"keyframes": [GOOD, GOOD]}, "Two keyframes are at frame 2"),
        ({"keyframes": [GOOD, {**GOOD, "frame": 1}]}, "1 comes after 2"),
        ({"keyframes": [{**GOOD, "frame": -1}]}, "between 0 and"),
        ({"keyframes": [{**GOOD, "frame": 1.5}]}, "whole number"),
        ({"keyframes": [{**GOOD, "frame": 10**400}]}, "finite number"),
        ({"keyframes": [{**GOOD, "position": [0, 1]}]}, "list of 3 numbers"),
        ({"keyframes": [{**GOOD, "position": [0, 1, "2"]}]}, "must be a number"),
        ({"keyframes": [{**GOOD, "position": [0, 1, True]}]}, "must be a number"),
        ({"keyframes": [{**GOOD, "position": [0, 1, 1e7]}]}, "within 1,000,000 m"),
        ({"keyframes": [{**GOOD, "rotation": [0, 0, 0, 0]}]}, "other than zero"),
        ({"keyframes": [{**GOOD, "rotation": [1e299, 1e299, 0, 0]}]}, "unit length"),
        ({"keyframes": [{**GOOD, "ease_in": 1.5}]}, "between 0 and 1"),
    ],
)  # fmt: skip
def test_refuses_what_is_no_trajectory(change, match):
    content = {"format": "exo2ego.trajectory", "version": 1, "keyframes": [GOOD], **change}
    if match == "unit length":  # large quaternions are quaternions
        (key,) = trajectory_from_json(json.dumps(content)).keyframes
        assert math.hypot(*key.rotation) == pytest.approx(1)
        return
    with pytest.raises(ValueError, match=match):
        trajectory_from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "JSON text"),
        ("[]", "something else"),
        ("[" * 100_000, "JSON text"),
        ('{"format": "exo2ego.trajectory", "version": 1, "width": NaN}', "NaN is not a number"),
        ('{"format": "exo2ego.trajectory", "version": 1, "width": -Infinity}', "Infinity is not a number"),
        ('{"format": "exo2ego.trajectory", "version": 1, "width": 1e999}', "finite number"),
        ('{"format": "exo2ego.trajectory", "version": 1, "width": 1' + "0" * 5000 + "}", "JSON text|finite"),
        (" " + "x" * MAX_CHARACTERS, "at most 1,000,000 characters"),
    ],
)  # fmt: skip
def test_refuses_broken_text(text, match):
    with pytest.raises(ValueError, match=match):
        trajectory_from_json(text)


def test_refuses_keys_beyond_the_clip():
    assert Trajectory(KEYS).to_camera(21).n_frames == 21
    with pytest.raises(ValueError, match=r"keyframe at frame 20, but the clip has 20 frames \(0 to 19\)"):
        Trajectory(KEYS).to_camera(20)
