"""What EgoX's model call tells other patches: which tokens are exo and which are ego."""

from __future__ import annotations

from dataclasses import dataclass

from ..attention.layout import TokenLayout

# Key of EgoX's wrappers, and of `JoinedTokens` in transformer_options during a model call.
EGOX_KEY = "exo2ego"


@dataclass(frozen=True)
class JoinedTokens:
    """The tokens of one model call.

    Attributes:
        layout: their order; in a context window, of the window's frames.
        window: the window's latent frames in the clip, or None where the call holds the whole clip.
    """

    layout: TokenLayout
    window: tuple[int, ...] | None = None


def window_frames(transformer_options: dict) -> tuple[int, ...] | None:
    """Return the latent frames of ComfyUI's current context window, or None."""
    window = transformer_options.get("context_window")
    index_list = getattr(window, "index_list", None)
    if index_list is None or getattr(window, "dim", 2) != 2:
        return None
    return tuple(int(index) for index in index_list)
