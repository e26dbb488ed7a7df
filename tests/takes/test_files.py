"""Paths stay in their folder; arrays come without pickle; every refusal says why."""

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from exo2ego.common.cancel import cancellable
from exo2ego.common.memory import LIMIT_VARIABLE
from exo2ego.takes import numpy_files
from exo2ego.takes.files import load_json, resolve_inside, resolve_named
from exo2ego.takes.numpy_files import load_array, load_arrays


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "input"
    (folder / "takes").mkdir(parents=True)
    (folder / "takes" / "exo.mp4").touch()
    (tmp_path / "secret.txt").touch()
    return folder


@pytest.mark.parametrize("name", ["takes/exo.mp4", "  takes/exo.mp4 ", "takes/./exo.mp4"])
def test_a_name_inside(root, name):
    assert resolve_inside(root, name) == root / "takes" / "exo.mp4"


def test_an_absolute_name_inside(root):
    assert resolve_inside(root, str(root / "takes")) == root / "takes"


@pytest.mark.parametrize(
    "name",
    ["../secret.txt", "takes/../../secret.txt", "takes/../takes/exo.mp4", "..\\secret.txt", "/etc/passwd", "", " "],
)
def test_a_name_that_leaves(root, name):
    with pytest.raises(ValueError, match=str(root)):
        resolve_inside(root, name)


def test_a_neighbour_with_the_same_beginning(root):
    neighbour = root.with_name("input_other")
    neighbour.mkdir()
    with pytest.raises(ValueError, match="leads out"):
        resolve_inside(root, str(neighbour))


def test_a_link_that_leaves(root):
    (root / "link").symlink_to(root.parent)
    with pytest.raises(ValueError, match="leads out"):
        resolve_inside(root, "link/secret.txt")


def test_a_link_that_stays(root):
    (root / "link").symlink_to(root / "takes")
    assert resolve_inside(root, "link/exo.mp4") == root / "takes" / "exo.mp4"


def test_a_name_of_nothing(root):
    with pytest.raises(ValueError, match="There is no 'absent'"):
        resolve_inside(root, "absent")


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        ("takes", "takes", None),
        ("takes#", "takes", None),
        ("takes#one", "takes", "one"),
        ("takes#one#two", "takes", "one#two"),
        ("shot#1", "shot#1", None),
        ("shot#1#one", "shot#1", "one"),
        ("takes/exo.mp4#one", "takes/exo.mp4", "one"),
    ],
)
def test_a_name_in_a_path(root, text, path, name):
    (root / "shot#1").mkdir()
    assert resolve_named(root, text) == (root / path, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent", "no 'absent'"),
        ("absent#x", "no 'absent'"),
        ("../a#x", "points outside its folder"),
        ("link#x", "leads out"),
        ("#", "empty one"),
    ],
)
def test_a_name_in_a_path_that_is_none(root, text, message):
    (root / "link").symlink_to(root.parent)
    with pytest.raises(ValueError, match=message):
        resolve_named(root, text)


def test_half_precision_npz(tmp_path):
    depth = np.linspace(0.5, 4, 24, dtype=np.float16).reshape(2, 3, 4)
    np.savez_compressed(tmp_path / "depth.npz", depth=depth)
    loaded = load_array(tmp_path / "depth.npz")
    assert loaded.dtype == np.float16
    assert np.array_equal(loaded, depth)


def test_key_choice(tmp_path):
    np.savez(tmp_path / "one.npz", anything=np.ones(3))
    np.savez(tmp_path / "two.npz", depth=np.ones(3), mask=np.zeros(3))
    np.savez(tmp_path / "none.npz", a=np.ones(3), b=np.zeros(3))
    assert load_array(tmp_path / "one.npz").sum() == 3
    assert load_array(tmp_path / "two.npz").sum() == 3
    assert set(load_arrays(tmp_path / "two.npz")) == {"depth", "mask"}
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*'depth'"):
        load_array(tmp_path / "none.npz")


class _Bomb:
    """Unpickling this would end the test run."""

    def __reduce__(self):
        return pytest.exit, ("a pickle was run",)


