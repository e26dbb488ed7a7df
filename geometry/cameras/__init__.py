"""Cameras, lenses, rotations and trajectories."""
