"""Depth: what its numbers mean, alignment over time, what moves."""
