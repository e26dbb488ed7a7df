"""MOGE_GEOMETRY and DA3_GEOMETRY as core's nodes make them, read with their traps."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.depth.core_geometry import read_da3, read_moge

FRAMES, HEIGHT, WIDTH = 4, 60, 100
FOV = 60.0
FOCAL = 0.5 * WIDTH / math.tan(math.radians(FOV / 2))


def room() -> torch.Tensor:
    """Depth [F, H, W] in metres that differs everywhere."""
    return 2 + torch.rand(FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def moge(**change) -> dict:
    """What core's MoGe Inference returns: lists of the fields that its model has, concatenated."""
    depth = room()
    masked = torch.zeros_like(depth, dtype=torch.bool)
    masked[:, :10] = True
    depth = depth.masked_fill(masked, math.inf)
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    rays = torch.stack([(columns - WIDTH / 2) / FOCAL, (rows - HEIGHT / 2) / FOCAL, torch.ones(HEIGHT, WIDTH)], -1)
    normalised = torch.tensor([[FOCAL / WIDTH, 0, 0.5], [0, FOCAL / HEIGHT, 0.5], [0, 0, 1]])
    payload = {
        "image": torch.rand(FRAMES, HEIGHT, WIDTH, 3),
        "points": rays * depth[..., None],
        "depth": depth,
        "intrinsics": normalised.repeat(FRAMES, 1, 1),
        "mask": ~masked,
        "normal": torch.zeros(FRAMES, HEIGHT, WIDTH, 3),
    }
    return {key: value for key, value in {**payload, **change}.items() if value is not None}


def test_moge():
    payload = moge()
    result = read_moge(payload)
    assert torch.equal(result.depth.values[:, 10:], room()[:, 10:])
    assert not result.depth.values[:, :10].any()  # infinity and the mask
    assert not result.notes
    # Its own points come out where its intrinsics see them.
    points = result.camera.unproject(result.depth.values)
    assert torch.allclose(points[:, 10:], payload["points"][:, 10:], atol=1e-4)
    assert result.camera.is_fixed


def test_moge_of_half_precision_and_the_masks_alone():
    depth = room()
    mask = torch.ones_like(depth)
    mask[:, :, :5] = 0
    payload = moge(depth=depth.half(), points=None, mask=mask)
    values = read_moge(payload).depth.values
    assert values.dtype == torch.float32
    assert not values[:, :, :5].any()
    assert torch.allclose(values[:, :, 5:], depth[:, :, 5:], atol=1e-2)


def test_moge_without_depth_takes_its_points():
    assert torch.equal(read_moge(moge(depth=None)).depth.values[:, 10:], room()[:, 10:])


def test_moges_first_version_is_named():
    assert "MoGe's first version" in read_moge(moge(normal=None)).notes[0]


def test_moge_that_sees_another_field_in_each_frame():
    focal = torch.linspace(0.8, 0.9, FRAMES)
    intrinsics = moge()["intrinsics"].clone()
    intrinsics[:, 0, 0] = focal
    result = read_moge(moge(intrinsics=intrinsics))
    assert "fields of view from 58.1 to 64.0 degrees" in result.notes[0]
    assert 0.8 * WIDTH < result.camera.lens.fx < 0.9 * WIDTH


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_lengths_are_multiplied(factor):
    assert torch.allclose(read_moge(moge(), factor).depth.values[:, 10:], room()[:, 10:] * factor)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"intrinsics": None}, "no intrinsics, as that of a panorama"),
        ({"depth": None, "points": None}, "neither 'depth' nor 'points'"),
        ({"depth": torch.ones(HEIGHT, WIDTH)}, "'depth' of a MOGE_GEOMETRY is a tensor of 3 dimensions"),
        ({"depth": [[1.0]]}, "got a list"),
        ({"mask": torch.ones(1, 4, 4)}, "'mask' of a MOGE_GEOMETRY is as large as its depth"),
        ({"intrinsics": torch.full((FRAMES, 3, 3), math.nan)}, "not those of a camera"),
        ({"intrinsics": torch.ones(2, 3, 3)}, r"are \[4, 3, 3\], got \[2, 3, 3\]"),
    ],
)
def test_what_is_no_geometry_of_moge(change, said):
    with pytest.raises(ValueError, match=said) as error:
        read_moge(moge(**change))
    assert "Connect moge_geometry" in str(error.value)


# Depth Anything 3 ---------------------------------------------------------------------------------------------------

# Long side 504, a multiple of 14; the short one follows.
PROCESSED = (504, 308)


