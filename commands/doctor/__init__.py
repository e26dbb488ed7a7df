"""Checks a ComfyUI installation for this pack; reads only, needs neither a GPU nor a running ComfyUI.

One theme a file: `versions`, `models`, `components`, `memory`, `lora_keys`, `server_nodes`, `other_packs`. What they
read: `installation`, `library`, `known_models`, `workflows`, `machine`.
"""
