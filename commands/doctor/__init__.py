"""Checks a ComfyUI installation for this pack; reads only, needs neither a GPU nor a running ComfyUI."""
