"""Exo reuse: the exo view's keys and values of a step serve the steps after it."""
