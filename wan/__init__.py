"""What patches ComfyUI's Wan."""
