"""Encoded clips: what they are, their cache, and the order in which they are seen."""
