"""The doctor's checks, one theme a file."""
