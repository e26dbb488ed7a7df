"""Viewing directions of latent tokens, from cameras and depth."""
