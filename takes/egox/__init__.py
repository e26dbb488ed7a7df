"""EgoX's dataset layout, read and written."""
