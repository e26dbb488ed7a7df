"""Which tile the command `gpu` keeps: one that is faster than the table's own in every pair, whatever the noise."""

from __future__ import annotations

import pytest

from exo2ego.measure.compare import Row
from exo2ego.measure.kernels import better_tile
from exo2ego.measure.tiles import TRIED, WORTH_TRYING, tile_of


def row(case: str, low: float, ratio: float, high: float) -> Row:
    return Row(1, "", case, seconds=1.0, ratio=ratio, ratio_low=low, ratio_high=high, against="plain")


PLAIN = row("plain", 1.0, 1.0, 1.0)
OWN = row("128x64x8x2", 1.20, 1.22, 1.25)
FAILED = Row(1, "", "128x128x8x2", empty="out of resource: shared memory")


@pytest.mark.parametrize(
    ("others", "kept"),
    [
        ([row("64x64x4x3", 1.10, 1.15, 1.19)], "64x64x4x3"),
        ([row("64x64x4x3", 1.10, 1.15, 1.21)], None),
        ([row("64x64x4x3", 1.30, 1.31, 1.32)], None),
        ([FAILED], None),
    ],
)
def test_the_table_is_left_for_a_clear_winner_alone(others, kept):
    found = better_tile([PLAIN, OWN, *others], OWN.case)
    assert (found.case if found else None) == kept


def test_where_the_tables_own_fails_the_fastest_is_kept():
    failed = Row(1, "", OWN.case, empty="out of resource: shared memory")
    assert better_tile([PLAIN, failed, row("64x32x4x3", 1.4, 1.5, 1.6)], OWN.case).case == "64x32x4x3"
    assert better_tile([PLAIN, failed], OWN.case) is None


def test_every_tile_can_be_written_and_read():
    assert all(str(tile_of(name)) == name for name in (*TRIED, *WORTH_TRYING))
