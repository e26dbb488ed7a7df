"""PLY files as scanners, 3D programs and trainers of Gaussian splats write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exo2ego.common.memory import LIMIT_VARIABLE, NotEnoughMemoryError
from exo2ego.takes.ply_files import SCANS, read_ply

PLACES = np.random.default_rng(0).uniform(-3, 3, (20, 3)).astype(np.float32)
COLORS = np.random.default_rng(1).integers(0, 256, (20, 3)).astype(np.uint8)
_NAMES = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort", "i4": "int"}


def write_ply(path: Path, columns: dict[str, np.ndarray], kind: str = "binary_little_endian", more: str = "") -> Path:
    """Write a PLY file by its specification: columns by name, and further elements after the points."""
    order = ">" if "big" in kind else "<"
    codes = {name: values.dtype.str[1:] for name, values in columns.items()}
    head = ["ply", f"format {kind} 1.0", "comment made by a test", f"element vertex {len(columns['x'])}"]
    head += [f"property {_NAMES[code]} {name}" for name, code in codes.items()]
    head += [more] if more else []
    table = np.zeros(len(columns["x"]), [(name, order + code) for name, code in codes.items()])
    for name, values in columns.items():
        table[name] = values
    if kind == "ascii":
        content = "".join(" ".join(str(number) for number in row) + "\n" for row in table.tolist()).encode()
    else:
        content = table.tobytes()
    path.write_bytes("\n".join([*head, "end_header\n"]).encode() + content)
    return path


def points(code: str = "f4") -> dict[str, np.ndarray]:
    return {axis: PLACES[:, number].astype(code) for number, axis in enumerate("xyz")}


def colored() -> dict[str, np.ndarray]:
    return {**points(), **{name: COLORS[:, number] for number, name in enumerate(("red", "green", "blue"))}}


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("code", ["f4", "f8"])
def test_colored_points(tmp_path, kind, code):
    found, colors = read_ply(write_ply(tmp_path / "scan.ply", {**colored(), **points(code)}, kind))
    np.testing.assert_allclose(found, PLACES, rtol=1e-5)
    np.testing.assert_allclose(colors, COLORS / 255, atol=1e-6)


def test_corners_of_a_mesh_with_normals(tmp_path):
    columns = {**points(), "nx": PLACES[:, 0], **colored(), "alpha": COLORS[:, 0]}
    faces = "element face 1\nproperty list uchar int vertex_indices"
    path = write_ply(tmp_path / "mesh.ply", columns, more=faces)
    path.write_bytes(path.read_bytes() + b"\x03" + bytes(12))
    found, colors = read_ply(path)
    np.testing.assert_allclose(found, PLACES)
    np.testing.assert_allclose(colors, COLORS / 255, atol=1e-6)


def test_points_without_colors_are_gray(tmp_path):
    assert np.unique(read_ply(write_ply(tmp_path / "scan.ply", points()))[1]).tolist() == [0.5]


def test_gaussian_splats(tmp_path):
    """Colors are the first harmonic's; opacity goes through a sigmoid."""
    wanted = COLORS / 255
    opacity = np.where(np.arange(20) % 2, 4.0, -4.0).astype(np.float32)
    columns = {**points(), **{f"f_dc_{axis}": ((wanted[:, axis] - 0.5) / 0.2820948).astype("f4") for axis in range(3)}}
    columns |= {f"f_rest_{number}": PLACES[:, 0] for number in range(9)}
    columns |= {"opacity": opacity, "scale_0": PLACES[:, 1]}
    found, colors = read_ply(write_ply(tmp_path / "splats.ply", columns))
    np.testing.assert_allclose(found, PLACES[1::2])
    np.testing.assert_allclose(colors, wanted[1::2], atol=1e-5)


def test_points_that_went_astray_are_left_out(tmp_path):
    columns = colored()
    columns["y"] = columns["y"].copy()
    columns["y"][:3] = np.nan, np.inf, 1e30
    assert len(read_ply(write_ply(tmp_path / "scan.ply", columns))[0]) == 17


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: content[:-5], "ends after 19 of its 20 points"),
        (lambda content: content[:60], "not a PLY file, or truncated"),
        (lambda content: b"solid" + content, "not a PLY file"),
        (lambda content: content.replace(b"float z", b"float w"), "has no z among"),
        (lambda content: content.replace(b"vertex 20", b"vertex 0"), "has 0 points"),
        (lambda content: content.replace(b"little_endian", b"middle_endian"), "format that is known"),
        (lambda content: content.replace(b"property float x", b"property list uchar int x"), "points with lists"),
        (lambda content: content.replace(b"element vertex", b"element face 3\nelement vertex"), "does not begin with"),
    ],
)
def test_what_is_no_scan(tmp_path, spoil, said):
    path = write_ply(tmp_path / "scan.ply", colored())
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=said) as error:
        read_ply(path)
    assert "scan.ply" in str(error.value)


def test_memory_is_asked_for_first(tmp_path, monkeypatch):
    path = write_ply(tmp_path / "scan.ply", colored())
    path.write_bytes(path.read_bytes().replace(b"vertex 20", b"vertex 9999999"))
    monkeypatch.setenv(LIMIT_VARIABLE, "0.1")
    with pytest.raises(NotEnoughMemoryError, match=r"9,999,999 points of scan.ply"):
        read_ply(path)


def test_names(tmp_path):
    write_ply(tmp_path / "scan.ply", points())
    assert SCANS.names(tmp_path) == ["none", "scan.ply"]
    assert SCANS.load(tmp_path, "none") is None
    with pytest.raises(ValueError, match="points outside"):
        SCANS.check(tmp_path, "../scan.ply")
