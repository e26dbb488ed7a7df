"""Exo2EgoSyn's nodes."""
