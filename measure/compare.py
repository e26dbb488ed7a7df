"""Cases beside a baseline: time in pairs, memory on top of it, how far off the results are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import memory, paired
from .context import NOBODY, Watch, failure

# One run of a case: its result, and how long it took.
Run = Callable[[], tuple[Tensor, paired.Lap]]


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Attributes:
        name: as the table shows it.
        prepare: makes what the case holds from run to run, and returns a run.
        error: says how far off a result is.
        left_out: why it cannot be measured here.
    """

    name: str
    prepare: Callable[[], Run]
    error: Callable[[Tensor], float]
    left_out: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table; numbers are None where there are none, and `empty` says why.

    Attributes:
        tokens, layout, case: what was measured.
        seconds: median wall clock.
        ratio: median of the pairs' ratios to the baseline, wall clock.
        cpu_ratio: likewise, CPU time; None on a GPU.
        extra_bytes: what the case needs beside the baseline at its peak, with all that it holds.
        held_bytes: the part of it that stays between runs.
        error: what the case's `error` says of its result.
        ratio_low, ratio_high: smallest and largest of the pairs' ratios.
        against: name of the baseline.
        note: what one should know of the numbers.
        estimates: bytes that somebody thought it would need, by whom.
    """

    tokens: int
    layout: str
    case: str
    seconds: float | None = None
    ratio: float | None = None
    cpu_ratio: float | None = None
    extra_bytes: int | None = None
    held_bytes: int | None = None
    error: float | None = None
    empty: str = ""
    ratio_low: float | None = None
    ratio_high: float | None = None
    against: str = ""
    note: str = ""
    estimates: dict[str, int] | None = None


def compare(
    tokens: int,
    layout: str,
    baseline: Case,
    cases: Sequence[Case],
    repeats: int,
    device: torch.device,
    watch: Watch = NOBODY,
) -> list[Row]:
    """Measure cases against a baseline; a case that fails becomes an empty row.

    Args:
        tokens: how many all of them work on.
        layout: of the tokens.
        baseline: what times and memory are relative to.
        cases: the others.
        repeats: pairs of runs a case.
        device: what they run on.
        watch: who looks on.

    Returns:
        The baseline's row and one of every case.
    """
    blank = Row(tokens, layout, baseline.name, against=baseline.name)
    watch.begin(baseline.name)
    run_baseline, base, error = _warmed(baseline, device)
    rows = {baseline.name: replace(blank, extra_bytes=0, held_bytes=base.held, error=error)}
    runs: dict[str, Run] = {}
    for case in cases:
        reason = watch.skipped.get(case.name) or case.left_out
        if not reason:
            watch.begin(case.name)
            try:
                runs[case.name], need, error = _warmed(case, device)
                own = {"extra_bytes": need.peak - base.peak, "held_bytes": need.held, "error": error}
                rows[case.name] = replace(blank, case=case.name, **own)
            except Exception as error:  # compilers of kernels fail in many ways: the table says so
                runs.pop(case.name, None)
                reason = failure(error, device)
        if reason:
            rows[case.name] = replace(blank, case=case.name, empty=reason)
    pairs = paired.measure(run_baseline, runs, repeats, watch)
    return [_with_times(row, baseline.name, pairs, device) for row in rows.values()]


def guarded(blank: Row, measure: Callable[[], Row], device: torch.device, watch: Watch = NOBODY) -> Row:
    """Measure a case that has no baseline: its row, or the blank one with why there is none.

    Args:
        blank: with the case's name.
        measure: makes the row.
        device: what is measured.
        watch: who looks on.

    Raises:
        DeviceLostError: if the GPU answers no more.
    """
    if reason := watch.skipped.get(blank.case):
        return replace(blank, empty=reason)
    watch.begin(blank.case)
    try:
        return measure()
    except Exception as error:  # kernels and models fail in many ways: the table says so
        return replace(blank, empty=failure(error, device))


@dataclass(frozen=True)
class _Need:
    """Bytes: most at a time, the result included, and those that stay from run to run."""

    peak: int
    held: int


def _warmed(case: Case, device: torch.device) -> tuple[Run, _Need, float]:
    """Prepare a case and run it twice; returns the run, what it needs and its error."""
    runs: list[Run] = []
    results: list[Tensor] = []
    before = memory.taken(lambda: runs.append(case.prepare()), device)
    first = memory.taken(lambda: results.append(runs[0]()[0]), device)
    error = case.error(results[0])
    held = before.kept + first.kept - results.pop().nbytes
    second = memory.taken(runs[0], device)
    return runs[0], _Need(max(before.peak, before.kept + first.peak, held + second.peak), held), error


def _with_times(row: Row, baseline: str, pairs: dict[str, paired.Pairs], device: torch.device) -> Row:
    on_cpu = device.type == "cpu"
    if row.case == baseline and pairs:
        seconds = paired.median(lap for own in pairs.values() for lap in own.baseline)
        return replace(row, seconds=seconds, ratio=1.0, cpu_ratio=1.0 if on_cpu else None)
    if row.case not in pairs:
        return row
    own = pairs[row.case]
    low, high = own.spread
    ratios = {"ratio": own.ratio, "ratio_low": low, "ratio_high": high}
    return replace(row, seconds=own.seconds, cpu_ratio=own.cpu_ratio if on_cpu else None, **ratios)
