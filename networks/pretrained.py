"""Networks that transformers loads from a local folder in Hugging Face's layout; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.cancel import cancel_point
from .pretrained_files import Pretrained, fits, missing_files


def load_pretrained(
    folder: Path,
    source: Pretrained,
    model_names: tuple[str, ...],
    processor_names: tuple[str, ...],
    device: torch.device | str,
    dtype: torch.dtype,
) -> tuple[Any, Any]:
    """Load a network and what prepares its pictures.

    Args:
        folder: holds the files of `source`.
        source: which network it is to be.
        model_names: transformers' classes for it, the best first.
        processor_names: transformers' classes for the pictures, the best first.
        device: where the network goes.
        dtype: its numbers.

    Returns:
        The network, which asks whether to go on before each of its layers, and its processor.

    Raises:
        ValueError: if files are missing, truncated or of another network, or transformers does not have it.
    """
    if missing := missing_files(folder, source):
        raise ValueError(
            f"{source.name}'s weights are not complete: {folder} lacks {', '.join(missing)}. Put the files of "
            f"{source.repository} (Hugging Face) there; nothing is downloaded."
        )
    if not fits(source, folder):
        raise ValueError(
            f"{folder} holds another network than {source.name}. Choose another folder, or put the files of "
            f"{source.repository} (Hugging Face) there."
        )
    model_class, processor_class = _class(source, model_names), _class(source, processor_names)
    try:
        # Code that lies beside weights is never run, nor asked about.
        processor = processor_class.from_pretrained(folder, local_files_only=True, **_without_code(processor_names[0]))
        model, report = model_class.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **_of_type(dtype),
            **_without_code(model_names[0]),
        )
    except Exception as error:  # transformers and safetensors raise many kinds for a damaged folder
        told = _told(error)
        raise ValueError(
            f"{source.name}'s weights in {folder} cannot be read: {told} Download them again ({source.repository}), "
            f"and see that transformers is {source.since} or newer."
        ) from error
    # transformers fills keys that are missing with random numbers and only logs it.
    wrong = sorted(str(key) for key in (*report["missing_keys"], *report["mismatched_keys"]))
    if wrong:
        raise ValueError(
            f"The weights in {folder} are not those of {source.name}: {len(wrong)} are missing or of another shape "
            f"(first: {wrong[0]}). Use the files of {source.repository}."
        )
    for module in model.modules():  # on a CPU one picture takes seconds, one answer minutes
        if type(module).__name__.endswith("Layer"):
            module.register_forward_pre_hook(lambda *_: cancel_point())
    return model.to(device, dtype).eval(), processor


def as_bytes(images: Tensor) -> Tensor:
    """Return pictures [F, H, W, 3 or more] in [0, 1] as whole numbers [F, 3, H, W] from 0 to 255."""
    return images[..., :3].mul(255).round_().clamp_(0, 255).to(torch.uint8).movedim(-1, 1)


def _class(source: Pretrained, names: tuple[str, ...]) -> Any:
    """Return the first of some classes that this transformers has."""
    import transformers

    for name in names:
        found = getattr(transformers, name, None)
        # Where a library is missing, transformers has a class in its place that only says so.
        if found is not None and getattr(found, "_backends", None) is None:
            return found
    raise ValueError(
        f"{source.name} needs transformers {source.since} or newer, with torch and torchvision; here is "
        f"{transformers.__version__}, which has no {names[0]}. Update it in the Python that runs ComfyUI: "
        f'pip install "transformers>={source.since}". ComfyUI itself works with it.'
    )


def _without_code(name: str) -> dict[str, bool]:
    """Return what keeps a class from code in the folder; those with a network of their own have no such thing."""
    return {"trust_remote_code": False} if name.startswith("Auto") else {}


def _of_type(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Return how `from_pretrained` is told a network's type, whose name has changed."""
    import transformers

    return {"dtype" if hasattr(transformers.PretrainedConfig(), "dtype") else "torch_dtype": dtype}


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] if isinstance(error, ValueError | OSError) else ""
    return text.rstrip(".") + "." if text else "one of its files holds something else."
