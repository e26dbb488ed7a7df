"""What became of a prompt, and whether that is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .advice import says_what_to_do

# What Python, numpy, torch and libraries say when nobody looked.
RAW = re.compile(
    r"object has no attribute|has no len\(|unsupported operand|not subscriptable|not iterable|not callable"
    r"|index out of range|out of bounds|size mismatch|'?NoneType'?|KeyError|IndexError|TypeError"
    r"|AttributeError|[Ee]xpected [Tt]ensor|expected scalar|is invalid for input|cannot reshape|broadcast"
    r"|\bdtype\b|not supported between|positional argument|keyword argument|must match the size"
    r"|Sizes of tensors|Dimension out of range|mat1 and mat2|could not convert|invalid literal"
    r"|cannot convert float|too many values|not enough values|list indices|unhashable|codec can't"
    r"|surrogates not allowed|Expecting value|Expecting property|Extra data|\[Errno|Errno \d|avcodec|av\.error"
    r"|np\.|numpy\.|torch\.|<class |object at 0x|Traceback|assert|must be real number|float\(\) argument"
    r"|int\(\) argument|not JSON serializable|Input type \(|should be the same|not implemented for|linalg|svd"
    r"|DefaultCPUAllocator|stack expects|can't allocate|Unable to allocate|integer overflow"
    r"|too large to convert|embedded null|zero-size array|expected a non-empty|expected m1|got an unexpected"
    r"|'\w+' object|slice indices|Overflow when|Python int too large|allow_pickle|UnpicklingError"
    r"|is not a valid [A-Z][a-z]+[A-Z]\w*|MetadataIncomplete|HeaderTooLarge|safetensors_rust"
)
# Refusals by ComfyUI itself before anything runs.
_COMFYUI = {
    "required_input_missing", "value_smaller_than_min", "value_bigger_than_max", "value_not_in_list",
    "invalid_input_type", "return_type_mismatch", "bad_linked_input", "exception_during_inner_validation",
}  # fmt: skip
_TYPES = re.compile(r"^(ValueError|.*\b(exo2ego|ComfyUI-Exo2Ego)\b.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """How a prompt ended.

    Attributes:
        kind: "refused" (when it was sent), "failed" (while it ran), "done", "stopped" (interrupted by us) or "hung".
        text: what ComfyUI tells.
        node: the type of the node that it tells of.
        error: the type of the error; of a refusal its kind.
        not_finite: places of the results that hold NaN or infinity.
        spoilt: what the stand-in spoilt, where one did.
        digests: of the results.
    """

    kind: str
    text: str = ""
    node: str = ""
    error: str = ""
    not_finite: tuple[str, ...] = ()
    spoilt: str = ""
    digests: tuple[str, ...] = ()


def refusal(answer: dict[str, Any]) -> Outcome:
    """Return the outcome of an answer with status 400."""
    for entry in answer.get("node_errors", {}).values():
        for error in entry["errors"]:
            if error["type"] in _COMFYUI:
                continue
            return Outcome("refused", str(error["details"]), entry["class_type"], error["type"])
        return Outcome("refused", str(entry["errors"][0]["details"]), entry["class_type"], entry["errors"][0]["type"])
    error = answer.get("error", {})
    return Outcome("refused", f"{error.get('message')}: {error.get('details')}", "", str(error.get("type")))


def ending(history: dict[str, Any]) -> Outcome:
    """Return the outcome of an entry of the history."""
    outputs = history.get("outputs", {})
    spoilt = "; ".join(str(text) for output in outputs.values() for text in output.get("spoilt", ()))
    for name, told in history["status"]["messages"]:
        if name == "execution_error":
            return Outcome(
                "failed", told["exception_message"].strip(), told["node_type"], told["exception_type"], (), spoilt
            )
        if name == "execution_interrupted":
            return Outcome("stopped", spoilt=spoilt)
    found = tuple(place for output in outputs.values() for place in output.get("not_finite", ()))
    digests = tuple(digest for output in outputs.values() for digest in output.get("digests", ()))
    return Outcome("done", not_finite=found, spoilt=spoilt, digests=digests)


def complaint(outcome: Outcome, node: str, words: list[str]) -> str:
    """Return what is wrong with an outcome; empty if it is allowed.

    Args:
        outcome: of a prompt with one bad input.
        node: the type of the node that got it.
        words: one of which the text must have: what the artist reads beside the input, or what the file is called.
    """
    if outcome.kind == "hung":
        return f"hung: {outcome.text}"
    if outcome.kind == "done":
        return f"result holds NaN or infinity: {', '.join(outcome.not_finite)}" if outcome.not_finite else ""
    if outcome.kind == "stopped" or outcome.error in _COMFYUI:
        return ""
    if outcome.node != node:
        return f"{outcome.node or 'ComfyUI'} failed in the place of {node}: {outcome.error}: {outcome.text}"
    if outcome.kind == "refused" and outcome.error != "custom_validation_failed":
        return f"raised while it was checked: {outcome.error}: {outcome.text}"
    text = outcome.text
    if outcome.kind == "failed" and not _TYPES.match(outcome.error):
        return f"raw {outcome.error}: {text}"
    if found := RAW.search(text):
        return f"raw words {found.group()!r}: {text}"
    if len(text.split()) < 6 or text.rstrip()[-1:] not in ".!?)":
        return f"no sentence: {text}"
    if len(text) > 1500:
        return f"{len(text)} characters long: {text[:300]}"
    if not any(word.lower() in text.lower() for word in words):
        return f"does not name the input ({', '.join(words)}): {text}"
    if not says_what_to_do(text):
        return f"does not say what to do: {text}"
    return ""
