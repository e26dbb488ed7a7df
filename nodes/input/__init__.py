"""Nodes that load takes and keypoints."""
