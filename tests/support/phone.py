"""A portrait clip as a phone writes it, and a person's hand in the editor: each click and each field counts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from .browser import Editor
from .odd_clips import TURNS, turn

# Of the upright picture's quarters: upper left, upper right, lower right, lower left.
QUARTERS = ((220, 40, 40), (40, 200, 40), (225, 225, 225), (40, 60, 220))
PHONE_RATE = Fraction(60000, 1001)


def write_portrait(path: Path, width: int = 180, height: int = 320, seconds: float = 2.0) -> Path:
    """Write an upright clip as HEVC in 10 bit at 59.94 frames a second: stored on its side, with a display matrix."""
    upright = np.zeros((height, width, 3), np.uint8)
    for (down, across), color in zip(((0, 0), (0, 1), (1, 1), (1, 0)), QUARTERS):
        rows = slice(down * height // 2, (down + 1) * height // 2)
        upright[rows, across * width // 2 : (across + 1) * width // 2] = color
    stored = np.ascontiguousarray(np.rot90(upright))  # counterclockwise; the matrix turns it back
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx265", rate=PHONE_RATE)
        stream.width, stream.height, stream.pix_fmt = height, width, "yuv420p10le"
        stream.options = {"x265-params": "log-level=none"}
        for _ in range(round(seconds * PHONE_RATE)):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        file.mux(stream.encode(None))
    return turn(path, TURNS[90])


def quarters_of(image: Any) -> list[tuple[int, int, int]]:
    """Return which of `QUARTERS` the parts of a picture [H, W, 3] in [0, 1] are nearest to; black is no part of it."""
    pixels = np.asarray(image) * 255
    height, width = pixels.shape[:2]
    found = []
    for down, across in ((0, 0), (0, 1), (1, 1), (1, 0)):
        part = pixels[down * height // 2 : (down + 1) * height // 2, across * width // 2 : (across + 1) * width // 2]
        seen = part.reshape(-1, 3)[part.max(axis=-1).reshape(-1) > 30]
        median = np.median(seen, axis=0) if len(seen) else np.zeros(3)
        found.append(min(QUARTERS, key=lambda color: float(np.abs(median - color).sum())))
    return found


class Hand:
    """Clicks and typing of a person; moving the view counts for nothing, as the wheel does."""

    def __init__(self, opened: Editor):
        self.opened, self.page = opened, opened.page
        self.done: list[str] = []

    def click(self, what: Any, name: str) -> None:
        """Click on an element."""
        self.done.append(f"click {name}")
        what.filter(visible=True).first.click()
        self.page.wait_for_timeout(800)

    def look_at(self, title: str) -> None:
        """Bring a node into the middle of the page, at its own size."""
        self.page.evaluate(_LOOK_AT, title)
        self.page.wait_for_timeout(800)

    def delete(self, title: str) -> None:
        """Select a node by its title bar and press Delete."""
        self.done += [f"click {title}", "press Delete"]
        x, y = self.page.evaluate(_TITLE_PLACE, title)
        self.page.mouse.click(x, y)
        self.page.wait_for_timeout(500)
        self.page.keyboard.press("Delete")
        self.page.wait_for_function("(title) => !app.graph._nodes.some((one) => one.title === title)", arg=title)

    def upload(self, title: str, widget: str, file: Path) -> None:
        """Press a node's upload button and choose a file."""
        self.done.append(f"choose {file.name}")
        with self.page.expect_file_chooser() as chooser:
            x, y = self.page.evaluate(_WIDGET_PLACE, [title, widget])
            self.page.mouse.click(x, y)
        chooser.value.set_files(str(file))

    def fill(self, title: str, field: str, text: str) -> None:
        """Type into a node's text box."""
        self.done.append(f"fill {field}")
        x, y = self.page.evaluate(_WIDGET_PLACE, [title, field])
        self.page.mouse.click(x, y)
        self.page.keyboard.type(text)


_LOOK_AT = """async (title) => {
  const node = app.graph._nodes.find((one) => one.title === title);
  const frame = app.canvas.canvas.getBoundingClientRect();
  const scale = 0.8;
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset = [
    frame.width / 2 / scale - node.pos[0] - node.size[0] / 2,
    frame.height / 2 / scale - node.pos[1] - node.size[1] / 2,
  ];
  app.canvas.setDirty(true, true);
}"""

_TITLE_PLACE = """(title) => {
  const node = app.graph._nodes.find((one) => one.title === title);
  const { scale, offset } = app.canvas.ds;
  const frame = app.canvas.canvas.getBoundingClientRect();
  const at = (place, axis) => (place + offset[axis]) * scale;
  return [frame.x + at(node.pos[0] + node.size[0] / 2, 0), frame.y + at(node.pos[1] - 14, 1)];
}"""

# The middle of a widget on the screen: an element of its own, or a part of the canvas.
_WIDGET_PLACE = """([title, name]) => {
  const node = app.graph._nodes.find((one) => one.title === title);
  const widget = node.widgets.find((one) => one.name === name);
  const shown = document.querySelector(`[data-node-id="${node.id}"]`);
  const middle = (one) => {
    const box = one.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  if (shown) {
    const texts = node.widgets.filter((one) => one.element?.tagName === "TEXTAREA" || one.type === "customtext");
    const place = texts.indexOf(widget);
    if (place >= 0) return middle(shown.querySelectorAll("textarea")[place]);
    const files = shown.querySelector("input[type=file]"); // Nodes 2.0: a sign beside the list
    if (files && name === "upload") return middle(files.closest("label") ?? files.parentElement);
    return middle([...shown.querySelectorAll("button")].find((one) => one.textContent.includes(widget.label ?? name)));
  }
  if (widget.element) return middle(widget.element);
  const { scale, offset } = app.canvas.ds;
  const frame = app.canvas.canvas.getBoundingClientRect();
  const [x, y] = [node.pos[0] + node.size[0] / 2, node.pos[1] + (widget.y ?? widget.last_y) + 10];
  return [frame.x + (x + offset[0]) * scale, frame.y + (y + offset[1]) * scale];
}"""
