"""Exo2EgoSyn: conditioning and adapters."""