def test_pickles_are_refused_unread(tmp_path):
    np.save(tmp_path / "object.npy", np.array([_Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "object.npz", depth=np.array([_Bomb()], dtype=object))
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(_Bomb()))
    for name in ("object.npy", "object.npz", "plain.npy"):
        with pytest.raises(ValueError, match="pickled"):
            load_array(tmp_path / name)


@pytest.mark.parametrize("name", ["depth.npy", "depth.npz"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_torn_files(tmp_path, name, keep):
    path = tmp_path / name
    values = np.random.default_rng(0).random((4, 50, 50))
    np.save(path, values) if name.endswith("y") else np.savez_compressed(path, depth=values)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ValueError, match=str(path)):
        load_array(path)


def test_a_damaged_npz(tmp_path):
    path = tmp_path / "depth.npz"
    np.savez_compressed(path, depth=np.random.default_rng(0).random((4, 50, 50)))
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated, corrupt"):
        load_array(path)


def test_an_empty_file_and_no_file(tmp_path):
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match="truncated, corrupt"):
        load_array(tmp_path / "empty.npy")
    with pytest.raises(ValueError, match="no file"):
        load_array(tmp_path / "absent.npy")


def test_no_numbers(tmp_path):
    np.save(tmp_path / "text.npy", np.array(["near", "far"]))
    with pytest.raises(ValueError, match="expected numbers"):
        load_array(tmp_path / "text.npy")


def test_json(tmp_path):
    (tmp_path / "good.json").write_text('{"a": 1}')
    (tmp_path / "torn.json").write_text('{"a": ')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    assert load_json(tmp_path / "good.json") == {"a": 1}
    for name in ("torn.json", "bytes.json", "absent.json"):
        with pytest.raises(ValueError, match=name):
            load_json(tmp_path / name)


@pytest.mark.parametrize("name", ["loop", "x" * 5000])
def test_names_that_cannot_be_looked_up(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match="cannot be looked up"):
        resolve_inside(tmp_path, name)


# Bombs and cancelling ------------------------------------------------------------------------------------------------


def declared(shape, dtype="<f4"):
    """The header of an .npy file of that shape, without its numbers."""
    stored = io.BytesIO()
    np.lib.format.write_array_header_1_0(stored, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stored.getvalue()


@pytest.mark.parametrize("shape", [(2**20, 2**12, 2**12), (2**40,)])
def test_headers_that_declare_terabytes_are_refused_before_memory_is_taken(tmp_path, shape):
    (tmp_path / "bomb.npy").write_bytes(declared(shape))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("depth.npy", declared(shape))
    tracemalloc.start()
    try:
        for name in ("bomb.npy", "bomb.npz"):
            with pytest.raises(ValueError, match=rf"{name} .* would need .* of memory.*Check the file"):
                load_array(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_many_arrays_count_together(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "many.npz", **{f"a{number}": np.zeros(3_000_000) for number in range(5)})
    monkeypatch.setenv(LIMIT_VARIABLE, "0.1")
    with pytest.raises(ValueError, match=r"many.npz \(5 arrays\) would need 0.1 GB .* allows 0.1 GB"):
        load_arrays(tmp_path / "many.npz")


def test_arrays_are_what_numpy_reads(tmp_path):
    values = {
        "row": np.arange(24, dtype=">i2").reshape(2, 3, 4),
        "column": np.asfortranarray(np.random.default_rng(0).random((3, 4, 5))),
        "one": np.float16(3),
        "none": np.zeros((0, 3)),
        "flags": np.array([True, False]),
    }
    np.savez_compressed(tmp_path / "all.npz", **values)
    got = load_arrays(tmp_path / "all.npz")
    assert set(got) == set(values)
    for name, value in values.items():
        np.testing.assert_array_equal(got[name], value)
        assert got[name].dtype == value.dtype
        np.save(tmp_path / "one.npy", value)
        np.testing.assert_array_equal(load_array(tmp_path / "one.npy"), value)


def test_reading_asks_in_between_whether_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(numpy_files, "_BYTES_AT_ONCE", 1000)
    np.savez_compressed(tmp_path / "depth.npz", depth=np.zeros((50, 100)))
    asked = []
    with cancellable(lambda: asked.append(1)):
        load_array(tmp_path / "depth.npz")
    assert len(asked) >= 40

    def cancel():
        raise KeyboardInterrupt

    with cancellable(cancel), pytest.raises(KeyboardInterrupt):
        load_array(tmp_path / "depth.npz")


def test_a_header_that_is_cut_is_told(tmp_path):
    """NumPy reads headers as Python's own text, and raises its errors."""
    path = tmp_path / "depth.npy"
    np.save(path, np.ones((4, 24, 32)))
    path.write_bytes(path.read_bytes().replace(b"(4, 24, 32)", b"(4, 24, 32("))
    with pytest.raises(ValueError, match=r"depth.npy is truncated, corrupt or not a NumPy file"):
        load_array(path)
