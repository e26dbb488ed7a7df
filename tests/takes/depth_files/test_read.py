"""Depth files of every kind hold what was written, whichever maps are wanted."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exo2ego.common.memory import LIMIT_VARIABLE, NotEnoughMemoryError
from exo2ego.geometry.depth.declared import Declared, DepthUnit
from exo2ego.geometry.depth.depth import DepthMeaning
from exo2ego.takes import files as files_module
from exo2ego.takes.depth_files.names import DEPTH_FILES
from exo2ego.takes.depth_files.read import MapsPart, open_depth, read_depth
from support.depth_files import EXR_COMPRESSIONS, write_deep_png, write_exr, write_gray_video
from support.odd_clips import write_clip

METRIC, INVERSE, NORMALISED = DepthMeaning.METRIC, DepthMeaning.INVERSE, DepthMeaning.NORMALISED_INVERSE
FRAMES, HEIGHT, WIDTH = 5, 24, 38


def metres(frames: int = FRAMES) -> np.ndarray:
    """Maps [F, H, W] float32 that differ in every pixel and frame."""
    return np.random.default_rng(0).uniform(0.5, 9, (frames, HEIGHT, WIDTH)).astype(np.float32)


def read(*paths: Path, meaning: DepthMeaning = METRIC, unit: DepthUnit = DepthUnit.METRES, factor=1.0, **part):
    return read_depth(open_depth(paths), Declared(meaning, unit=unit, factor=factor), MapsPart(**part))


# Arrays -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npy", "fortran", "npz", "packed npz", "several arrays", "channel", "one by one"])
def test_arrays(tmp_path, kind):
    maps = metres()
    path = tmp_path / "depth.npz"
    if kind == "npz":
        np.savez(path, maps)
    elif kind == "packed npz":
        np.savez_compressed(path, anything=maps)
    elif kind == "several arrays":
        np.savez_compressed(path, mask=maps > 1, depth=maps)
    elif kind == "one by one":
        paths = [tmp_path / f"{number}.npy" for number in range(FRAMES)]
        for number, one in enumerate(paths):
            np.save(one, maps[number, ..., None] if number % 2 else maps[number])
    else:
        path = tmp_path / "depth.npy"
        np.save(path, {"npy": maps, "fortran": np.asfortranarray(maps), "channel": maps[..., None]}[kind])
    given = paths if kind == "one by one" else [path]
    np.testing.assert_array_equal(read(*given).depth.values, maps)
    part = read(*given, start=1, frames=3)
    np.testing.assert_array_equal(part.depth.values, maps[1:4])
    assert "Read 3 of 5 maps: NumPy, float32, 38 x 24" in part.report


def test_a_single_map(tmp_path):
    np.save(tmp_path / "one.npy", metres()[0])
    np.testing.assert_array_equal(read(tmp_path / "one.npy").depth.values, metres()[:1])


@pytest.mark.parametrize("archive", [False, True])
def test_only_what_is_wanted_of_an_array_is_held(tmp_path, monkeypatch, archive):
    maps = np.ones((300, 500, 500), np.float16)  # 150 MB
    maps[:, 0, 0] = np.arange(300)
    path = tmp_path / ("long.npz" if archive else "long.npy")
    (np.savez_compressed if archive else np.save)(path, maps)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.05")
    assert read(path, start=290, frames=3).depth.values[:, 0, 0].tolist() == [290, 291, 292]
    with pytest.raises(NotEnoughMemoryError, match="Depth of 300 frames at 500 x 500 would need"):
        read(path)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"start": 5}, "There are 5 depth maps, counted from 0, so there are none from 5 on"),
        ({"start": 3, "frames": 3}, "none 3 to 5"),
    ],
)
def test_maps_that_are_not_there(tmp_path, part, said):
    np.save(tmp_path / "depth.npy", metres())
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "depth.npy", **part)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 3), (0, 4, 4), (2, 2, 2, 2, 2)])
def test_arrays_of_another_shape(tmp_path, shape):
    np.save(tmp_path / "depth.npy", np.ones(shape))
    with pytest.raises(ValueError, match=r"depth.npy holds the shape .*Save it so"):
        read(tmp_path / "depth.npy")


# OpenEXR ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", EXR_COMPRESSIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    "names",
    [
        ["Y"],
        ["Z"],
        ["V"],
        ["R", "G", "B", "A", "Z"],
        ["depth"],
        ["Y", "A"],
        ["ViewLayer.Depth.Z", "ViewLayer.Combined.A", "ViewLayer.Combined.R", "ViewLayer.Combined.G"],
        ["ViewLayer.Depth.V", "ViewLayer.Combined.R"],
    ],
)
def test_exr_by_the_names_that_programs_use(tmp_path, names, dtype, compression):
    maps = metres().astype(dtype)
    depth = next(name for name in names if name.split(".")[-1] in ("Z", "V", "depth", "Y"))
    paths = []
    for number, one in enumerate(maps):
        others = {name: np.full_like(one, 0.25, np.float16) for name in names if name != depth}
        paths.append(write_exr(tmp_path / f"{number}.exr", {**others, depth: one}, compression))
    result = read(*paths)
    np.testing.assert_array_equal(result.depth.values, maps.astype(np.float32))
    assert f"OpenEXR, channel {depth}" in result.report
    assert not result.depth.findings


def test_gray_exr_in_three_channels_and_colored_ones(tmp_path):
    (one,) = metres(1)
    gray = write_exr(tmp_path / "gray.exr", {"R": one, "G": one, "B": one})
    np.testing.assert_array_equal(read(gray).depth.values[0], one)
    assert not read(gray).depth.findings
    colored = write_exr(tmp_path / "colored.exr", {"R": one, "G": one / 2, "B": one})
    assert "colored.exr is colored" in read(colored).depth.contradictions()[0]


@pytest.mark.parametrize(("dtype", "nothing"), [(np.float32, 1e10), (np.float16, 65504), (np.float16, np.inf)])
def test_where_3d_programs_see_nothing(tmp_path, dtype, nothing):
    (one,) = metres(1).astype(dtype)
    one[:4] = nothing
    one[5, 5] = np.nan
    values = read(write_exr(tmp_path / "sky.exr", {"Z": one})).depth.values[0]
    assert not values[:4].any()
    assert values[5, 5] == 0
    np.testing.assert_array_equal(values[6:], one[6:].astype(np.float32))


@pytest.mark.parametrize(
    ("channels", "flags", "said"),
    [
        ({"a.Z": 1, "b.Z": 1}, 0, "has the channels a.Z, b.Z: which is the depth cannot be told"),
        ({"X": 1, "W": 1}, 0, "cannot be told"),
        ({"Z": 1}, 0x1000, "of several parts"),
        ({"Z": 1}, 0x800, "of deep pixels"),
    ],
)
def test_exr_that_cannot_be_read(tmp_path, channels, flags, said):
    path = write_exr(tmp_path / "odd.exr", {name: metres(1)[0] for name in channels}, flags=flags)
    with pytest.raises(ValueError, match=said) as error:
        read(path)
    assert "Save the depth alone as OpenEXR" in str(error.value)


def test_exr_of_whole_numbers(tmp_path):
    path = write_exr(tmp_path / "ids.exr", {"Z": np.ones((8, 8), np.uint32)}, "none")
    with pytest.raises(ValueError, match="whole numbers of 32 bit"):
        read(path)


@pytest.mark.parametrize("length", [0, 3, 40, 200, 330, 600])
def test_truncated_exr(tmp_path, length):
    whole = write_exr(tmp_path / "torn.exr", {"Z": metres(1)[0]}).read_bytes()
    (tmp_path / "torn.exr").write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r"torn.exr .*Copy it again|torn.exr .*Save the depth"):
        read(tmp_path / "torn.exr")


def test_an_exr_that_claims_to_be_huge(tmp_path, monkeypatch):
    path = write_exr(tmp_path / "huge.exr", {"Z": metres(1)[0]})
    content = path.read_bytes()
    box = struct.pack("<4i", 0, 0, WIDTH - 1, HEIGHT - 1)
    shown = content.rindex(box)  # the data window, which comes first, stays
    path.write_bytes(content[:shown] + struct.pack("<4i", 0, 0, 10**6, 10**6) + content[shown + len(box) :])
    with pytest.raises(NotEnoughMemoryError, match=r"huge.exr at 1000001 x 1000001"):
        read(path)


# Pictures -----------------------------------------------------------------------------------------------------------


def millimetres() -> np.ndarray:
    return (metres() * 1000).round().astype(np.uint16)


def write_pages(folder: Path, maps: np.ndarray, kind: str) -> list[Path]:
    paths = [folder / f"depth_{number:04d}.{kind[:3]}" for number in range(len(maps))]
    for path, one in zip(paths, maps):
        Image.fromarray(one).save(path, **({"compression": "tiff_adobe_deflate"} if kind == "tif packed" else {}))
    return paths


@pytest.mark.parametrize("kind", ["png", "tif", "tif packed"])
def test_pictures_of_16_bit(tmp_path, kind):
    result = read(*write_pages(tmp_path, millimetres(), kind), unit=DepthUnit.MILLIMETRES)
    np.testing.assert_allclose(result.depth.values, millimetres() / 1000, rtol=1e-6)
    assert "16 bit" in result.report


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_of_16_bit_in_several_channels(tmp_path, channels):
    """Pillow cuts these to 8 bit."""
    (one,) = millimetres()[:1]
    values = np.repeat(one[..., None], channels, axis=-1)
    if channels in (2, 4):
        values[..., -1] = 65535
    path = write_deep_png(tmp_path / "deep.png", values)
    np.testing.assert_allclose(read(path, unit=DepthUnit.MILLIMETRES).depth.values[0], one / 1000, rtol=1e-6)


@pytest.mark.parametrize("kind", ["tif", "tif packed"])
def test_tiff_of_floating_point_numbers(tmp_path, kind):
    result = read(*write_pages(tmp_path, metres(), kind))
    np.testing.assert_array_equal(result.depth.values, metres())


def test_a_stack_of_pages(tmp_path):
    pages = [Image.fromarray(one) for one in metres()]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read(tmp_path / "stack.tif", start=2, frames=2).depth.values, metres()[2:4])


def test_normalised_pictures_fill_0_to_1(tmp_path):
    maps = np.linspace(0, 65535, FRAMES * HEIGHT * WIDTH).reshape(FRAMES, HEIGHT, WIDTH)
    for name, white in (("deep.png", 65535), ("plain.png", 255)):
        (one,) = (maps[:1] / maps[:1].max() * white).round()
        Image.fromarray(one.astype(np.uint16 if white > 255 else np.uint8)).save(tmp_path / name)
        values = read(tmp_path / name, meaning=NORMALISED).depth.values[0]
        np.testing.assert_allclose(values, one / white, atol=1e-6)
        raw = read(tmp_path / name, meaning=INVERSE).depth.values[0]
        np.testing.assert_array_equal(raw, one)


def test_colored_pictures(tmp_path):
    ramp = np.linspace(0, 255, WIDTH).astype(np.uint8)
    colors = np.broadcast_to(np.stack([ramp, 255 - ramp, ramp // 2], -1), (HEIGHT, WIDTH, 3))
    Image.fromarray(np.ascontiguousarray(colors)).save(tmp_path / "turbo.png")
    assert "turbo.png is colored" in read(tmp_path / "turbo.png", meaning=NORMALISED).depth.contradictions()[0]


def test_a_tiff_that_is_not_read_says_what_is(tmp_path):
    """Three floating-point channels: Pillow knows them not."""
    image = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(image, "TIFF")
    content = bytearray(image.getvalue())
    (place,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, place)
    for number in range(entries):
        entry = place + 2 + 12 * number
        if struct.unpack_from("<H", content, entry)[0] == 258:  # bits of each channel
            bits = struct.unpack_from("<I", content, entry + 8)[0]
            content[bits : bits + 6] = struct.pack("<3H", 32, 32, 32)
    (tmp_path / "floats.tif").write_bytes(content)
    with pytest.raises(ValueError, match=r"floats.tif .*Save it as a TIFF of one channel"):
        read(tmp_path / "floats.tif")


@pytest.mark.parametrize("kind", ["png", "tif", "exr", "npy"])
def test_maps_of_two_sizes(tmp_path, kind):
    for number, one in enumerate((metres()[0], metres()[0][:-1])):
        path = tmp_path / f"{number}.{kind}"
        if kind == "exr":
            write_exr(path, {"Z": one})
        elif kind == "npy":
            np.save(path, one)
        else:
            Image.fromarray((one * 1000).astype(np.uint16)).save(path)
    with pytest.raises(ValueError, match=f"1.{kind} has 38 x 23 pixels, and the first map 38 x 24"):
        read(*sorted(tmp_path.iterdir()))


# Videos -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "pixels", "name", "white"),
    [
        ("ffv1", "gray", "depth.mkv", 255),
        ("ffv1", "gray16le", "depth.mkv", 65535),
        ("ffv1", "gray10le", "depth.mkv", 1023),
        ("libx264", "yuvj420p", "depth.mp4", 255),
    ],
)
def test_gray_videos_are_exact(tmp_path, codec, pixels, name, white):
    maps = (metres() / 10 * white).round()
    options = {"qp": "0"} if codec == "libx264" else {}
    path = write_gray_video(tmp_path / name, maps, codec, pixels, **options)
    np.testing.assert_array_equal(read(path, meaning=INVERSE).depth.values, maps)
    np.testing.assert_allclose(read(path, meaning=NORMALISED).depth.values, maps / white, atol=1e-6)
    part = read(path, meaning=INVERSE, start=3, frames=2)
    np.testing.assert_array_equal(part.depth.values, maps[3:])
    assert "video" in part.report


@pytest.mark.parametrize(("pixels", "step"), [("yuv420p", 1), ("yuv420p10le", 4)])
def test_black_and_white_of_ordinary_videos(tmp_path, pixels, step):
    """Black is 16, white 235."""
    maps = np.full((2, 32, 48), 16 * step)
    maps[:, :, 16:] = 235 * step
    maps[:, :, 32:] = 126 * step
    path = write_gray_video(tmp_path / "depth.mp4", maps, "libx264", pixels, qp="0")
    values = read(path, meaning=NORMALISED).depth.values[0]
    np.testing.assert_allclose(values[0, [0, 20, 40]], [0, 1, 110 / 219], atol=1e-6)


def test_a_colored_video(tmp_path):
    path = write_clip(tmp_path / "colored.mp4", 3)
    assert "colored.mp4 is colored" in read(path, meaning=NORMALISED).depth.contradictions()[0]


# Units --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "factor", "metres_each"),
    [
        (DepthUnit.METRES, 1, 1),
        (DepthUnit.CENTIMETRES, 1, 0.01),
        (DepthUnit.MILLIMETRES, 1, 0.001),
        (DepthUnit.OWN, 0.0002, 0.0002),
    ],
)
def test_units(tmp_path, unit, factor, metres_each):
    np.save(tmp_path / "depth.npy", metres())
    values = read(tmp_path / "depth.npy", unit=unit, factor=factor).depth.values
    np.testing.assert_allclose(values, metres() * metres_each, rtol=1e-6)


def test_units_that_cannot_be():
    with pytest.raises(ValueError, match="millimetres belongs to metric depth"):
        Declared(INVERSE, unit=DepthUnit.MILLIMETRES)
    with pytest.raises(ValueError, match="own factor is the metres"):
        Declared(METRIC, unit=DepthUnit.OWN, factor=0.0)


# Names --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    np.save(tmp_path / "array.npy", metres())
    for number in range(12):
        write_exr(tmp_path / "shot" / "depth" / f"f.{number}.exr", {"Z": metres(1)[0] + number})
    for number in range(3):  # previews beside them
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "shot" / "depth" / f"preview.{number}.png")
    write_exr(tmp_path / "one.exr", {"Z": metres(1)[0]})
    write_clip(tmp_path / "gray.mp4", 2)
    return tmp_path


def load(root: Path, name: str):
    settings = {"declared": Declared(METRIC), "part": MapsPart(), "cut": None, "progress": None}
    return DEPTH_FILES.load(root, name, **settings)


def test_names_that_are_offered(root):
    assert DEPTH_FILES.names(root) == ["none", "array.npy", "shot/depth", "one.exr", "gray.mp4"]


@pytest.mark.parametrize("name", ["shot/depth", "shot/depth/f.%d.exr", "shot/depth/f.*.exr"])
def test_sequences_come_in_the_order_of_their_numbers(root, name):
    values = load(root, name).depth.values
    expected = [metres(1)[0, 0, 0] + number for number in range(12)]
    np.testing.assert_allclose(values[:, 0, 0], expected, rtol=1e-6)
    assert len(DEPTH_FILES.files(root, name)) == 12


@pytest.mark.parametrize("name", ["absent.exr", "../x.npy", "shot", "shot/depth/g*.exr"])
def test_names_that_mean_nothing(root, name):
    with pytest.raises(ValueError, match=r"Check the name|points outside|No picture"):
        DEPTH_FILES.check(root, name)


def test_links_that_lead_out(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    write_exr(outside / "f.1.exr", {"Z": metres(1)[0]})
    (root / "linked").mkdir()
    (root / "linked" / "f.1.exr").symlink_to(outside / "f.1.exr")
    with pytest.raises(ValueError, match="leads out"):
        DEPTH_FILES.check(root, "linked")


def test_only_wanted_files_are_opened(root, monkeypatch):
    opened = []
    real = files_module.read_whole
    from exo2ego.takes.depth_files import exr

    monkeypatch.setattr(exr, "read_whole", lambda path, largest: opened.append(path.name) or real(path, largest))
    paths = DEPTH_FILES.finder(root, "shot/depth")
    read(*paths, start=4, frames=2)
    assert opened == ["f.0.exr", "f.4.exr", "f.5.exr"]  # the first tells sizes and channels


def test_progress(root):
    said = []
    paths = DEPTH_FILES.finder(root, "shot/depth")
    read_depth(open_depth(paths), Declared(METRIC), progress=lambda done, total: said.append((done, total)))
    assert said == [(number, 12) for number in range(1, 13)]


def test_numbers_that_are_missing(root):
    (root / "shot" / "depth" / "f.7.exr").unlink()
    assert any("Numbers are missing" in finding for finding in load(root, "shot/depth").depth.findings)
    assert torch.isfinite(load(root, "shot/depth").depth.values).all()
