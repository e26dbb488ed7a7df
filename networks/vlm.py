"""A local vision-language model that writes about pictures, through transformers; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.cancel import cancel_point
from ..common.memory import FLOAT, require_memory
from .pretrained import as_bytes, load_pretrained
from .pretrained_files import CAPTION

# Pixels of a picture's longer side: more makes more tokens, and tells these models little.
LONGEST_SIDE = 768
# Tokens of an answer: 512 of the prompt's, more finely cut perhaps.
MOST_TOKENS = 900


@torch.inference_mode()
def write_about(
    images: Tensor,
    request: str,
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    most_tokens: int = MOST_TOKENS,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Have a model answer a request about pictures, always with its likeliest words.

    Args:
        images: [F, H, W, 3] in [0, 1], in their order.
        request: what is asked.
        folder: the model's files: any of transformers' image-text-to-text models with a chat template.
        device: where the network runs; it is loaded for this call and released after it.
        dtype: the network's type.
        most_tokens: where the answer is cut off.
        progress: called with (tokens so far, the most).

    Returns:
        The answer.

    Raises:
        ValueError: if files are missing, torn or of another network, or the model cannot be talked to.
    """
    pictures = _pictures(images)
    names = ("AutoModelForImageTextToText", "AutoModelForVision2Seq")
    model, processor = load_pretrained(Path(folder), CAPTION, names, ("AutoProcessor",), device, dtype)
    if getattr(processor, "chat_template", None) is None or not hasattr(processor, "tokenizer"):
        raise ValueError(
            f"The model in {folder} has no chat template, so it cannot be asked. Use one that follows instructions, "
            f"such as {CAPTION.repository}."
        )
    content = [*({"type": "image"} for _ in pictures), {"type": "text", "text": request}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=[text], images=pictures, return_tensors="pt").to(device)
    inputs = {name: value.to(dtype) if _is_floating(value) else value for name, value in inputs.items()}
    length = inputs["input_ids"].shape[1]
    answer = model.generate(
        **inputs,
        max_new_tokens=most_tokens,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        stopping_criteria=_watch(length, most_tokens, progress),
    )
    return str(processor.tokenizer.decode(answer[0, length:], skip_special_tokens=True)).strip()


def _pictures(images: Tensor) -> list[Any]:
    """Return pictures as Pillow's, made smaller where they are large."""
    from PIL import Image

    n_frames, height, width = images.shape[:3]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    require_memory(4 * FLOAT * 3 * n_frames * size[0] * size[1], f"{n_frames} pictures", "Give fewer frames.")
    pictures = []
    for image in images[..., :3]:
        planes = image.movedim(-1, 0)[None]
        if size != (height, width):
            planes = torch.nn.functional.interpolate(planes, size, mode="area")
        pictures.append(Image.fromarray(as_bytes(planes.movedim(1, -1))[0].movedim(0, -1).contiguous().numpy()))
    return pictures


def _watch(length: int, most: int, progress: Callable[[int, int], None] | None) -> list[Any]:
    """Return what counts tokens, and may cancel, as one of generate's stopping criteria."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Watch(StoppingCriteria):
        def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
            cancel_point()
            if progress is not None:
                progress(min(most, input_ids.shape[1] - length), most)
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([Watch()])


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
