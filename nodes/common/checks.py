"""What the widgets and ComfyUI's own sockets take: one rule for each type, named by the type as schemas have it.

A rule gets the input as the schema declares it and the value that arrived. It returns the value for the node, or raises
a ValueError that names the input, what was expected, what arrived and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from ...common.messages import arrived, few
from ...common.wan_grid import LATENT_CHANNELS, TEXT_WIDTH
from ...geometry.finite import first_not_finite

Rule = Callable[[Any, Any], Any]

# A trajectory or matrices of some thousand frames fit; a node that reads texts of many megabytes would seem to hang.
MAX_CHARACTERS = 2_000_000
# Of a file's name with its folders.
MAX_NAME = 1000
_MOST_OPTIONS = 12


def label(declared: Any) -> str:
    """Return how messages call an input."""
    return f"The input '{declared.display_name or declared.id}'"


@contextmanager
def naming(declared: Any) -> Iterator[None]:
    """Have errors of what reads a value name the input."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{label(declared)}: {error}") from error


def unfit(declared: Any, expected: str, found: str, advice: str) -> ValueError:
    """Return the error of a value that an input does not take."""
    return ValueError(f"{label(declared)} takes {expected}; got {found}. {advice}")


# Widgets --------------------------------------------------------------------------------------------------------------


def one_of(declared: Any, options: Sequence[str], value: Any) -> str:
    """Check a choice of an input."""
    if isinstance(value, str) and value in options:
        return value
    if not options:
        raise ValueError(
            f"{label(declared)} has nothing to choose from, got {arrived(value)}. Put the file where its tooltip says "
            "and press R."
        )
    known = few([f"'{option}'" for option in options], _MOST_OPTIONS)
    raise unfit(declared, f"one of {known}", arrived(value).removeprefix("the text "), "Choose one of these.")


def _combo(declared: Any, value: Any) -> str:
    return one_of(declared, list(declared.options or ()), value)


def _whole_number(declared: Any, value: Any) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise unfit(declared, f"a whole number{_range(declared)}", arrived(value), _NUMBER)
    return _in_range(declared, int(value), "a whole number")