def poses() -> torch.Tensor:
    """World-to-camera [F, 4, 4] of a camera that turns and walks."""
    result = torch.eye(4).repeat(FRAMES, 1, 1)
    for frame in range(FRAMES):
        angle = 0.1 * frame
        result[frame, :3, :3] = torch.tensor(
            [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
        )
        result[frame, :3, 3] = torch.tensor([0.2 * frame, 0.0, 0.1])
    return result


def da3(**change) -> dict:
    """What core's Run Depth Anything 3 returns of several views."""
    width, height = PROCESSED
    focal = 0.5 * width / math.tan(math.radians(FOV / 2))
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    payload = {
        "depth": room(),
        "image": torch.rand(FRAMES, HEIGHT, WIDTH, 3),
        "mode": "multiview",
        "extrinsics": poses()[None, :, :3],
        "intrinsics": intrinsics.repeat(1, FRAMES, 1, 1),
        "confidence": torch.rand(FRAMES, HEIGHT, WIDTH),
    }
    return {key: value for key, value in {**payload, **change}.items() if value is not None}


def test_da3_of_several_views():
    result = read_da3(da3())
    assert torch.equal(result.depth.values, room())
    camera = result.camera
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert camera.lens.fx == pytest.approx(FOCAL, rel=1e-5)
    assert (camera.lens.cx, camera.lens.cy) == pytest.approx((WIDTH / 2, HEIGHT / 2))
    # Its height was rounded to a multiple of 14, so that its pixels were not quite square.
    assert camera.lens.fy == pytest.approx(FOCAL * (PROCESSED[0] / WIDTH) * (HEIGHT / PROCESSED[1]), rel=1e-5)
    assert torch.allclose(camera.world_to_camera, poses().double(), atol=1e-6)


def test_da3s_lengths_and_poses_have_one_unit():
    result = read_da3(da3(), 0.25)
    assert torch.allclose(result.depth.values, room() / 4)
    assert torch.allclose(result.camera.world_to_camera[:, :3, 3], poses()[:, :3, 3].double() / 4, atol=1e-6)
    assert torch.allclose(result.camera.world_to_camera[:, :3, :3], poses()[:, :3, :3].double(), atol=1e-6)


def test_da3_of_single_views_has_no_camera_and_no_sky():
    sky = torch.zeros(FRAMES, HEIGHT, WIDTH)
    sky[:, :20] = 0.9
    sky[:, 20:30] = 0.3
    result = read_da3(da3(mode="mono", extrinsics=None, intrinsics=None, confidence=None, sky=sky))
    assert result.camera is None
    assert any("no camera, as in the mode mono" in note for note in result.notes)
    assert not result.depth.values[:, :20].any()
    assert torch.equal(result.depth.values[:, 20:], room()[:, 20:])


def test_da3s_identities_are_no_camera():
    """What core fills in where the model gives none."""
    fallback = {
        "extrinsics": torch.eye(4)[None, None].expand(1, FRAMES, 4, 4).clone(),
        "intrinsics": torch.eye(3)[None, None].expand(1, FRAMES, 3, 3).clone(),
    }
    result = read_da3(da3(**fallback))
    assert result.camera is None
    assert any("not those of a camera" in note for note in result.notes)
    still = read_da3(da3(extrinsics=fallback["extrinsics"]))
    assert still.camera.is_fixed


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda matrices: matrices.fill_(math.nan), "NaN or infinity"),
        (lambda matrices: matrices[..., 0].neg_(), "no rotations"),
        (lambda matrices: matrices[..., :3].mul_(3), "no rotations"),
    ],
)
def test_da3s_broken_poses_are_not_used(spoil, said):
    matrices = poses()[None, :, :3].clone()
    spoil(matrices)
    result = read_da3(da3(extrinsics=matrices))
    assert result.camera.is_fixed
    assert any(said in note for note in result.notes)


def test_da3s_nearly_rotations_are_mended():
    matrices = poses()[None, :, :3] + 0.01 * torch.rand(1, FRAMES, 3, 4, generator=torch.Generator().manual_seed(1))
    turns = read_da3(da3(extrinsics=matrices)).camera.world_to_camera[:, :3, :3]
    assert torch.allclose(turns @ turns.mT, torch.eye(3, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depth": None}, "no 'depth'"),
        ({"extrinsics": poses()[:, :3]}, "tensor of 4 dimensions"),
        ({"intrinsics": torch.ones(1, 2, 3, 3)}, r"'intrinsics' of a DA3_GEOMETRY are \[1, 4, ...\]"),
        ({"sky": torch.ones(FRAMES, 2, 2)}, "'sky' of a DA3_GEOMETRY is as large"),
    ],
)
def test_what_is_no_geometry_of_da3(change, said):
    with pytest.raises(ValueError, match=said) as error:
        read_da3(da3(**change))
    assert "Connect da3_geometry" in str(error.value)


@pytest.mark.parametrize("payload", [None, [], "text", 3, {}])
@pytest.mark.parametrize("reader", [read_moge, read_da3])
def test_what_is_none_at_all(payload, reader):
    with pytest.raises(ValueError, match=r"Expected a|has n"):
        reader(payload)
