"""The report of a batch: one HTML file beside the outputs, one row a clip."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...common.safe_text import for_html
from ...common.whole_file import whole_file
from .errors import BatchError
from .journal import FILE as JOURNAL
from .journal import Clip, Journal
from .outputs import CLIPS, refuse_other

FILE = "report.html"
_COVERAGE = ".coverage_percent"
_PICTURES, _VIDEOS = (".png", ".jpg", ".jpeg", ".webp"), (".mp4", ".webm", ".mov")
_HASH_LETTERS = 12

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Batch of {total} clips</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #222; }}
table {{ border-collapse: collapse; }}
td, th {{ border-top: 1px solid #ddd; padding: .5em .8em; text-align: left; vertical-align: top; }}
img, video {{ max-width: 24em; max-height: 14em; }}
pre {{ white-space: pre-wrap; max-width: 50em; margin: 0; color: #a00; }}
.failed {{ background: #fff3f3; }} small {{ color: #777; }}
</style>
<h1>{total} clips: {counts}</h1>
<p>Written {now}. Seconds are the server's, from the first node to the last.</p>
<table><tr><th>clip</th><th>state</th><th>seconds</th><th>coverage</th><th>outputs</th></tr>
{rows}
</table></html>
"""


def refuse_foreign_report(folder: Path) -> None:
    """Raise BatchError if there is a report that this program did not write, or whose journal is gone."""
    path = folder / FILE
    refuse_other(path)
    if not path.exists():
        return
    head = _PAGE.partition("{total}")[0].encode()
    with open(path, "rb") as file:
        ours = file.read(len(head)) == head
    if not ours or not (folder / JOURNAL).exists():
        why = f"its {JOURNAL} is missing" if ours else "it is not the report of a batch"
        raise BatchError(
            f"{path} would be replaced, but {why}. Nothing was changed. Move it away, take another --out, or give "
            "`run --start-over`, which moves all that is there aside and begins anew."
        )


def write_report(folder: Path, journal: Journal) -> Path:
    """Write the report, whole or not at all; returns its path."""
    clips = journal.clips()
    counts = ", ".join(f"{count} {state}" for state, count in journal.counts().items() if count)
    page = _PAGE.format(
        total=len(clips), counts=counts, now=time.strftime("%Y-%m-%d %H:%M"), rows="\n".join(_rows(clips))
    )
    path = folder / FILE
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def coverage_of(clip: Clip) -> list[float]:
    """Return what the ego prior covers in each frame in percent; empty where no node told."""
    return next((values for name, values in (clip.shown or {}).items() if name.endswith(_COVERAGE)), [])


def seconds_of(clip: Clip) -> float | None:
    """Return the time that a clip ran; `None` where that is not known, or the clock was set back meanwhile."""
    if clip.started is None or clip.ended is None or clip.ended < clip.started:
        return None
    return clip.ended - clip.started


def _rows(clips: Iterable[Clip]) -> Iterable[str]:
    for clip in clips:
        about = [f"seed {clip.seed}" if clip.seed is not None else "", clip.server or "", _attempts(clip)]
        small = "<br>".join(for_html(text) for text in about if text)
        cells = [
            f"<b>{for_html(clip.name)}</b><br><small>{small}</small>",
            for_html(clip.state),
            "" if (seconds := seconds_of(clip)) is None else f"{seconds:.1f}",
            _coverage(clip),
            f"<pre>{for_html(clip.error)}</pre>" if clip.error else "".join(_outputs(clip)),
        ]
        yield f'<tr class="{clip.state}">' + "".join(f"<td>{cell}</td>" for cell in cells)


def _attempts(clip: Clip) -> str:
    return f"{clip.attempts} attempts" if clip.attempts > 1 else ""


def _coverage(clip: Clip) -> str:
    values = coverage_of(clip)
    return f"{sum(values) / len(values):.1f}% on average<br>{min(values):.1f}% at least" if values else ""


def _outputs(clip: Clip) -> Iterable[str]:
    for output in sorted(clip.outputs or [], key=_sheet_first):
        address = for_html(quote(f"{CLIPS}/{clip.name}/{output['file']}", errors="replace"))
        label = (
            f"{for_html(output['file'])} <small>{output['size']:,} bytes, {output['sha256'][:_HASH_LETTERS]}</small>"
        )
        name = output["file"].lower()
        if name.endswith(_PICTURES):
            yield f'<a href="{address}"><img loading="lazy" src="{address}" alt=""></a><br>'
        elif name.endswith(_VIDEOS):
            yield f'<video controls preload="none" src="{address}"></video><br>'
        yield f'<a href="{address}">{label}</a><br>'


def _sheet_first(output: dict[str, Any]) -> tuple[bool, str]:
    return "sheet" not in output["file"], output["file"]
