"""How many heads and rows of queries go at a time: arithmetic alone.

A GPU's kernel cuts each head's queries into blocks and hands them to its processors in waves. A last wave that fills
few of them costs as much as a full one: with 700 blocks on 132 processors an eighth of the call is idle. So parts are
cut where waves end, whether a processor takes one block at a time or two.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import NamedTuple

# Queries in a block of flash attention's, cuDNN's and SageAttention's kernels.
BLOCK = 128

# Blocks that a processor takes at a time: one of the large blocks of 8 warps, or two of 4.
_AT_A_TIME = (1, 2)

# Full enough: each further part prepares a head's keys once more in attention that quantises them.
FULL_ENOUGH = 0.9


class Share(NamedTuple):
    """What goes at a time: heads, and rows of the token grid."""

    heads: int
    rows: int


def even_share(heads: int, rows: int, most: float) -> Share:
    """Return shares of nearly one size: a small last one would leave a GPU idle.

    Args:
        heads: of the attention.
        rows: of all frames.
        most: heads, with all their rows, that may go at a time; below 1 a head's rows are divided.
    """
    return Share(_even(heads, max(1, int(most))), _even(rows, max(1, int(most * rows))))


@cache
def full_share(heads: int, batch: int, rows: int, columns: int, most: float, processors: int) -> Share:
    """Return the share that leaves a GPU's processors least idle, of those with the fewest parts of a head.

    Args:
        heads: of the attention.
        batch: clips.
        rows: of all frames.
        columns: exo tokens of a row.
        most: heads, with all their rows, that may go at a time.
        processors: of the GPU.
    """
    best, fullest = even_share(heads, rows, most), 0.0
    counts_of_heads = sorted({_even(heads, number) for number in range(1, heads + 1)}, reverse=True)
    for parts in range(1, rows + 1):
        fewest = -(-rows // parts)
        largest = rows if parts == 1 else -(-rows // (parts - 1)) - 1  # more would be a part less
        for rows_at_once in range(fewest, largest + 1):
            for heads_at_once in counts_of_heads:
                share = Share(heads_at_once, rows_at_once)
                if heads_at_once * rows_at_once > most * rows:
                    continue
                full = fullness(share, heads, batch, rows, columns, processors)
                if full > fullest:
                    best, fullest = share, full
        if fullest >= FULL_ENOUGH:
            break
    return best


@cache
def full_heads(heads: int, batch: int, queries: int, most: float, processors: int | None) -> int:
    """Return how many heads go at a time, with all their queries in blocks, so that a GPU's processors are busy.

    Args:
        heads: of the attention.
        batch: clips.
        queries: of a head.
        most: heads that may go at a time; one goes in any case.
        processors: of the GPU; None for devices without waves.
    """
    if processors is None:
        return _even(heads, max(1, int(most)))
    counts = range(min(heads, max(1, int(most))), 0, -1)  # of equals the largest
    return max(counts, key=lambda count: fullness(Share(count, 1), heads, batch, 1, queries, processors))


def fullness(share: Share, heads: int, batch: int, rows: int, columns: int, processors: int) -> float:
    """Return the part of all places in waves that blocks fill, at its worst."""
    sizes = [
        (count * times, of_heads * batch * -(-of_rows * columns // BLOCK))
        for of_heads, count in _sizes(heads, share.heads).items()
        for of_rows, times in _sizes(rows, share.rows).items()
    ]
    blocks = sum(count * size for count, size in sizes)
    waves = (processors * at_a_time for at_a_time in _AT_A_TIME)
    return min(blocks / sum(count * -(-size // wave) * wave for count, size in sizes) for wave in waves)


def _sizes(number: int, size: int) -> Counter[int]:
    """Return how many parts of each size `number` is cut into."""
    return Counter({size: number // size}) + Counter({number % size: 1} if number % size else {})


def _even(number: int, most: int) -> int:
    return -(-number // -(-number // most))
