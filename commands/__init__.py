"""The commands, beside ComfyUI and not in it; see `main`."""
