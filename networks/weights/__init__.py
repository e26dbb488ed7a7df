"""Files of weights: kinds of Wan, LoRA keys, headers. Without ComfyUI."""
