"""ComfyUI from outside: its HTTP API, a headless server, its workflows."""
