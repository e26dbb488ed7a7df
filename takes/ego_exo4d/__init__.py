"""Ego-Exo4D takes."""
