"""Exo2EgoSyn's component files: format, metadata, shapes."""
