"""POSE_KEYPOINT as different packs write it."""

from __future__ import annotations

import copy

import pytest
import torch

from exo2ego.geometry.head.keypoints import Joint, Keypoints, Limb
from exo2ego.geometry.head.openpose import openpose_frames, read_openpose

WIDTH, HEIGHT = 640, 480
# Index of the joints in OpenPose's two bodies, by its documentation.
COCO = {"NOSE": 0, "NECK": 1, "RIGHT_SHOULDER": 2, "LEFT_SHOULDER": 5, "RIGHT_HIP": 8, "LEFT_HIP": 11}
COCO |= {"RIGHT_EYE": 14, "LEFT_EYE": 15, "RIGHT_EAR": 16, "LEFT_EAR": 17}
BODY_25 = {"NOSE": 0, "NECK": 1, "RIGHT_SHOULDER": 2, "LEFT_SHOULDER": 5, "RIGHT_HIP": 9, "LEFT_HIP": 12}
BODY_25 |= {"RIGHT_EYE": 15, "LEFT_EYE": 16, "RIGHT_EAR": 17, "LEFT_EAR": 18}


def numbered(n_joints: int, scale: tuple[float, float] = (1.0, 1.0)) -> list[float]:
    """Joint i lies at (10 + i, 20 + 2 i)."""
    return [value for i in range(n_joints) for value in ((10 + i) / scale[0], (20 + 2 * i) / scale[1], 0.8)]


def frame(*people: dict, size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> dict:
    content: dict = {"people": list(people)}
    if size:
        content |= {"canvas_width": size[0], "canvas_height": size[1]}
    return content


@pytest.mark.parametrize(("n_joints", "places"), [(18, COCO), (25, BODY_25)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (WIDTH, HEIGHT)], ids=["pixels", "shares"])
def test_both_bodies_in_pixels_and_in_shares(n_joints, places, scale):
    people = read_openpose([frame({"pose_keypoints_2d": numbered(n_joints, scale)})])
    for name, place in places.items():
        expected = torch.tensor([10.0 + place, 20.0 + 2 * place], dtype=torch.float64)
        torch.testing.assert_close(people.frames[0].pixels[0, Joint[name]], expected)
    assert (people.frames[0].confidence == 0.8).all()
    assert (people.width, people.height) == (WIDTH, HEIGHT)


def test_what_is_not_found_does_not_count():
    body = numbered(18)
    body[0:3] = [0.0, 0.0, 0.0]  # nose: as OpenPose writes it
    body[3:6] = [-1.0, -1.0, 0.9]  # neck: as SDPose writes it
    body[42:45] = [30.0, 40.0, 0.02]  # right eye: a guess
    body[45:48] = [None, None, None]  # left eye
    people = read_openpose([frame({"pose_keypoints_2d": body})])
    seen = people.frames[0].seen[0]
    missing = {joint for joint in Joint if not seen[joint]}
    assert missing == {Joint.NOSE, Joint.NECK, Joint.RIGHT_EYE, Joint.LEFT_EYE}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300, "nan"])
def test_numbers_that_are_not_finite_are_refused(bad):
    body = numbered(18)
    body[4] = bad
    good = frame({"pose_keypoints_2d": numbered(18)})
    with pytest.raises(ValueError, match="keypoints of frame 1 hold NaN, infinity or numbers beyond"):
        read_openpose([good, frame({"pose_keypoints_2d": body})])


@pytest.mark.parametrize(
    "bad", [5, "joints", {"x": 1}, [[1, 2, 3]], [object()], torch.zeros(18, 3), 10**400, [10**400]]
)
def test_joints_that_are_not_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="frame 0"):
        read_openpose([frame({"pose_keypoints_2d": bad})])


def test_a_face_is_more_exact_than_a_body():
    face = [value for i in range(70) for value in (100.0 + i, 200.0, 0.9)]
    people = read_openpose([frame({"pose_keypoints_2d": numbered(18), "face_keypoints_2d": face})])
    pixels = people.frames[0].pixels[0]
    assert pixels[Joint.NOSE].tolist() == [130.0, 200.0]
    assert pixels[Joint.RIGHT_EYE].tolist() == [138.5, 200.0]
    assert pixels[Joint.LEFT_EYE].tolist() == [144.5, 200.0]
    assert pixels[Joint.LEFT_EAR].tolist() == [27.0, 54.0]
    face[30 * 3 + 2] = 0.1  # an unsure tip of the nose
    people = read_openpose([frame({"pose_keypoints_2d": numbered(18), "face_keypoints_2d": face})])
    assert people.frames[0].pixels[0, Joint.NOSE].tolist() == [10.0, 20.0]


