"""EgoX's nodes."""