def _number(declared: Any, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise unfit(declared, f"a number{_range(declared)}", arrived(value), _NUMBER)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise unfit(declared, f"a finite number{_range(declared)}", arrived(number), _NUMBER)
    return _in_range(declared, number, "a number")


_NUMBER = "Set it on the node, or check the node that it is linked to."


def _in_range(declared: Any, number: Any, what: str) -> Any:
    if not declared.min <= number <= declared.max:
        raise unfit(declared, f"{what}{_range(declared)}", arrived(number), _NUMBER)
    return number


def _range(declared: Any) -> str:
    """Return the limits in words; every number of the pack has both."""
    return f" from {declared.min:,} to {declared.max:,}"


def text(declared: Any, value: Any, most: int = MAX_CHARACTERS) -> str:
    """Check a text of at most `most` characters: one that files, logs and tokenizers can take."""
    if not isinstance(value, str):
        raise unfit(declared, "a text", arrived(value), "Connect a STRING, or write it on the node.")
    if len(value) > most:
        found = f"one of {len(value):,} characters"
        raise unfit(declared, f"a text of at most {most:,} characters", found, "Shorten it.")
    broken = next((place for place, letter in enumerate(value) if letter == "\0" or "\ud800" <= letter <= "\udfff"), -1)
    if broken >= 0:
        found = f"U+{ord(value[broken]):04X} at character {broken}"
        raise unfit(declared, "a text of whole characters", found, "It stands for none: delete it and type it anew.")
    return value


def _switch(declared: Any, value: Any) -> bool:
    if not isinstance(value, bool):
        raise unfit(declared, "true or false", arrived(value), "Set it on the node, or connect a BOOLEAN.")
    return value


# Images ---------------------------------------------------------------------------------------------------------------


def frames(
    declared: Any,
    value: Any,
    channels: Sequence[int] | None = (3, 4),
    *,
    finite: bool = True,
    keep_half: bool = False,
) -> Tensor:
    """Check images [F, H, W, C], and bring those of the GPU or in half precision to float32 on the CPU.

    Args:
        declared: the input.
        value: what arrived.
        channels: the numbers of channels that are fine; None for any.
        finite: whether NaN and infinity are refused.
        keep_half: whether half precision stays, for nodes that take frame after frame.
    """
    count = " or ".join(map(str, channels)) if channels else "channels"
    expected = f"images as a tensor [frames, height, width, {count}] of floating-point numbers"
    advice = "Connect an IMAGE output."
    if not _is_floating(value, 4) or (channels and value.shape[-1] not in channels):
        raise unfit(declared, expected, arrived(value), advice)
    stays = keep_half and value.dtype.itemsize < torch.float32.itemsize
    images = value.detach().to("cpu", value.dtype if stays else torch.float32)
    if finite:
        _refuse_not_finite(declared, images, "frame")
    return images


def _image(declared: Any, value: Any) -> Tensor:
    return frames(declared, value, keep_half=getattr(declared, "keeps_half", False))


def _mask(declared: Any, value: Any) -> Tensor:
    is_mask = is_plain(value) and not value.is_complex() and 0 not in value.shape
    if not is_mask or not (value.ndim in (2, 3) or (value.ndim == 4 and value.shape[-1] == 1)):
        expected = "a mask as a tensor [frames, height, width]"
        raise unfit(declared, expected, arrived(value), "Connect a MASK output, or convert the image to a mask.")
    mask = value.detach().to("cpu")
    _refuse_not_finite(declared, mask[None] if mask.ndim == 2 else mask, "frame")
    return mask.float() if mask.is_floating_point() else mask


def _is_floating(value: Any, dimensions: int) -> bool:
    return is_plain(value) and value.is_floating_point() and value.ndim == dimensions and 0 not in value.shape


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor with numbers in it, one beside the other: no sparse one, none of the meta device."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def _refuse_not_finite(declared: Any, values: Tensor, what: str) -> None:
    if (first := first_not_finite(values)) is not None:
        raise ValueError(
            f"{label(declared)} takes finite numbers; {what} {first} of {len(values)} (counted from 0) holds NaN or "
            "infinity. The node that made it failed there, often by an overflow in half precision: look at its result, "
            "or run it in a higher precision."
        )


# Latents, conditioning, models ----------------------------------------------------------------------------------------


def _latent(declared: Any, value: Any) -> Mapping[str, Any]:
    samples = value.get("samples") if isinstance(value, Mapping) else None
    if not _is_floating(samples, 5) or samples.shape[1] != LATENT_CHANNELS:
        found = arrived(value) if samples is None else f"samples as {arrived(samples)}"
        expected = f"a latent of Wan, with samples [batch, {LATENT_CHANNELS}, frames, height, width]"
        raise unfit(declared, expected, found, "Connect the LATENT of the node that its tooltip names.")
    _refuse_not_finite(declared, samples, "item")
    return value


def _conditioning(declared: Any, value: Any) -> Any:
    expected = f"conditioning: a list of [tensor [batch, tokens, {TEXT_WIDTH}], dictionary]"
    advice = "Encode the prompt with Wan's text encoder: Load CLIP with the type wan."
    if not isinstance(value, list | tuple) or not value:
        raise unfit(declared, expected, arrived(value), advice)
    for number, entry in enumerate(value):
        is_pair = isinstance(entry, list | tuple) and len(entry) == 2 and isinstance(entry[1], Mapping)
        if not is_pair or not _is_floating(entry[0], 3) or entry[0].shape[2] != TEXT_WIDTH:
            found = arrived(entry[0]) if is_pair else arrived(entry)
            raise unfit(
                declared, expected, f"entry {number} with {found}" if is_pair else f"as entry {number} {found}", advice
            )
        _refuse_not_finite(declared, entry[0], "item")
        _check_extras(declared, entry[1])
    return value


# What conditioning carries beside the text and ComfyUI's Wan reads when it samples: which tensor, and its dimensions.
_EXTRAS = {
    "concat_latent_image": ("a tensor [batch, channels, frames, height, width]", 5, lambda part: part),
    "concat_mask": ("a tensor [batch, 1 or 4, frames, height, width]", 5, lambda part: part),
    "clip_vision_output": (
        "an image encoder's output",
        3,
        lambda part: getattr(part, "penultimate_hidden_states", None),
    ),
}


def _check_extras(declared: Any, extras: Mapping[str, Any]) -> None:
    for key, (expected, dimensions, tensor_of) in _EXTRAS.items():
        part = extras.get(key)
        if part is None:
            continue
        if not _is_floating(tensor := tensor_of(part), dimensions):
            advice = "Connect CONDITIONING of Encode Prompt, EgoX Conditioning or Exo2EgoSyn Conditioning."
            raise unfit(declared, f"conditioning whose {key} is {expected}", arrived(part), advice)
        _refuse_not_finite(declared, tensor, "item")


def _model(declared: Any, value: Any) -> Any:
    expected, advice = "a diffusion model (MODEL)", "Connect Load Diffusion Model, or what patches its model."
    if not callable(getattr(value, "get_model_object", None)) or not callable(getattr(value, "clone", None)):
        raise unfit(declared, expected, arrived(value), advice)
    try:
        value.get_model_object("diffusion_model")
    except AttributeError as error:
        raise unfit(declared, expected, f"{arrived(value)} without one", advice) from error
    return value


def _with_methods(expected: str, methods: Sequence[str], advice: str) -> Rule:
    def rule(declared: Any, value: Any) -> Any:
        if any(not callable(getattr(value, method, None)) for method in methods) or isinstance(value, str):
            raise unfit(declared, expected, arrived(value), advice)
        return value

    return rule


_VAE_ADVICE = "Load wan_2.1_vae.safetensors with Load VAE."
_any_vae = _with_methods("Wan 2.1's VAE", ("encode", "decode"), _VAE_ADVICE)


def _vae(declared: Any, value: Any) -> Any:
    vae = _any_vae(declared, value)
    channels, dimensions = getattr(vae, "latent_channels", LATENT_CHANNELS), getattr(vae, "latent_dim", 3)
    if (channels, dimensions) != (LATENT_CHANNELS, 3):
        kind = {2: "images", 3: "video"}.get(dimensions, "something else")
        raise unfit(declared, "Wan 2.1's VAE", f"one for {kind} with {channels} latent channels", _VAE_ADVICE)
    return vae


_clip = _with_methods(
    "a text encoder (CLIP)", ("tokenize", "encode_from_tokens_scheduled"), "Connect Load CLIP with the type wan."
)
_clip_vision = _with_methods(
    "an image encoder (CLIP_VISION)", ("encode_image",), "Connect Load CLIP Vision with clip_vision_h."
)

CORE_RULES: dict[str, Rule] = {
    "COMBO": _combo,
    "INT": _whole_number,
    "FLOAT": _number,
    "STRING": text,
    "BOOLEAN": _switch,
    "IMAGE": _image,
    "MASK": _mask,
    "LATENT": _latent,
    "CONDITIONING": _conditioning,
    "MODEL": _model,
    "VAE": _vae,
    "CLIP": _clip,
    "CLIP_VISION": _clip_vision,
}
