"""The report of `training screen`: one HTML page beside its contact sheets, rejected takes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from ...common.safe_text import for_html
from ...common.whole_file import whole_file
from ..data.screened import Verdict

PAGE = "index.html"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{kept} of {total} takes are fit to train on</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #222; }}
section {{ border-top: 1px solid #ddd; padding: 1em 0; }}
h2 {{ font-size: 1.1em; margin: 0 0 .4em; overflow-wrap: anywhere; }}
img {{ max-width: 100%; }}
ul {{ margin: .3em 0; padding-left: 1.4em; max-width: 60em; overflow-wrap: anywhere; }}
.rejected li.reason {{ color: #a00; }} .rejected h2::after {{ content: " rejected"; color: #a00; }}
.kept h2::after {{ content: " kept"; color: #070; }}
small {{ color: #777; }}
</style>
<h1>{kept} of {total} takes are fit to train on</h1>
<p>{counts}</p>
<p>The list for <code>[data] screened</code> is <code>{list}</code>. To decide otherwise of a take, change its
<code>kept</code> there.</p>
{takes}
</html>
"""


def write_page(path: Path, verdicts: Sequence[Verdict], list_name: str) -> Path:
    """Write the page, whole or not at all; returns its path."""
    kept = sum(verdict.is_kept for verdict in verdicts)
    counts = Counter(check for verdict in verdicts for check in verdict.reasons)
    told = ", ".join(f"{for_html(check)} {count}" for check, count in counts.most_common())
    ordered = sorted(verdicts, key=lambda verdict: verdict.is_kept)
    page = _PAGE.format(
        kept=kept,
        total=len(verdicts),
        counts=f"Reasons: {told}." if told else "Nothing was found against any of them.",
        list=for_html(list_name),
        takes="\n".join(map(_section, ordered)),
    )
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def _section(verdict: Verdict) -> str:
    return "".join(
        (
            f'<section class="{"kept" if verdict.is_kept else "rejected"}"><h2>{for_html(verdict.name)}</h2>',
            _items("reason", verdict.reasons.values()),
            _items("note", verdict.notes),
            _measured(verdict),
            _sheet(verdict),
            "</section>",
        )
    )


def _items(kind: str, texts: Iterable[str]) -> str:
    items = "".join(f'<li class="{kind}">{for_html(text)}</li>' for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _measured(verdict: Verdict) -> str:
    told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in verdict.measured.items())
    return f"<p><small>{for_html(told)}</small></p>" if told else ""


def _sheet(verdict: Verdict) -> str:
    if verdict.sheet is None:
        return ""
    address = for_html(quote(verdict.sheet, errors="replace"))
    return f'<a href="{address}"><img loading="lazy" src="{address}" alt="contact sheet"></a>'
