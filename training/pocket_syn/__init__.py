"""Exo2EgoSyn at the pocket's size: its three stages on the pocket transformer, trained on random rooms."""
