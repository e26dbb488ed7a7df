"""Nodes of points and the ego prior."""
