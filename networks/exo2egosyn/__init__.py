"""Exo2EgoSyn's networks."""
