"""Tables: in the papers' layout, with intervals, by regions, and of paired differences."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ...common.safe_text import for_page, one_line
from ..evaluate import Result
from ..intervals import Interval
from ..metrics import ALL_METRICS, METRICS, REGION_METRICS

NONE = "-"
# Exo2EgoSyn's tables hold these alone, with four digits.
_SYN_METRICS, _SYN_DIGITS = ("psnr", "ssim", "lpips"), 4
_BEST, _SECOND = "**", "<u>"


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        title: above it.
        header: of the columns.
        rows: cells; `**best**` and `<u>second</u>` where a rank is marked.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return it as Markdown; names within were made harmless when the cells were made."""
        lines = [self.header, tuple("---" for _ in self.header), *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def tables(result: Result) -> list[Table]:
    """Return all tables of a result; those that would be empty are left out."""
    held = [name for name in result.metrics if name in METRICS]
    regions = [name for name in result.metrics if name in REGION_METRICS]
    level = "Mean over clips [95 % interval]"
    found = [_egox_table(result, held) if result.protocol.luma else _syn_table(result)]
    found.append(_interval_table(f"{level}", result, [name for name in held if name != "fvd"]))
    if regions:
        found.append(
            _interval_table(f"Seen and unseen by the exo camera: {level[0].lower()}{level[1:]}", result, regions)
        )
    if len(result.methods) > 1:
        compared = [name for name in (*held, *regions) if name not in ("fvd", "unseen_percent")]
        found.append(_paired_table(result, compared))
    return found


def markdown(result: Result) -> str:
    """Return all tables and what to know of them as one Markdown text."""
    parts = [f"# {title(result)}\n", *(table.markdown() for table in tables(result))]
    told = remarks(result)
    if told:
        parts.append("## To know\n\n" + "\n".join(f"- {_name(line)}" for line in told) + "\n")
    return "\n".join(parts)


def title(result: Result) -> str:
    """Return what was scored, in a few words."""
    clips = f"{len(result.clips)} clip" + "s" * (len(result.clips) > 1)
    return f"{clips}, protocol {result.protocol.name}"


def remarks(result: Result) -> list[str]:
    """Return what a reader of the figures has to know: notes, measures that could not run, clips that failed."""
    found = list(result.notes)
    found += [f"{name} was not measured: {why}" for name, why in result.missing.items()]
    found += [f"{clip}{', ' + method if method else ''}: {why}" for clip, method, why in result.failed]
    if len(result.clips) == 1:
        found.append("One clip tells nothing of the spread between clips: there are no intervals.")
    return found


def summary_csv(result: Result) -> str:
    """Return a row for each group, method and metric, with the ends of the interval."""
    rows = [("group", "method", "metric", "mean", "low", "high", "clips")]
    for group, method in _rows(result):
        for name in result.metrics:
            got = result.interval(method, name, group)
            rows.append((group or "all", method, name, *map(_plain, (got.mean, got.low, got.high)), str(got.clips)))
    return _csv(rows)


def clips_csv(result: Result) -> str:
    """Return a row for each clip and method: the mean over frames of each metric."""
    names = [name for name in result.metrics if name != "fvd"]
    rows = [("clip", "group", "method", "frames", *names)]
    for clip in result.clips:
        for method in clip.scores:
            means = (_plain(clip.mean(method, name)) for name in names)
            rows.append((clip.name, clip.group, method, str(clip.frames), *means))
    return _csv(rows)


def _egox_table(result: Result, held: Sequence[str]) -> Table:
    """EgoX, Table 1: image, object and video criteria of every method, by scenario."""
    several = len(result.groups) > 1
    header = (*(("Scenarios",) if several else ()), "Method", *(METRICS[name].heading for name in held))
    rows = []
    for group in result.groups if several else [None]:
        ranked = [_ranked(result, name, group, METRICS[name].digits) for name in held]
        for place, method in enumerate(result.methods):
            start = (_name(group or "") if place == 0 else "",) if several else ()
            rows.append((*start, _name(method), *(column[place] for column in ranked)))
    return Table("As in EgoX, Table 1", header, tuple(rows))


def _syn_table(result: Result) -> Table:
    """Exo2EgoSyn, Table 1: a line for each category, its methods below it."""
    several = len(result.groups) > 1
    names = [name for name in _SYN_METRICS if name in result.metrics]
    header = ("Category" if several else "Method", *(METRICS[name].heading for name in names))
    rows = []
    for group in result.groups if several else [None]:
        if several:
            rows.append((_name(group or ""), *("" for _ in names)))
        ranked = [_ranked(result, name, group, _SYN_DIGITS) for name in names]
        rows += [(_name(method), *(column[place] for column in ranked)) for place, method in enumerate(result.methods)]
    return Table("As in Exo2EgoSyn, Table 1", header, tuple(rows))


def _interval_table(title: str, result: Result, names: Sequence[str]) -> Table:
    several = len(result.groups) > 1
    header = (*(("Group",) if several else ()), "Method", "Clips", *(ALL_METRICS[name].heading for name in names))
    rows = []
    for group, method in _rows(result):
        got = [result.interval(method, name, group) for name in names]
        start = (_name(group or "all"),) if several else ()
        cells = (told(one, ALL_METRICS[name].digits) for one, name in zip(got, names))
        rows.append((*start, _name(method), str(got[0].clips if got else 0), *cells))
    return Table(title, header, tuple(rows))


def _paired_table(result: Result, names: Sequence[str]) -> Table:
    """Every two methods on the clips that both have; bold where the interval excludes zero."""
    header = ("Difference", "Clips", *(ALL_METRICS[name].heading for name in names))
    rows = []
    for first, second in combinations(result.methods, 2):
        got = [result.difference(first, second, name) for name in names]
        cells = []
        for one, name in zip(got, names):
            text = told(one, ALL_METRICS[name].digits, sign=True)
            cells.append(f"{_BEST}{text}{_BEST}" if one.excludes_zero() else text)
        rows.append((f"{_name(first)} - {_name(second)}", str(got[0].clips), *cells))
    return Table(
        "Paired differences on the same clips [95 % interval]; bold where it excludes zero", header, tuple(rows)
    )


def told(one: Interval, digits: int, *, sign: bool = False) -> str:
    """Return a mean and its interval as text."""
    if math.isnan(one.mean):
        return NONE
    form = f"{'+' if sign else ''}.{digits}f"
    ends = f" [{one.low:{form}}, {one.high:{form}}]" if one.has_ends else ""
    return f"{one.mean:{form}}{ends}"


def _rows(result: Result) -> Iterable[tuple[str | None, str]]:
    """Give (group, method); after several groups come the methods over all clips, as the group `None`."""
    groups: list[str | None] = [*result.groups] if len(result.groups) > 1 else []
    return ((group, method) for group in [*groups, None] for method in result.methods)


def _ranked(result: Result, name: str, group: str | None, digits: int) -> list[str]:
    """Return a column's cells by method, the best bold and the second underlined as in the papers."""
    means = [result.interval(method, name, group).mean for method in result.methods]
    texts = [NONE if math.isnan(mean) else f"{mean:.{digits}f}" for mean in means]
    better = METRICS[name].higher_is_better
    known = sorted({mean for mean in means if not math.isnan(mean)}, reverse=bool(better))
    if len(known) < 2:
        return texts
    marks: dict[float, Callable[[str], str]] = {
        known[1]: lambda text: f"{_SECOND}{text}</u>",
        known[0]: lambda text: f"{_BEST}{text}{_BEST}",
    }
    return [marks.get(mean, str)(text) for mean, text in zip(means, texts)]


def _name(text: str) -> str:
    """Return a name or sentence for a cell of Markdown, whose HTML is live."""
    return for_page(one_line(text)).replace("|", "\\|")


def _plain(value: float) -> str:
    return "" if math.isnan(value) else repr(round(value, 6))


def _csv(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
