"""A prompt through Wan's text encoder, cut before it is encoded.

umt5 reads a text in both directions: vectors of a text that is cut afterwards carry what was cut. EgoX's release cuts
the tokens (511 and the end token), and its parentheses are text.
"""

from __future__ import annotations

from typing import Any

from .prompt import TEXT_TOKENS
from .prompt_fit import FittedPrompt, PromptFit, fit_prompt

_ENCODER = "umt5xxl"  # the name that ComfyUI's Wan tokenizer files tokens under

Token = tuple[Any, float, int]  # a token or an embedding's vector, its weight, and 0 for end and padding


def encode_prompt(clip: Any, text: str, fit: PromptFit) -> tuple[list[Any], FittedPrompt]:
    """Encode a text in at most 511 tokens and the end token.

    Args:
        clip: ComfyUI's CLIP object with Wan's text encoder.
        text: the prompt; may be empty. Parentheses are text, not weights. `embedding:name` works as elsewhere in
            ComfyUI.
        fit: what happens to a longer text.

    Returns:
        The conditioning, vectors [1, 512, 4096], and what the model gets of the text.

    Raises:
        ValueError: if there is no text encoder, or another model's.
    """
    fitted = fit_prompt(text, fit, lambda part: sum(map(_is_text, _tokens(clip, part))), TEXT_TOKENS - 1)
    tokens = [(token, weight) for token, weight, _ in _cut(_tokens(clip, fitted.text), fitted.limit)]
    if any(weight != 1.0 for _, weight in tokens):
        raise ValueError(
            "The text encoder's tokenizer gave weights although they were switched off. Please report the version of "
            "ComfyUI; Clip Text Encode can be used in the meantime."
        )
    return clip.encode_from_tokens_scheduled({_ENCODER: [tokens]}), fitted


def _tokens(clip: Any, text: str) -> list[Token]:
    """Return the tokens of a text with the end token and the padding."""
    if clip is None:
        raise ValueError("There is no text encoder: connect Load CLIP with the type wan (umt5-xxl).")
    # One space between words, as EgoX's release has it: newlines of a layout are no tokens.
    found = clip.tokenize(" ".join(text.split()), return_word_ids=True, disable_weights=True)
    batches = found.get(_ENCODER) if isinstance(found, dict) else None
    if batches is None or len(batches) != 1:
        names = ", ".join(found) if isinstance(found, dict) else type(found).__name__
        raise ValueError(
            f"Wan's prompts need Wan's text encoder (umt5-xxl), but the tokens that came are of: {names}. Load "
            "umt5_xxl_fp8_e4m3fn_scaled.safetensors with Load CLIP and the type wan."
        )
    return batches[0]


def _cut(tokens: list[Token], limit: int) -> list[Token]:
    """Keep the first `limit` tokens of the text, and after them the end token and the padding to the same length."""
    of_text = [token for token in tokens if _is_text(token)]
    return of_text[:limit] + tokens[len(of_text) :]


def _is_text(token: Token) -> bool:
    return token[2] != 0
