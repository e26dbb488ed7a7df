"""Which sizes a card can measure in the time and memory that it has: arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from ..attention.layout import TokenLayout
from ..common.wan_grid import HEAD_CHANNELS, SPATIAL_STRIDE, WAN_BLOCKS, WAN_DIM, video_frames

# Frames, rows, exo and ego columns of tokens.
Grid = tuple[int, int, int, int]

# Sections in their order, and their shares of the budget. What one leaves goes to those after it.
SHARES = {
    "correctness": 40,
    "attention": 80,
    "gradients": 40,
    "tiles": 30,
    "steps": 150,
    "memory": 30,
    "prior": 15,
    "vae": 20,
    "run": 75,
}

# Token grids from EgoX's own down: frames first, since a card that lacks memory or speed still sees whole pictures.
LADDER = ((13, 28, 49, 28), (9, 28, 49, 28), (5, 28, 49, 28), (5, 14, 25, 14), (3, 14, 25, 14), (1, 14, 25, 14))
TINY = (3, 2, 3, 2)

FFN, TEXT = 13824, 769  # of Wan 2.1 I2V 14B: feed-forward width; tokens of text and of CLIP's picture
_FEWEST_BLOCKS = 4  # fewer are no model to time

# Runs of a section that its size decides: cases, each warmed up twice and timed three times beside its baseline.
_ATTENTION_RUNS, _GRADIENT_RUNS, _STEP_RUNS = 90, 30, 55
_RUN_CALLS = 4 + 2 * 50  # model calls of the whole runs: CFG 1, then two prompts a step
_BOTH_PASSES = 3.5  # of a forward pass

# Of what a section may take by prediction, for predictions from a large product are too hopeful.
_HOPEFUL = 1.25
# ComfyUI's own estimate of activations: bytes a token of one prompt in half precision (supported_models.py).
_ACTIVATIONS = 4 * 2 * 0.01 * WAN_DIM / 2222 * 2**20
_USABLE = 0.85  # of the memory that is free: allocators leave gaps
_TENSORS = 14  # [tokens, width] that attention with gradients and its reference hold at a time


@dataclass(frozen=True)
class Card:
    """What sizes are chosen from.

    Attributes:
        free: bytes of memory.
        products: floating point operations a second of a large matrix product in half precision.
        attention: of torch's attention.
        is_dry: whether all is to be tiny: a trial of the command on the CPU.
    """

    free: int
    products: float = 1.0
    attention: float = 1.0
    is_dry: bool = False


@dataclass(frozen=True)
class Plan:
    """Sizes, as a result's file has them; token grids are frames, rows, exo and ego columns.

    Attributes:
        attention, gradients, correctness, steps, run: token grids.
        heads, head_dim: of the attention.
        blocks, dim, ffn: of the random Wan.
        frames: of the clip that is rendered.
        repeats: most pairs of a case.
    """

    attention: Grid
    gradients: Grid
    correctness: Grid
    steps: Grid
    run: Grid
    heads: int
    head_dim: int
    blocks: int
    dim: int
    ffn: int
    frames: int
    repeats: int

    def to_json(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Plan:
        """Read it back."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def described(self) -> list[str]:
        """Return lines for people."""
        grids = {
            "attention alone": self.attention,
            "both passes": self.gradients,
            "correctness": self.correctness,
            "whole steps, memory": self.steps,
            "whole run, VAE": self.run,
        }
        lines = [f"{name}: {of_grid(grid)}" for name, grid in grids.items()]
        few = "" if self.blocks == WAN_BLOCKS or self.dim != WAN_DIM else f", of {WAN_BLOCKS}: times are scaled up"
        lines.append(f"random Wan: {self.blocks} blocks of width {self.dim}{few}")
        return lines


def of_grid(grid: Grid) -> str:
    """Write a token grid as people read it."""
    height, exo, ego = (SPATIAL_STRIDE * count for count in grid[1:])
    pictures = f"{video_frames(grid[0])} frames of {exo} x {height} beside {ego} x {height}"
    return f"{TokenLayout(*grid).n_tokens:,} tokens ({pictures})"


def plan_for(card: Card, budget: float) -> Plan:
    """Choose sizes.

    Args:
        card: what there is.
        budget: seconds for all sections.
    """
    if card.is_dry:
        return Plan(TINY, (2, 2, 3, 2), (2, 2, 3, 2), TINY, (2, 2, 3, 2), 2, 32, 2, 256, 64, 2, 1)
    share = {name: budget * part / sum(SHARES.values()) for name, part in SHARES.items()}
    width = WAN_DIM

    def attends(grid: Grid, runs: float, seconds: float) -> bool:
        n = TokenLayout(*grid).n_tokens
        takes = runs * 4.0 * n**2 * width / card.attention
        return takes <= _HOPEFUL * seconds and 2 * n * width * _TENSORS <= _USABLE * card.free

    def steps(grid: Grid, calls: float, seconds: float) -> bool:
        blocks = blocks_that_fit(card.free, grid)
        takes = calls * blocks * block_seconds(card, TokenLayout(*grid).n_tokens)
        return blocks >= _FEWEST_BLOCKS and takes <= _HOPEFUL * seconds

    of_steps = _first(lambda grid: steps(grid, _STEP_RUNS, share["steps"]))
    of_run = _first(lambda grid: steps(grid, _RUN_CALLS, share["run"]))
    return Plan(
        attention=_first(lambda grid: attends(grid, _ATTENTION_RUNS, share["attention"])),
        gradients=_first(lambda grid: attends(grid, _BOTH_PASSES * _GRADIENT_RUNS, share["gradients"])),
        correctness=LADDER[2] if card.free > 8e9 else LADDER[3],
        steps=of_steps,
        run=of_run,
        heads=WAN_DIM // HEAD_CHANNELS,
        head_dim=HEAD_CHANNELS,
        blocks=max(1, min(blocks_that_fit(card.free, grid) for grid in (of_steps, of_run))),
        dim=WAN_DIM,
        ffn=FFN,
        frames=49,
        repeats=7,
    )


def block_bytes(dim: int = WAN_DIM, ffn: int = FFN) -> int:
    """Return what a block's weights take in half precision: ten square matrices and the feed-forward layers."""
    return 2 * dim * (10 * dim + 2 * ffn)


def blocks_that_fit(free: int, grid: Grid) -> int:
    """Return how many blocks fit beside two prompts' activations; core runs both together where it has room."""
    left = _USABLE * free - 2 * _ACTIVATIONS * TokenLayout(*grid).n_tokens
    return max(0, min(WAN_BLOCKS, int(left // block_bytes())))


def block_seconds(card: Card, n_tokens: int) -> float:
    """Return how long a block should take for one prompt."""
    products = 2 * n_tokens * WAN_DIM * (6 * WAN_DIM + 2 * FFN)
    return products / card.products + 4 * n_tokens * (n_tokens + TEXT) * WAN_DIM / card.attention


def _first(fits: Callable[[Grid], bool]) -> Grid:
    return next((grid for grid in LADDER if fits(grid)), LADDER[-1])
