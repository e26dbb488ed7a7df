"""Measures what GGA and EgoX cost on this machine's card. Loads no torch itself: the measuring process does."""
