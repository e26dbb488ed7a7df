"""Contact sheets, charts and maps for previews: without ComfyUI."""
