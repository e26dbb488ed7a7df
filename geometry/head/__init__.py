"""The head's pose from keypoints and depth."""
