"""Scores generated ego videos against the true ones."""
