"""EgoX on diffusers' Wan: the forward pass, GGA, the LoRA and sampling."""
