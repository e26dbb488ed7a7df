"""Long prompts in EgoX's form and tokenizers to count them with.

The vocabulary of umt5 comes with its weights, which tests do not have. The tokenizers here are trained on the text that
they count, to as many tokens a word as umt5 has of English: about 1.35.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PROSE_VOCABULARY = 425
PROMPT_VOCABULARY = 1200  # for the prompts of the shared takes

# (tokens, tokens before the ego block) as far apart as those of the nine prompts of EgoX's examples.
LENGTHS = [(total, start) for total in (585, 700, 830) for start in (332, 400, 465)]

_SUBJECTS = ("the right hand", "the left hand", "a blue cup", "the wooden table", "a person in grey", "the steel pot")
_VERBS = ("moves to", "rests beside", "is placed on", "reaches across", "stands behind", "turns over", "slides along")
_PLACES = ("the cutting board", "a striped box", "the far wall", "the edge of the counter", "a window", "two books")
_JOINTS = ("while", "and then", "until", "as", "so that")


def trained_tokenizer(lines: Iterable[str], vocabulary: int) -> Any:
    """Return a sentencepiece processor (BPE) trained on a few lines; a larger vocabulary has fewer tokens a word."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        num_threads=1,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@cache
def prose_tokenizer() -> Any:
    """Return a tokenizer with about 1.35 tokens a word of `sentence`, as umt5 has of English."""
    rng = random.Random(0)
    return trained_tokenizer([sentence(rng) for _ in range(300)], PROSE_VOCABULARY)


def counter(tokenizer: Any) -> Callable[[str], int]:
    """Return the function that counts a text's tokens as EgoX's release does, white space made plain."""
    return lambda text: len(tokenizer.encode(" ".join(text.split())))


def sentence(rng: random.Random) -> str:
    """Return a sentence of 6 to about 40 words."""
    clauses = [f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_PLACES)}" for _ in range(rng.randint(1, 4))]
    text = clauses[0]
    for clause in clauses[1:]:
        text += f" {rng.choice(_JOINTS)} {clause}"
    return f"{text[0].upper()}{text[1:]}."


def two_blocks(total: int, start: int, count: Callable[[str], int], seed: int = 0) -> str:
    """Return a prompt of about `total` tokens whose ego block begins after about `start`."""
    rng = random.Random(seed)

    def block(view: str, tokens: int) -> str:
        text = f"[{view} view]"
        for label, end in (("Scene Overview", 0.45), ("Action Analysis", 1.0)):
            text += f"\n\n**{label}:**\n{sentence(rng)}"
            for _ in range(50):  # sentences that come nearer
                longer = f"{text} {sentence(rng)}"
                text = longer if count(longer) <= end * tokens else text
        return text

    return f"{block('Exo', start)}\n\n{block('Ego', total - start)}"


def prompts_of_takes(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the prompt of every shared take that has one."""
    for path in sorted(folder.glob("*/meta.json")):
        for value in _values(json.loads(path.read_text(encoding="utf-8")), "prompt"):
            yield path.parent.name, value


def _values(node: Any, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        node = list(node.values())
    for child in node if isinstance(node, list) else []:
        yield from _values(child, key)
