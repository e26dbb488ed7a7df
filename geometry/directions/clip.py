"""The geometry of one clip, from which the directions of any grid of tokens follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..cameras.camera import Camera
from ..depth.depth import Depth
from .directions import GGADirections, GGAGeometry, gga_directions


class TokenGrid(Protocol):
    """Sizes of the exo and the ego view in tokens, such as `attention.layout.TokenLayout`."""

    @property
    def frames(self) -> int:
        """Latent frames."""

    @property
    def rows(self) -> int:
        """Token rows, the same for both views."""

    @property
    def exo_columns(self) -> int:
        """Token columns of the exo view."""

    @property
    def ego_columns(self) -> int:
        """Token columns of the ego view."""


@dataclass(frozen=True, eq=False)
class ClipGeometry:
    """Where the cameras of a clip stand and what the exo camera sees.

    Attributes:
        exo_camera: fixed or F poses; brought to the size of the depth maps.
        depth: metric depth of the F exo frames, cropped as the exo video is.
        ego_camera: the upright ego camera, fixed or F poses.
        kind: how directions are made.

    Raises:
        ValueError: if the exo camera's aspect ratio is not that of the depth maps.
    """

    exo_camera: Camera
    depth: Depth
    ego_camera: Camera
    kind: GGAGeometry = GGAGeometry.AS_RELEASED

    def __post_init__(self) -> None:
        camera = self.exo_camera.resized(self.depth.width, self.depth.height, "depth maps")
        object.__setattr__(self, "exo_camera", camera)

    def directions(self, grid: TokenGrid, progress: Callable[[int, int], None] | None = None) -> GGADirections:
        """Return the directions of a grid of tokens; see `gga_directions`.

        Raises:
            ValueError: if the clip does not have the grid's frames and shapes, or its depth is not metric.
        """
        return gga_directions(
            self.exo_camera,
            self.depth,
            self.ego_camera,
            latent_frames=grid.frames,
            exo_tokens=(grid.rows, grid.exo_columns),
            ego_tokens=(grid.rows, grid.ego_columns),
            geometry=self.kind,
            progress=progress,
        )
