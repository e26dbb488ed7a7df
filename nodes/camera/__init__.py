"""Nodes that make and write cameras."""
