"""Geometry-guided attention: the bias and its back ends, pure torch."""
