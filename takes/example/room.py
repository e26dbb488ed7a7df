"""A take made from nothing: exact depth, cameras and ego view of a small procedural scene.

It serves the demo, the tests and every picture in the documentation: no licence is attached to it, and its truth is
known to the last digit.
"""

from __future__ import annotations

from dataclasses import replace

from ...geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from ...geometry.depth.depth import Depth, DepthMeaning
from ...geometry.lenses import Lens
from ...geometry.take_kind import take_kind
from ..rooms.room import Progress, Room, Scene
from ..take import Take
from .figure import LOOK, movement
from .scene import static_shapes

_FPS = 16.0  # Wan's own rate

EXO_FOV = 66.0  # degrees, horizontal
# Where the exo cameras stand in the room and what they look at, metres. The first, the exo camera of the take with one,
# stands behind the figure's right shoulder, so that it sees much of what the figure sees; the others around the table.
EXO_PLACES = (
    ((1.75, -1.95, -0.75), (-0.30, -0.98, 0.75)),
    ((-1.80, -1.90, -0.85), (0.25, -0.95, 0.60)),
    ((-1.70, -1.75, 2.05), (0.10, -1.05, 0.25)),
    ((2.00, -1.75, 1.95), (0.05, -1.00, 0.30)),
)
LAMP = (0.55, -2.45, 0.75)

# What the two-view prompt says, by the fields of the prompt node.
PROMPT_PARTS = {
    "exo_scene": (
        "A tidy kitchen with a plank floor, a checkered red rug, striped green wallpaper on the left wall with a "
        "bright window, and pale blue tiles on the far wall. A wooden table stands in the middle, laid with a white "
        "and blue plate, a cutting board, a striped box, a checkered tin, a green bottle, a steel pot, a striped mug, "
        "two books and two apples. Behind it are a shelf with colourful books and a blue cupboard."
    ),
    "exo_action": (
        "A person in a blue and white striped shirt and jeans stands at the table. The right hand reaches for an "
        "orange in the middle of the table, closes around it, lifts it in an arc to the right and puts it down on the "
        "plate, then lets go and withdraws. The left hand rests on the cutting board throughout."
    ),
    "ego_scene": (
        "Seen from above, the oak table fills the lower view with the plate on the right, the cutting board on the "
        "left, and the bottle, the pot and the boxes at its far edge. Beyond it are the plank floor and the tiled "
        "wall with the shelf of books, a framed landscape and the blue cupboard."
    ),
    "ego_action": (
        "The right hand enters from the lower right, takes hold of the orange, carries it over to the plate and opens "
        "again. The left hand lies still on the cutting board at the lower left. The head follows the orange."
    ),
}


def example_scene() -> Scene:
    """Return what is in the example room."""
    return Scene(tuple(static_shapes()), LOOK, movement(), EXO_PLACES, EXO_FOV, LAMP)


class ExampleRoom(Room):
    """The scene over `n_frames` frames, from time `start` to time `end` of its movement, which lasts from 0 to 1."""

    def __init__(self, n_frames: int, start: float = 0.0, end: float = 1.0) -> None:
        super().__init__(example_scene(), n_frames, start, end)


def example_take(
    n_frames: int = 49,
    *,
    exo_width: int = 784,
    exo_height: int = 448,
    ego_size: int = RELEASE_SIZE,
    lens: LensPreset | Lens = LensPreset.EGOX_RELEASE,
    progress: Progress | None = None,
) -> Take:
    """Render the example take.

    Args:
        n_frames: frames; whatever their number, they span the same movement.
        exo_width: width of the exo clip in pixels.
        exo_height: height of the exo clip.
        ego_size: side of the square ego images in pixels.
        lens: the ego lens, a preset or one of the ego image's size.
        progress: called with (done, total) after each frame of either clip.

    Returns:
        A take with exact depth and the true ego view, whose figure has no head of its own in sight.
    """
    if n_frames < 1:
        raise ValueError(f"A take has at least one frame, got {n_frames}.")
    room = ExampleRoom(n_frames)
    if isinstance(lens, LensPreset):
        lens = preset_lens(lens, ego_size, ego_size)
    exo_camera, ego_camera = room.exo_camera(exo_width, exo_height), room.ego_camera(lens, ego_size, ego_size)

    def report(before: int) -> Progress | None:
        return progress and (lambda done, _: progress(before + done, 2 * n_frames))

    return Take(
        name="example_room",
        exo=room.color(exo_camera, progress=report(0)),
        exo_camera=replace(exo_camera, take_kind=take_kind(exo_camera.world_to_camera)),
        depth=Depth(room.geometry(exo_camera)[0], DepthMeaning.METRIC),
        ego_camera=ego_camera,
        prompt=_prompt(),
        fps=_FPS,
        ego_truth=room.color(ego_camera, with_head=False, progress=report(n_frames)),
    )


def _prompt() -> str:
    """Return the prompt in the two blocks that EgoX was trained with."""
    blocks = [
        f"[{view.capitalize()} view]\n**Scene Overview:**\n{PROMPT_PARTS[f'{view}_scene']}\n\n"
        f"**Action Analysis:**\n{PROMPT_PARTS[f'{view}_action']}"
        for view in ("exo", "ego")
    ]
    return "\n\n".join(blocks)
