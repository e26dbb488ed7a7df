"""The two-view text prompt that EgoX was trained with (paper section F.4, Table 6)."""

from __future__ import annotations

# Wan's text encoder reads this many tokens; EgoX's release cuts what is longer.
TEXT_TOKENS = 512

# umt5 makes about this many tokens of an English word; only used where no text encoder is at hand to count.
_TOKENS_PER_WORD = 1.35


def two_view_prompt(exo_scene: str, exo_action: str, ego_scene: str, ego_action: str) -> str:
    """Lay out four descriptions as EgoX's two-block prompt.

    Args:
        exo_scene: the room and its objects as the third-person camera sees them.
        exo_action: what the person and their hands do, over the clip.
        ego_scene: the same room as the person sees it.
        ego_action: the same actions as the person sees them.

    Raises:
        ValueError: if nothing at all is described.
    """
    if not any(text.strip() for text in (exo_scene, exo_action, ego_scene, ego_action)):
        raise ValueError(
            "The prompt is empty. Describe scene and action for both views, or give the VLM instruction and a few "
            "frames to a vision-language model and paste its answer."
        )
    return f"{_block('Exo view', exo_scene, exo_action)}\n\n{_block('Ego view', ego_scene, ego_action)}"


def _block(view: str, scene: str, action: str) -> str:
    return f"[{view}]\n**Scene Overview:**\n{scene.strip()}\n\n**Action Analysis:**\n{action.strip()}"


def estimated_tokens(prompt: str) -> int:
    """Estimate how many tokens the text encoder makes of a prompt."""
    return round(len(prompt.split()) * _TOKENS_PER_WORD)
