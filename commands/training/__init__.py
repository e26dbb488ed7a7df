"""Train EgoX's LoRA, or a small Wan from nothing."""
