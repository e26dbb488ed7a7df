"""What EgoX's model call and GGA agree on in transformer_options."""

from __future__ import annotations

# Key of EgoX's wrappers; during a model call, key of the `TokenLayout` of its joined tokens.
EGOX_KEY = "exo2ego"


def window_frames(transformer_options: dict) -> tuple[int, ...] | None:
    """Return the latent frames of ComfyUI's current context window, or None."""
    window = transformer_options.get("context_window")
    index_list = getattr(window, "index_list", None)
    if index_list is None or getattr(window, "dim", 2) != 2:
        return None
    return tuple(int(index) for index in index_list)
