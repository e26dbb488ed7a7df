"""Nodes that give depth."""
