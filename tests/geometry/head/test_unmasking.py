"""Each witness against a made-up face alone: trunk, depth, walking, and the face's own word."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.body.guides import Walk
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.head.evidence import gather_evidence
from exo2ego.geometry.head.fit import HeadFits
from exo2ego.geometry.head.model import HEAD_POINTS
from exo2ego.geometry.head.openpose import read_openpose
from exo2ego.geometry.head.person_tracks import PersonChoice, follow_person
from exo2ego.geometry.head.unmasking import faces_seen
from exo2ego.geometry.lenses.pinhole import Pinhole
from support.stick_figure import FOCAL, HEIGHT, WIDTH, film

F = 9
TOWARDS = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))  # a head that looks along -z
CAMERA = Camera(Pinhole(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2), WIDTH, HEIGHT, torch.eye(4))


@pytest.fixture(scope="module")
def seen():
    """Evidence of somebody who stands before the camera and looks at it, with flat depth."""
    clip = film([(0.0, 3.0)] * F, 180, camera_down=0, noise=0)
    one = follow_person(read_openpose(clip.keypoints), PersonChoice.LARGEST)
    evidence = gather_evidence(one, Depth(torch.from_numpy(clip.depth), DepthMeaning.METRIC), CAMERA)
    unknown = torch.full_like(evidence.torso.rotations, torch.nan)
    errors = torch.full_like(evidence.torso.facing_errors, torch.inf)
    blind = replace(evidence.torso, rotations=unknown, facing_errors=errors)
    walk = Walk(evidence.walk.directions, torch.zeros(F, dtype=torch.float64))
    return replace(evidence, torso=blind, walk=walk, depths=torch.full_like(evidence.depths, torch.nan))


def fits(turn: torch.Tensor) -> HeadFits:
    places = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64).repeat(F, 1)
    zeros = torch.zeros(F, dtype=torch.float64)
    return HeadFits(turn.repeat(F, 1, 1), places, zeros, zeros, torch.eye(7, dtype=torch.float64).repeat(F, 1, 1))


def trunk(evidence, turn: torch.Tensor):
    errors = torch.full((F,), 0.2, dtype=torch.float64)
    return replace(evidence, torso=replace(evidence.torso, rotations=turn.repeat(F, 1, 1), facing_errors=errors))


def test_without_a_witness_a_face_is_believed(seen):
    assert faces_seen(fits(TOWARDS), seen).all()


def test_a_face_that_looks_away(seen):
    assert not faces_seen(fits(torch.eye(3, dtype=torch.float64)), seen).any()


def test_no_head_turns_around_over_its_trunk(seen):
    assert not faces_seen(fits(TOWARDS), trunk(seen, torch.eye(3, dtype=torch.float64))).any()
    assert faces_seen(fits(TOWARDS), trunk(seen, TOWARDS)).all()


def test_a_nose_behind_the_ears(seen):
    depths = 3.0 - HEAD_POINTS[:, 2].repeat(F, 1)
    assert faces_seen(fits(TOWARDS), replace(seen, depths=depths)).all()
    assert not faces_seen(fits(TOWARDS), replace(seen, depths=6.0 - depths)).any()


def test_flat_depth_and_walking_backwards_together(seen):
    """Either may be: depth is often flat, and people step back; both at once are a back that walks away."""
    flat = replace(seen, depths=torch.full_like(seen.depths, 3.0))
    away = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).repeat(F, 1)
    backwards = Walk(away, torch.ones(F, dtype=torch.float64))
    assert faces_seen(fits(TOWARDS), flat).all()
    assert faces_seen(fits(TOWARDS), replace(seen, walk=backwards)).all()
    assert not faces_seen(fits(TOWARDS), replace(flat, walk=backwards)).any()
    assert faces_seen(fits(TOWARDS), replace(flat, walk=Walk(-away, backwards.speeds))).all()


def test_one_frame_does_not_decide(seen):
    evidence = trunk(seen, TOWARDS)
    rotations = evidence.torso.rotations.clone()
    rotations[4] = torch.eye(3)
    once = replace(evidence, torso=replace(evidence.torso, rotations=rotations))
    assert faces_seen(fits(TOWARDS), once).all()
