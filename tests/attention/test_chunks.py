"""Chunks of exo queries: how full they keep a GPU, counted block by block for every number of processors."""

from __future__ import annotations

import pytest

from exo2ego.attention.chunks import Share, even_share, full_heads, full_share, fullness
from exo2ego.attention.guided_attention import _EXO_BYTES

# EgoX's size: exo rows of all frames and their columns, heads, bytes of a head's exo queries in half precision.
ROWS, COLUMNS, HEADS = 13 * 28, 49, 40
HEAD_BYTES = ROWS * COLUMNS * 128 * 2
PROCESSORS = range(30, 171)


def blocks_of(share: Share, batch: int) -> list[int]:
    """Blocks of 128 queries of each call, by cutting heads and rows one after the other."""
    calls = []
    for head in range(0, HEADS, share.heads):
        for row in range(0, ROWS, share.rows):
            heads = min(head + share.heads, HEADS) - head
            queries = (min(row + share.rows, ROWS) - row) * COLUMNS
            calls.append(heads * batch * ((queries + 127) // 128))
    return calls


def idle(calls: list[int], at_once: int) -> float:
    """The part of all turns in which a processor has nothing, by dealing out the blocks."""
    turns = 0
    for left in calls:
        while left > 0:
            turns += at_once
            left -= at_once
    return 1 - sum(calls) / turns


@pytest.mark.parametrize("batch", [1, 2])
def test_waves_are_nine_tenths_full_on_every_gpu(batch):
    most = _EXO_BYTES / (batch * HEAD_BYTES)
    before = []
    for processors in PROCESSORS:
        share = full_share(HEADS, batch, ROWS, COLUMNS, most, processors)
        assert share.heads * share.rows * batch * HEAD_BYTES / ROWS <= _EXO_BYTES
        calls, old = blocks_of(share, batch), blocks_of(even_share(HEADS, ROWS, most), batch)
        for at_a_time in (1, 2):
            assert idle(calls, processors * at_a_time) <= 0.1, processors
            before.append(idle(old, processors * at_a_time))
    assert max(before) > 0.2  # what it is better than


@pytest.mark.parametrize("batch", [1, 2])
def test_a_heads_keys_are_prepared_few_times(batch):
    """Attention that quantises keys does so at every call."""
    most = _EXO_BYTES / (batch * HEAD_BYTES)
    parts = [-(-ROWS // full_share(HEADS, batch, ROWS, COLUMNS, most, count).rows) for count in PROCESSORS]
    assert sorted(parts)[len(parts) // 2] <= 2
    assert max(parts) <= 10


@pytest.mark.parametrize(
    ("heads", "rows", "columns"), [(12, 364, 49), (40, 140, 49), (40, 91, 49), (2, 6, 5), (1, 1, 1)]
)
def test_other_sizes_are_no_worse_than_even_shares(heads, rows, columns):
    most = _EXO_BYTES / (rows * columns * 128 * 2)
    for processors in (30, 84, 132, 170):
        share, even = full_share(heads, 1, rows, columns, most, processors), even_share(heads, rows, most)
        assert 1 <= share.heads <= heads
        assert 1 <= share.rows <= rows
        ours, theirs = (fullness(found, heads, 1, rows, columns, processors) for found in (share, even))
        assert ours >= theirs


def test_even_shares_fit_what_is_allowed():
    assert even_share(40, 364, 5.2) == Share(5, 364)
    assert even_share(40, 364, 0.4) == Share(1, 122)
    assert even_share(40, 364, 1e9) == Share(40, 364)


@pytest.mark.parametrize("batch", [1, 2])
def test_heads_whose_keys_are_prepared_leave_little_idle(batch):
    """Those of the int8 kernel: all ego queries of some heads at a time, as many as may and not one more."""
    queries, most = ROWS * 28, 9.35 / batch
    full = []
    for processors in PROCESSORS:
        heads = full_heads(HEADS, batch, queries, most, processors)
        assert 1 <= heads <= most
        calls = [min(heads, HEADS - head) * batch * ((queries + 127) // 128) for head in range(0, HEADS, heads)]
        full.append(1 - max(idle(calls, processors * at_a_time) for at_a_time in (1, 2)))
    assert sorted(full)[len(full) // 2] > 0.9
    assert min(full) > 0.7
    assert full_heads(HEADS, batch, queries, 0.3, 132) == full_heads(HEADS, batch, queries, 0.3, None) == 1
    assert full_heads(HEADS, 1, queries, 9.35, None) == 8  # five equal parts
