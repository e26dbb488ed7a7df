"""What goes wrong in a batch, told to people."""

from __future__ import annotations


class BatchError(Exception):
    """The whole batch cannot go on: a wrong manifest, folder or command."""


class ServersGoneError(BatchError):
    """No server answers; the same command goes on once one does."""


class ClipError(Exception):
    """One clip cannot be made; the others go on."""
