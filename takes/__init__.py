"""Takes on disk and the example room: videos, cameras, depth and prompt."""
