"""Translations of what the editor shows of the nodes."""
