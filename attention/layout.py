"""How the joined token sequence of EgoX is ordered."""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class TokenLayout:
    """Frames of a grid of tokens, the exo view on the left and the ego view on the right.

    Token `(frame, row, column)` has the index `frame * rows * columns + row * columns + column`; it belongs to the
    exo view where `column < exo_columns`. EgoX's own size is 13 frames of 28 rows, 49 exo and 28 ego columns.

    Attributes:
        frames: latent frames.
        rows: token rows, the same for both views.
        exo_columns, ego_columns: token columns of each view.
    """

    frames: int
    rows: int
    exo_columns: int
    ego_columns: int

    def __post_init__(self) -> None:
        sizes = (self.frames, self.rows, self.exo_columns, self.ego_columns)
        if min(sizes) < 1:
            raise ValueError(f"A token layout needs at least one frame, row and column of each view, got {self}.")

    @property
    def columns(self) -> int:
        """Columns of both views."""
        return self.exo_columns + self.ego_columns

    @property
    def n_tokens(self) -> int:
        """Length of the joined sequence."""
        return self.frames * self.rows * self.columns

    @property
    def exo_tokens(self) -> int:
        """Number of exo tokens of all frames."""
        return self.frames * self.rows * self.exo_columns

    @property
    def ego_tokens(self) -> int:
        """Number of ego tokens of all frames."""
        return self.n_tokens - self.exo_tokens

    @property
    def ego_tokens_per_frame(self) -> int:
        """Number of ego tokens of one frame."""
        return self.rows * self.ego_columns

    def describe(self) -> str:
        """Return sizes in a line."""
        return (
            f"{self.frames} latent frames, {self.rows} rows, {self.exo_columns} exo and {self.ego_columns} ego "
            f"columns: {self.n_tokens} tokens"
        )

    def as_grid(self, tokens: Tensor) -> Tensor:
        """View `[B, n_tokens, ...]` as `[B, frames, rows, columns, ...]`."""
        pattern = "b (frame row column) ... -> b frame row column ..."
        return rearrange(tokens, pattern, frame=self.frames, row=self.rows, column=self.columns)

    def as_rows(self, tokens: Tensor) -> Tensor:
        """View `[B, n_tokens, ...]` as the rows of all frames, one after the other: `[B, T * rows, columns, ...]`."""
        return rearrange(tokens, "b (row column) ... -> b row column ...", row=self.frames * self.rows)

    def ego(self, tokens: Tensor) -> Tensor:
        """Copy the ego tokens `[B, ego_tokens, ...]` out of `[B, n_tokens, ...]`."""
        return self.as_rows(tokens)[:, :, self.exo_columns :].flatten(1, 2).contiguous()

    def beside_nothing(self, ego: Tensor) -> Tensor:
        """Return `[B, n_tokens, ...]` with these ego tokens `[B, ego_tokens, ...]`; its exo tokens are not set."""
        joined = ego.new_empty(ego.shape[0], self.n_tokens, *ego.shape[2:])
        rows = self.as_rows(joined)[:, :, self.exo_columns :]
        rows.copy_(ego.view(rows.shape))
        return joined
