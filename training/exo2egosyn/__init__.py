"""Exo2EgoSyn's training: EgoExo-Align, and the stages on Wan 2.2."""
