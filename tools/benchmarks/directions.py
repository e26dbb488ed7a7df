"""How long GGA's directions of a clip take, in every geometry.

python tools/run.py directions [--repeats 2] [--json FILE]
"""

from __future__ import annotations

from functools import partial

import timing

from exo2ego.geometry.directions.directions import GGAGeometry, gga_directions
from exo2ego.measure import clip as scene


def main() -> None:
    """Measure and print."""
    options = timing.arguments(__doc__.splitlines()[0]).parse_args()
    clip = scene.make_clip(49)
    directions = partial(
        gga_directions,
        clip.exo_camera,
        clip.depth,
        clip.ego_camera,
        latent_frames=13,
        exo_tokens=(28, 49),
        ego_tokens=(28, 28),
    )
    rows = [
        timing.measure(geometry.value, partial(directions, geometry=geometry), options.repeats)
        for geometry in GGAGeometry
    ]
    timing.report(rows, GGAGeometry.AS_RELEASED.value, options.json)


if __name__ == "__main__":
    main()
