"""Cameras, lenses, depth, point clouds, rendering and directions: pure torch."""
