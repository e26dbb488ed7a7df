"""EgoX: conditioning, LoRA, geometry-guided attention."""
