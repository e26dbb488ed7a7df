"""Videos beside each other: a contact sheet to look at, a side-by-side video to watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory

if TYPE_CHECKING:
    from PIL import Image

ROW_HEIGHT = 224  # pixels
# Wider images are made lower than their row: a strip of 4000 x 20 pixels would make a sheet of gigabytes.
MOST_ASPECT = 4
GAP = 8
LABEL_HEIGHT = 30
FONT_SIZE = 18
PAPER = (24, 25, 28)
INK = (232, 232, 228)


def contact_sheet(
    rows: Sequence[tuple[str, Tensor | None]],
    times: int = 5,
    row_height: int = ROW_HEIGHT,
    frame_numbers: Sequence[int] | None = None,
) -> Tensor:
    """Lay out several videos at the same moments, one labelled row a video, one column a moment.

    Args:
        rows: (label, frames [F, H, W, 3] in [0, 1]) from top to bottom; a video that is `None` is left out. Lengths
            and sizes may differ: the moments are spread evenly over each video.
        times: number of moments, from the first frame to the last.
        row_height: height in pixels to which every video is scaled; one that would be wider than `MOST_ASPECT` times
            that is scaled to that width.
        frame_numbers: what is written above the columns, where the videos hold chosen frames of a longer one.

    Returns:
        The sheet [1, H, W, 3] in [0, 1].

    Raises:
        ValueError: if no video is given, or `times` is not positive.
    """
    from PIL import Image, ImageDraw, ImageFont

    given = [(label, _checked(frames, label)) for label, frames in rows if frames is not None]
    if not given or times < 1:
        raise ValueError(f"A contact sheet takes at least one video and one moment, got {len(given)} and {times}.")
    sizes = [_cell_size(frames.shape[2], frames.shape[1], row_height) for _, frames in given]
    cell = max(width for width, _ in sizes)
    size = (GAP + times * (cell + GAP), GAP + len(given) * (LABEL_HEIGHT + row_height + GAP))
    require_memory(
        (6 + 3 * FLOAT) * size[0] * size[1],
        f"A contact sheet of {size[0]} x {size[1]} pixels",
        "Lower times, or give narrower images.",
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for row, ((label, frames), (width, height)) in enumerate(zip(given, sizes)):
        top = GAP + row * (LABEL_HEIGHT + row_height + GAP)
        draw.text((GAP, top + 2), label, fill=INK, font=font)
        for column, moment in enumerate(_moments(len(frames), times)):
            cancel_point()
            left = GAP + column * (cell + GAP) + (cell - width) // 2
            picture = Image.fromarray(_on_cpu(frames[moment]).mul(255).round().to(torch.uint8).numpy())
            place = (left, top + LABEL_HEIGHT + (row_height - height) // 2)
            sheet.paste(picture.resize((width, height), Image.Resampling.LANCZOS), place)
            note = f"frame {frame_numbers[column] if frame_numbers else moment}"
            note_width = draw.textlength(note, font=font)
            label_end = GAP + draw.textlength(label, font=font) + GAP
            if left + width - note_width > label_end:  # a long label keeps its place
                draw.text((left + width - note_width, top + 2), note, fill=INK, font=font)
    return as_tensor(sheet)


def as_tensor(picture: Image.Image) -> Tensor:
    """Return an RGB picture as an image [1, H, W, 3] in [0, 1]."""
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(1, picture.height, picture.width, 3).float().div_(255)


def side_by_side(videos: Sequence[Tensor]) -> Tensor:
    """Join videos left to right.

    Args:
        videos: each [F, H, W, 3] in [0, 1]. All are scaled to the first one's height, and the longer ones are cut
            to the length of the shortest.

    Returns:
        One video [F, H, W, 3] in [0, 1].

    Raises:
        ValueError: if no video is given, or one has another shape.
    """
    checked = [_checked(frames, f"video {index}") for index, frames in enumerate(videos)]
    if not checked:
        raise ValueError("Expected at least one video to lay side by side, got none.")
    height = checked[0].shape[1]
    n_frames = min(len(frames) for frames in checked)
    widths = [max(1, round(frames.shape[2] * height / frames.shape[1])) for frames in checked]
    require_memory(
        3 * FLOAT * n_frames * height * sum(widths),
        f"{n_frames} frames of {sum(widths)} x {height} pixels side by side",
        "Give fewer frames, or scale the videos down; the first one sets the height.",
    )
    joined = torch.empty(n_frames, height, sum(widths), 3)
    for frame in range(n_frames):
        parts = joined[frame].split(widths, dim=1)
        for part, frames in zip(parts, checked):
            cancel_point()
            part.copy_(_scaled(_on_cpu(frames[frame]), part.shape[1], height))
    return joined


def _checked(frames: Tensor, name: str) -> Tensor:
    if frames.ndim != 4 or frames.shape[-1] < 3 or 0 in frames.shape:
        raise ValueError(f"Expected {name!r} as frames [F, H, W, 3], got {list(frames.shape)}.")
    return frames


def _on_cpu(frame: Tensor) -> Tensor:
    """Return a frame as [H, W, 3] float32 in [0, 1]; an alpha channel is left out."""
    return frame[..., :3].detach().cpu().float().clamp(0, 1)


def _cell_size(width: int, height: int, row_height: int) -> tuple[int, int]:
    """Return the size of an image on the sheet: as high as the row, but for very wide ones."""
    if width <= MOST_ASPECT * height:
        return max(1, round(row_height * width / height)), row_height
    wide = MOST_ASPECT * row_height
    return wide, max(1, round(wide * height / width))


def _moments(n_frames: int, times: int) -> list[int]:
    """Pick `times` frame numbers from the first to the last."""
    return torch.linspace(0, n_frames - 1, times).round().long().tolist()


def _scaled(frame: Tensor, width: int, height: int) -> Tensor:
    if frame.shape[0] == height:
        return frame
    scaled = torch.nn.functional.interpolate(
        frame.movedim(-1, 0)[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return scaled[0].movedim(0, -1)
