"""Clips as phones, cameras and 3D programs write them: any part, at any rate and size, and what was done to them."""
