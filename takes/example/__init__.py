"""The example room, rendered when asked for."""
