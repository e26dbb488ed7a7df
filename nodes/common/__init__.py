"""Schemas, sockets, progress and previews of all nodes."""
