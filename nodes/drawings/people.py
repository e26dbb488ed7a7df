"""People drawn over a clip: their boxes with numbers, their limbs, and the chosen one's mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...geometry.people.coco import LIMBS, openpose_body
from .contact_sheet import as_tensor
from .head_axes import drawn_size

# One a person, again from the start after the last; the chosen one's is the first.
_COLORS = (
    *((255, 196, 60), (90, 170, 255), (110, 220, 120), (240, 110, 180), (190, 140, 255), (90, 220, 220)),
    *((255, 140, 80), (200, 220, 90)),
)
_MASK_SHARE = 0.45
_LEAST_CONFIDENCE = 0.3  # joints that are less sure are not drawn


def draw_people(
    frames: Tensor, boxes: Tensor, scores: Tensor, joints: Tensor, chosen: int, mask: Tensor | None = None
) -> Tensor:
    """Draw everybody who was found, with the number that chooses them.

    Args:
        frames: the clip [F, H, W, 3] in [0, 1].
        boxes: [P, F, 4] as left, top, right, bottom in pixels; NaN where somebody is not there.
        scores: the detector's confidence [P, F]; boxes of 0 were filled and are drawn thinner.
        joints: [P, F, 17 or 133, 3] as column, row and confidence.
        chosen: index of the person who is chosen.
        mask: the chosen person's [F, H, W], 0 to 1.

    Returns:
        [F, h, w, 3] in [0, 1], at most 784 pixels wide.
    """
    height, width = frames.shape[1:3]
    wide, high = drawn_size(width, height)
    require_memory(
        4 * FLOAT * (len(frames) + 1) * wide * high, f"A preview of {len(frames)} frames", "Give fewer frames."
    )
    scale = torch.tensor([wide / width, high / height], dtype=torch.float64)
    boxes = boxes * scale.repeat(2)
    body = openpose_body(joints)
    body = torch.cat([body[..., :2] * scale, body[..., 2:]], dim=-1)
    order = [chosen, *(person for person in range(len(boxes)) if person != chosen)]
    colors = {person: _COLORS[place % len(_COLORS)] for place, person in enumerate(order)}
    drawn = torch.empty(len(frames), high, wide, 3)
    for index, frame in enumerate(frames):
        cancel_point()
        picture = _resized(frame[..., :3].movedim(-1, 0), high, wide).movedim(0, -1)
        if mask is not None:
            share = _MASK_SHARE * _resized(mask[index : index + 1], high, wide)[0, ..., None]
            picture = torch.lerp(picture, torch.tensor(colors[chosen]) / 255, share)
        there = [person for person in reversed(order) if bool(boxes[person, index].isfinite().all())]
        drawn[index] = _drawn(
            picture,
            [
                (
                    person + 1,
                    colors[person],
                    boxes[person, index].tolist(),
                    float(scores[person, index]),
                    body[person, index].tolist(),
                )
                for person in there
            ],
        )
    return drawn


def _resized(planes: Tensor, height: int, width: int) -> Tensor:
    """Return planes [C, H, W] at another size."""
    if planes.shape[1:] == (height, width):
        return planes
    return torch.nn.functional.interpolate(planes[None], (height, width), mode="area")[0]


def _drawn(frame: Tensor, people: list[tuple[int, Any, list[float], float, list[list[float]]]]) -> Tensor:
    """Draw people on a frame [H, W, 3]: number, color, box, score and joints of each."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(frame.mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())
    draw = ImageDraw.Draw(picture)
    thick = max(2, picture.width // 250)
    font = ImageFont.load_default(max(12, picture.width // 30))
    for _, color, box, score, joints in people:
        left, top, right, bottom = box
        draw.rectangle([left, top, max(left, right), max(top, bottom)], outline=color, width=thick if score > 0 else 1)
        for a, b in LIMBS:
            if min(joints[a][2], joints[b][2]) >= _LEAST_CONFIDENCE:
                draw.line([*joints[a][:2], *joints[b][:2]], fill=color, width=thick)
        for x, y, confidence in joints:
            if confidence >= _LEAST_CONFIDENCE:
                draw.ellipse([x - thick, y - thick, x + thick, y + thick], fill=color)
    for number, color, box, _, _ in people:  # numbers above everything
        sides = draw.textbbox((0, 0), str(number), font=font)
        wide, high = sides[2] + 2 * thick, sides[3] + 2 * thick
        left = min(max(0.0, box[0]), max(0, picture.width - wide))
        top = min(max(0.0, box[1]), max(0, picture.height - high))
        draw.rectangle([left, top, left + wide, top + high], fill=color)
        draw.text((left + thick, top + thick), str(number), fill=(0, 0, 0), font=font)
    return as_tensor(picture)[0]
