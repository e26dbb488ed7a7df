"""What both methods need of ComfyUI's Wan."""
