"""Head Pose with a real detector's keypoints against the released trajectories of three takes."""

from __future__ import annotations

import pytest

from support.released_heads import measure_take


@pytest.mark.parametrize(
    ("take", "degrees", "metres"),
    [("joker", 12, 0.15), ("iiith_cooking_57_2_2451_2499", 12, 0.15), ("tabletennis", 25, 0.30)],
)
def test_gaze_of_a_real_detectors_keypoints(shared_take, take, degrees, metres):
    measured = measure_take(shared_take(take))
    assert measured.degrees.median() <= degrees
    assert measured.metres.median() <= metres


def test_a_face_that_turns_away_while_the_detector_stays_in_profile(shared_take):
    """joker's last frames: up to 65 degrees off, and the detector is sure of all five joints."""
    measured = measure_take(shared_take("joker"))
    assert measured.degrees[38:].median() > 30
    assert measured.found.confidence[38:].mean() < 0.4
    assert measured.found.confidence[:34].min() > 0.6


def test_a_person_from_behind_is_a_warning(shared_take):
    """All of the detector's faces of this take are made up, and it is sure of every one."""
    found = measure_take(shared_take("tabletennis")).found
    assert found.summary().startswith("No face seen in any of 49 frames")
    assert found.torso_frames == tuple(range(49))
    assert found.confidence.mean() < 0.2
    assert any("Mean confidence" in text for text in found.warnings())


def test_a_head_that_is_too_small_is_told(shared_take):
    found = measure_take(shared_take("joker")).found
    assert "face in 49" in found.summary() or "face in 4" in found.summary()
    assert any("scale contradicts" in text for text in found.warnings())