def test_empty_frames_and_batches_of_one():
    person = {"pose_keypoints_2d": numbered(18), "face_keypoints_2d": None}
    people = read_openpose([[frame(person)], frame(), frame({"pose_keypoints_2d": [], "face_keypoints_2d": None})])
    assert [len(found) for found in people.frames] == [1, 0, 0]
    assert read_openpose(frame(person)).n_frames == 1


def test_the_size_may_come_from_elsewhere():
    content = [frame({"pose_keypoints_2d": numbered(18)}, size=None)]
    assert read_openpose(content, (100, 50)).width == 100
    with pytest.raises(ValueError, match="canvas_width"):
        read_openpose(content)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (None, "one dictionary a frame"),
        ("text", "one dictionary a frame"),
        ([], "one dictionary a frame"),
        ([{"persons": []}], 'frame 0 as a dictionary with a list "people"'),
        ([frame(), 7], 'frame 1 as a dictionary with a list "people"'),
        ([frame({"pose_keypoints_2d": [1.0] * 51})], "17 body joints; expected 18 or 25"),
        ([frame({"pose_keypoints_2d": [1.0] * 53})], "not triples"),
        ([frame({"pose_keypoints_2d": ["a"] * 54})], "not a list of numbers"),
        ([frame("somebody")], "every person of the keypoints' frame 0 as a dictionary"),
        ([frame(), frame(size=(10, 10))], "canvas sizes differ"),
    ],
)
def test_what_is_refused(payload, message):
    with pytest.raises(ValueError, match=message):
        read_openpose(payload)


def test_written_and_read_again():
    generator = torch.Generator().manual_seed(1)
    one = Keypoints.none(3)
    pixels = 100 + 50 * torch.rand(one.pixels.shape, generator=generator, dtype=torch.float64)
    confidence = torch.rand(one.confidence.shape, generator=generator, dtype=torch.float64).clamp_min(0.2)
    confidence[1] = 0
    confidence[2, Joint.NOSE] = 0
    written = openpose_frames(Keypoints(pixels, confidence, one.rotations), WIDTH, HEIGHT)
    before = copy.deepcopy(written)
    people = read_openpose(written)
    assert written == before
    assert [len(found) for found in people.frames] == [1, 0, 1]
    for index in (0, 2):
        found = people.frames[index]
        torch.testing.assert_close(found.confidence[0], confidence[index])
        torch.testing.assert_close(found.pixels[0][found.seen[0]], pixels[index][found.seen[0]])


@pytest.mark.parametrize("joints", [18, 25])
def test_arms_and_legs(joints):
    """Numbered as OpenPose's documentation draws them; the body of 25 has its legs one further."""
    flat = [number for joint in range(joints) for number in (10 * joint + 10, 5, 0.9)]
    frame = {"people": [{"pose_keypoints_2d": flat}], "canvas_width": 640, "canvas_height": 360}
    limbs = read_openpose([frame]).frames[0].limbs[0]
    later = 1 if joints == 25 else 0
    expected = {"LEFT_ELBOW": 6, "RIGHT_ELBOW": 3, "LEFT_WRIST": 7, "RIGHT_WRIST": 4}
    expected |= {"LEFT_KNEE": 12 + later, "RIGHT_KNEE": 9 + later, "LEFT_ANKLE": 13 + later, "RIGHT_ANKLE": 10 + later}
    assert {limb.name: round(float(limbs[limb, 0] - 10) / 10) for limb in Limb} == expected
    half = read_openpose([frame]).resized(320, 180).frames[0].limbs[0]
    assert torch.equal(half[:, :2] * 2, limbs[:, :2])


def test_points_of_a_hand_take_the_wrists_place():
    body = [50.0, 60.0, 0.9] * 18
    hand = [200.0, 100.0, 0.8] * 20 + [0.0, 0.0, 0.0]
    person = {"pose_keypoints_2d": body, "hand_left_keypoints_2d": hand, "hand_right_keypoints_2d": None}
    frame = {"people": [person], "canvas_width": 640, "canvas_height": 360}
    limbs = read_openpose([frame]).frames[0].limbs[0]
    assert limbs[Limb.LEFT_WRIST].tolist() == pytest.approx([200, 100, 0.8])
    assert limbs[Limb.RIGHT_WRIST].tolist() == pytest.approx([50, 60, 0.9])
