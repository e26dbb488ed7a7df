"""Which tile of the Triton kernel is fastest on this GPU, at one size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

from torch import Tensor

from ..attention.backends import triton as triton_attention
from ..attention.backends.triton_tiles import Tile
from ..attention.layout import TokenLayout
from .attention import Options
from .compare import Case, Row, Run, compare
from .problem import Problem, described

# What is tried where no tile is named: queries and keys a block, warps, stages.
TRIED = tuple("x".join(map(str, sizes)) for sizes in product((64, 128), (32, 64, 128), (4, 8), (2, 3, 4)))
# What is tried where there are seconds alone.
WORTH_TRYING = ("128x32x8x2", "128x64x8x2", "128x64x8x3", "128x64x4x3", "128x128x8x2", "64x64x4x3", "64x32x4x3")


def rows_of(layout: TokenLayout, tiles: Sequence[str], options: Options) -> list[Row]:
    """Compare tiles of the kernel with plain attention of the ego queries.

    Args:
        layout: the size.
        tiles: each `QUERIESxKEYSxWARPSxSTAGES`.
        options: its cases do not matter.

    Raises:
        SystemExit: where the kernel cannot run.
    """
    problem = options.problem(layout)
    reason = triton_attention.unsupported(problem.call())
    if reason is not None:
        raise SystemExit(f"Tiles of the Triton kernel cannot be timed: {reason}.")
    plain = Case("plain, ego queries", partial(_plain, problem), lambda out: 0.0)
    # The kernel leaves the exo tokens of its result alone.
    result = problem.plain(problem.q, problem.k, problem.v, problem.heads)
    cases = [
        Case(name, partial(_kernel, problem, tile_of(name), result), partial(problem.error, biased=True))
        for name in tiles
    ]
    return compare(layout.n_tokens, described(layout), plain, cases, options.repeats, options.device, options.watch)


def tile_of(name: str) -> Tile:
    """Return the tile of a name such as 128x64x8x3."""
    return Tile(*(int(part) for part in name.split("x")))


def _plain(problem: Problem) -> Run:
    layout = problem.layout
    ego = layout.as_grid(problem.q)[:, :, :, layout.exo_columns :].flatten(1, 3).contiguous()
    return problem.timed(partial(problem.plain, ego, problem.k, problem.v, problem.heads))


def _kernel(problem: Problem, tile: Tile, result: Tensor) -> Run:
    call = problem.call()

    def attend() -> Tensor:
        triton_attention.attend(call, result, tile)
        return result

    return problem.timed(attend)
