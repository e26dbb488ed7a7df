"""What the demo says while it runs: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from exo2ego.commands.comfyui.blocking import Progress

_BAR_FORMAT = "{desc} {bar:30} {n_fmt:>5}/{total_fmt} [{elapsed}]"


class Bars:
    """One progress bar a node, each closed when the next begins."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._title = ""

    def follow(self, progress: Progress) -> None:
        """Show where a run stands."""
        self.show(progress.title, progress.done, progress.total)

    def show(self, title: str, done: float, total: float) -> None:
        """Show `done` of `total` under a title; where nobody looks at a terminal, the title alone."""
        if not sys.stderr.isatty():
            if title != self._title:
                self._title = title
                say(title)
            return
        if self._bar is None or title != self._title:
            self.close()
            self._bar, self._title = tqdm(desc=f"{title:<28.28}", total=1, bar_format=_BAR_FORMAT), title
        if total:
            self._bar.total, self._bar.n = total, done
            self._bar.refresh()

    def close(self) -> None:
        """Fill and close the bar."""
        if self._bar is not None:
            self._bar.n = self._bar.total
            self._bar.refresh()
            self._bar.close()
            self._bar = None


def say(text: str) -> None:
    """Print a line of progress."""
    tqdm.write(f"[demo] {text}", file=sys.stderr)
