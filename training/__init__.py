"""Training of EgoX's LoRA, or of a small Wan from nothing, on diffusers, peft and accelerate (the extra `train`)."""
