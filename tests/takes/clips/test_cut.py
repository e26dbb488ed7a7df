"""A marked point goes to one place, whatever follows the cut: picture, depth, masks, cameras, keypoints."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.lenses.brown_conrady import BrownConrady
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.clips.cut import Cut
from exo2ego.takes.clips.cut_keypoints import keypoints_through
from exo2ego.takes.clips.framing import Anchor, Fit, Wanted, frame_picture
from exo2ego.takes.clips.orientation import Orientation

STORED = (160, 96)
ORIENTATIONS = [Orientation(turns, mirrored) for mirrored, turns in product((False, True), range(4))]
WANTED = [
    Wanted(),
    Wanted(80, 48),
    Wanted(112, 112, Fit.CROP, Anchor.CENTER),
    Wanted(112, 112, Fit.CROP, Anchor.LEFT),
    Wanted(64, 112, Fit.CROP, Anchor.TOP),
    Wanted(112, 40, Fit.CROP, Anchor.BOTTOM),
    Wanted(50, 90, Fit.SQUEEZE),
    Wanted(200, 150, Fit.PAD, Anchor.CENTER),
    Wanted(90, 200, Fit.PAD, Anchor.BOTTOM),
    Wanted(200, 60, Fit.PAD, Anchor.RIGHT),
    Wanted(0, 72),
]


def cut_of(orientation: Orientation, wanted: Wanted, aspect: float = 1.0, stored=STORED, frames=(0, 2)) -> Cut:
    framing = frame_picture(*orientation.size(*stored), aspect, wanted)
    return Cut(
        frames=tuple(frames),
        times=tuple(frame / 30 for frame in frames),
        n_source=4,
        fps=30.0,
        stored=stored,
        pixel_aspect=aspect,
        orientation=orientation,
        window=framing.window,
        size=framing.size,
        placed=framing.placed,
    )


def upright(orientation: Orientation, column: float, row: float) -> tuple[float, float]:
    """Where a player shows a point of the stored picture: written down anew, in numbers."""
    width, height = STORED
    if orientation.mirrored:
        column = width - column
    for _ in range(orientation.turns):
        column, row, width, height = height - row, column, height, width
    return column, row


def spot(size: tuple[int, int], column: float, row: float, radius: float) -> torch.Tensor:
    """A soft white spot [H, W] in black."""
    across = torch.arange(size[0]) + 0.5 - column
    down = torch.arange(size[1]) + 0.5 - row
    return torch.exp(-(across**2 + down[:, None] ** 2) / (2 * radius**2))


def middle(picture: torch.Tensor) -> tuple[float, float]:
    """Where the bright pixels of [H, W] lie."""
    rows, columns = torch.nonzero(picture > 0.3 * picture.max(), as_tuple=True)
    weights = picture[rows, columns]
    return tuple(float(((place + 0.5) * weights).sum() / weights.sum()) for place in (columns, rows))


@pytest.mark.parametrize("aspect", [1.0, 4 / 3])
@pytest.mark.parametrize("wanted", WANTED, ids=str)
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_a_marked_point(orientation, wanted, aspect):
    cut = cut_of(orientation, wanted, aspect)
    seen = 0
    for stored in product((82.0, 12.0, 148.0, 46.0), (47.0, 14.0, 80.0)):
        picture = cut.picture(spot(STORED, *stored, 3)[..., None].expand(-1, -1, 3))
        assert picture.shape == (cut.size[1], cut.size[0], 3)
        if float(picture.max()) < 0.6:
            continue  # cut off
        place = middle(picture[..., 0])
        on_screen = upright(orientation, *stored)
        if min(place[0], place[1], cut.size[0] - place[0], cut.size[1] - place[1]) < 8:
            continue  # half of it is cut off
        if (seen := seen + 1) > 2:
            break

        # The whole picture at several sizes, upright as most programs give it.
        for scale in (0.5, 2.0):
            size = tuple(round(side * scale) for side in cut.upright)
            here = (on_screen[0] * scale, on_screen[1] * scale)
            moved = cut.points(torch.tensor([here], dtype=torch.float64), size)[0]
            assert moved.tolist() == pytest.approx(place, abs=0.35)

            maps = spot(size, *here, 3 * scale).expand(4, -1, -1)
            for what in (
                cut.depth(Depth(cut.in_time(maps, "maps"), DepthMeaning.METRIC)).values,
                cut.depth(Depth(cut.in_time(maps, "maps"), DepthMeaning.INVERSE)).values.nan_to_num(0),
                cut.mask(maps),
            ):
                assert what.shape == (2, cut.size[1], cut.size[0])
                cell = max(cut.placed[2] / cut.window[2], cut.placed[3] / cut.window[3]) / scale
                assert middle(what[0]) == pytest.approx(place, abs=0.3 + 0.5 * cell)

            focal = 100 * scale
            camera = Camera(Pinhole(focal, focal, size[0] / 2, size[1] / 2), *size, torch.eye(4))
            point = torch.tensor([here[0] - size[0] / 2, here[1] - size[1] / 2, focal]) * 0.02
            assert cut.camera(camera).project(point)[0].tolist() == pytest.approx(place, abs=0.35)
            assert (cut.camera(camera).width, cut.camera(camera).height) == cut.size

            person = {"pose_keypoints_2d": [*here, 0.9, *([0.0, 0.0, 0.0] * 17)]}
            frames = [{"people": [person], "canvas_width": size[0], "canvas_height": size[1]}] * 4
            followed = keypoints_through(cut, frames)
            numbers = followed[1]["people"][0]["pose_keypoints_2d"]
            assert numbers[:2] == pytest.approx(place, abs=0.35)
            assert numbers[2:6] == [0.9, 0.0, 0.0, 0.0]
            assert (followed[0]["canvas_width"], followed[0]["canvas_height"]) == cut.size

        # As stored, which a quarter turn tells by its shape.
        if orientation.turns % 2:
            maps = spot(STORED, *stored, 3).expand(4, -1, -1)
            assert middle(cut.mask(maps)[0]) == pytest.approx(place, abs=0.5 + 0.5 * cell)
            moved = cut.points(torch.tensor([stored], dtype=torch.float64), STORED)[0]
            assert moved.tolist() == pytest.approx(place, abs=0.35)
            camera = Camera(Pinhole(100, 100, 80, 48), *STORED, torch.eye(4))
            point = torch.tensor([stored[0] - 80, stored[1] - 48, 100]) * 0.02
            if orientation.mirrored:
                with pytest.raises(ValueError, match="stored mirrored"):
                    cut.camera(camera)
            else:
                assert cut.camera(camera).project(point)[0].tolist() == pytest.approx(place, abs=0.35)
    assert seen


def test_the_bars_hold_nothing():
    cut = cut_of(Orientation(), Wanted(200, 150, Fit.PAD))
    left, top, width, height = cut.placed
    outside = torch.ones(cut.size[1], cut.size[0], dtype=torch.bool)
    outside[top : top + height, left : left + width] = False
    assert bool(outside.any())
    ones = torch.ones(2, 96, 160)
    assert float(cut.picture(ones[0, ..., None].expand(-1, -1, 3))[outside].max()) == 0
    assert not cut.depth(Depth(ones, DepthMeaning.METRIC)).valid[:, outside].any()
    assert not cut.depth(Depth(ones, DepthMeaning.INVERSE)).valid[:, outside].any()
    assert cut.depth(Depth(ones, DepthMeaning.METRIC)).valid[:, ~outside].all()
    assert float(cut.mask(ones[:1])[:, outside].max()) == 0


def test_depth_edges_stay_sharp():
    """No value that is not in the depth comes out."""
    cut = cut_of(Orientation(1), Wanted(70, 70, Fit.CROP))
    maps = (torch.arange(160) % 7 + 1.0).expand(2, 96, 160)
    assert set(cut.depth(Depth(maps, DepthMeaning.METRIC)).values.flatten().tolist()) <= set(range(1, 8))


def test_frames_are_taken_by_number():
    cut = cut_of(Orientation(), Wanted(), frames=(1, 1, 3))
    maps = torch.arange(1.0, 5.0)[:, None, None].expand(4, 96, 160)
    assert cut.in_time(maps, "maps")[:, 0, 0].tolist() == [2, 2, 4]
    assert cut.in_time(["a", "b", "c", "d"], "frames") == ["b", "b", "d"]
    poses = torch.eye(4, dtype=torch.float64).repeat(4, 1, 1)
    poses[:, 0, 3] = torch.arange(4)
    camera = Camera(Pinhole(100, 100, 80, 48), *STORED, poses)
    assert cut.camera(camera).world_to_camera[:, 0, 3].tolist() == [1, 1, 3]
    assert cut.camera(replace(camera, world_to_camera=poses[:1])).is_fixed


@pytest.mark.parametrize(("count", "said"), [(3, "has 4 frames, and there are 3"), (2, "made from the frames of Load")])
def test_another_number_of_frames(count, said):
    cut = cut_of(Orientation(), Wanted())
    with pytest.raises(ValueError, match=said):
        cut.in_time(torch.ones(count, 96, 160), "depth maps")


@pytest.mark.parametrize("size", [(160, 160), (96, 160), (120, 96)])
def test_another_shape(size):
    cut = cut_of(Orientation(), Wanted())
    with pytest.raises(ValueError, match=f"160 x 96 pixels, and the depth maps {size[0]} x {size[1]}: another shape"):
        cut.maps(torch.ones(2, size[1], size[0]), 0.0)
    with pytest.raises(ValueError, match="another shape"):
        cut.camera(Camera(Pinhole(100, 100, 80, 48), *size, torch.eye(4)))


def test_sides_that_a_model_rounded():
    cut = cut_of(Orientation(), Wanted(), stored=(1920, 1080))
    assert cut.maps(torch.ones(2, 294, 518), 0.0).shape == (2, 1080, 1920)


def test_a_distorted_lens_follows():
    cut = cut_of(Orientation(1), Wanted(80, 60, Fit.CROP, Anchor.TOP))
    camera = Camera(
        BrownConrady(100, 100, 80, 48, (0.1, -0.02, 0.001, 0.002, 0.0, 0.0, 0.0, 0.0)), *STORED, torch.eye(4)
    )
    point = torch.tensor([0.1, 0.2, 1.0])
    before = camera.project(point)[0]
    after = cut.camera(camera).project(point)[0]
    assert torch.allclose(cut.points(before.double()[None], STORED)[0].float(), after.float(), atol=1e-3)


def test_keypoints_in_shares_of_the_picture():
    cut = cut_of(Orientation(), Wanted(80, 48))
    person = {"pose_keypoints_2d": [0.5, 0.25, 1.0, *([0.0, 0.0, 0.0] * 17)], "face_keypoints_2d": None}
    frames = [{"people": [person], "canvas_width": 320, "canvas_height": 192}] * 4
    assert keypoints_through(cut, frames)[0]["people"][0]["pose_keypoints_2d"][:3] == pytest.approx([40, 12, 1])


@pytest.mark.parametrize(
    "frames", [[{"people": []}] * 4, [{"people": None}] * 4, [7] * 4, [{"people": [], "canvas_width": "a"}] * 4]
)
def test_keypoints_that_are_none(frames):
    with pytest.raises(ValueError, match=r"Expected frame 0|does not state its image's size"):
        keypoints_through(cut_of(Orientation(), Wanted()), frames)


@pytest.mark.parametrize(
    "change",
    [
        {"frames": ()},
        {"frames": (0, 9)},
        {"times": (0.0,)},
        {"times": (0.5, 0.1)},
        {"times": (0.0, float("nan"))},
        {"fps": float("nan")},
        {"stored": (0, 4)},
        {"window": (0, 0, 161, 96)},
        {"placed": (-1, 0, 10, 10)},
    ],
)
def test_contradictions_are_refused(change):
    with pytest.raises(ValueError, match=r"cut|Sizes"):
        replace(cut_of(Orientation(), Wanted()), **change)
