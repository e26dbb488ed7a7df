"""The page: the tables, and for every clip exo, prior, truth, each method's ego view and where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from ...common.safe_text import for_html
from ...common.whole_file import whole_file
from ..evaluate import PRIOR, ClipVideos, Result
from ..pictures import error_map, moments, strip
from .tables import Table, remarks, tables, title

FILE, PICTURES = "index.html", "pictures"
_TIMES, _HEIGHT = 3, 192

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #222; }}
table {{ border-collapse: collapse; margin-bottom: 2em; }}
td, th {{ border-top: 1px solid #ddd; padding: .4em .8em; text-align: left; }}
figure {{ display: inline-block; margin: 0 .6em .6em 0; }} figcaption {{ color: #555; }} img {{ max-width: 100%; }}
</style>
<h1>{title}</h1>
{tables}
{remarks}
{clips}
</html>
"""


class Pictures:
    """Writes the strips of clips as they come.

    Args:
        folder: of the evaluation; images go into `pictures/` in it.
        most: how many clips are shown.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self.clips: list[tuple[str, list[tuple[str, str]]]] = []  # name, and (label, file) from top to bottom

    def add(self, videos: ClipVideos) -> None:
        """Write a clip's strips."""
        if len(self.clips) >= self._most:
            return
        number = len(self.clips) + 1
        prior = None if PRIOR in videos.methods else videos.prior  # once is enough
        rows: list[tuple[str, Tensor | None]] = [("exo", videos.exo), ("ego prior", prior)]
        rows.append(("true ego view", videos.truth))
        for method, ego in videos.methods.items():
            rows += [(method, ego), (f"{method}: error", error_map(ego, videos.truth))]
        shown = []
        for place, (label, frames) in enumerate(rows):
            if frames is None:
                continue
            file = f"{PICTURES}/{number:04}_{place:02}.jpg"  # names of clips and methods need not be names of files
            _write(self._folder / file, strip(frames, moments(len(frames), _TIMES), _HEIGHT))
            shown.append((label, file))
        self.clips.append((videos.name, shown))


def write_page(folder: Path, result: Result, pictures: Pictures) -> Path:
    """Write the page, whole or not at all; returns its path."""
    told = "".join(f"<li>{for_html(line)}</li>" for line in remarks(result))
    page = _PAGE.format(
        title=for_html(title(result)),
        tables="\n".join(_html(table) for table in tables(result)),
        remarks=f"<h2>To know</h2><ul>{told}</ul>" if told else "",
        clips="\n".join(_clips(pictures)),
    )
    path = folder / FILE
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def _clips(pictures: Pictures) -> Iterable[str]:
    for name, shown in pictures.clips:
        yield f"<h2>{for_html(name)}</h2>"
        for label, file in shown:
            label = for_html(label)
            yield f'<figure><figcaption>{label}</figcaption><img loading="lazy" src="{file}" alt="{label}"></figure>'


def _html(table: Table) -> str:
    head = "".join(f"<th>{_cell(cell)}</th>" for cell in table.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in table.rows)
    return f"<h2>{for_html(table.title)}</h2>\n<table><tr>{head}</tr>\n{rows}</table>"


def _cell(cell: str) -> str:
    """Return a cell of Markdown as HTML: whatever is no mark of a rank is text."""
    text = for_html(cell.replace("\\|", "|"))
    text = re.sub(r"^\*\*(.*)\*\*$", r"<b>\1</b>", text)
    return re.sub(r"^&lt;u&gt;(.*)&lt;/u&gt;$", r"<u>\1</u>", text)


def _write(path: Path, pixels: Tensor) -> None:
    from PIL import Image

    with whole_file(path) as unfinished:
        Image.fromarray(pixels.numpy()).save(unfinished, quality=90)
