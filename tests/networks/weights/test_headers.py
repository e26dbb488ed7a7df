"""Headers: whole files are read, and what people have in their place is told."""

from __future__ import annotations

import json
import pickle
import struct

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from exo2ego.networks.weights.headers import DamagedFileError, read_header, unfinished_name
from support.tiny_gguf import write_gguf
from support.tiny_wan import DIM, wan_state_dict

TENSORS = {"a.weight": torch.ones(3, 4), "b": torch.zeros((), dtype=torch.bfloat16)}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path, {"format": "pt", "alpha": "8"})
    return path


def problem(path):
    with pytest.raises(DamagedFileError) as caught:
        read_header(path)
    assert caught.value.remedy
    return caught.value.found


def test_a_whole_file(saved):
    header = read_header(saved)
    assert {name: entry.shape for name, entry in header.tensors.items()} == {"a.weight": (3, 4), "b": ()}
    assert header.tensors["b"].dtype == "BF16"
    assert header.strings == {"format": "pt", "alpha": "8"}
    assert header.size == saved.stat().st_size


def test_every_cut_is_seen_as_safetensors_itself_sees_it(saved):
    whole = saved.read_bytes()
    for size in range(len(whole)):
        saved.write_bytes(whole[:size])
        with pytest.raises(SafetensorError), safe_open(str(saved), framework="pt"):
            pass
        problem(saved)
    saved.write_bytes(whole + b"\0")
    assert "1 bytes longer" in problem(saved)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 17000000000\n", "pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html><body>Log in to see this page</body></html>", "web page"),
        (b"<html lang='en'>" + b" " * 20_000, "web page"),
        (b"Access to model is restricted. You must be logged in.", "Access to model is restricted"),
        (b'{"error":"Repository not found"}', "Repository not found"),
        (b"\0" * 5000, "zeros"),
        (pickle.dumps({"a": 1}), "pickled"),
        (b"PK\x03\x04" + b"\x11" * 100, "pickled"),
        (struct.pack("<Q", 20) + b"{not json at all    " + b"\0" * 9, "header is damaged"),
        (struct.pack("<Q", 12) + b'{"a": [1,2]}', "header is damaged"),
        (b"\xff" * 30_000, "not a safetensors file"),
    ],
)
def test_what_stands_in_the_place_of_a_model(tmp_path, content, said):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert said in problem(path)


def test_a_pickle_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    path = tmp_path / "model.safetensors"
    torch.save(Trap(), path)
    assert "not opened" in problem(path)
    assert not (tmp_path / "sprung").exists()


def test_a_half_downloaded_model_tells_how_much_is_there(tmp_path):
    path = tmp_path / "model.safetensors"
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [10**9, 17], "data_offsets": [0, 17 * 10**9]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\1" * 10**6)
    assert "1 MB of 17.0 GB (0%)" in problem(path)


def test_gguf(tmp_path):
    tensors = wan_state_dict(layers=1)
    path = write_gguf(tmp_path / "wan.gguf", tensors)
    header = read_header(path)
    assert {name: entry.shape for name, entry in header.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }
    assert header.tensors["patch_embedding.weight"].shape == (DIM, 36, 1, 2, 2)
    assert header.strings["general.architecture"] == "wan"
    whole = path.read_bytes()
    for size in (10, 100, 3000, len(whole) // 2, len(whole) - 64):
        path.write_bytes(whole[:size])
        problem(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "half-downloaded" in problem(path)
    assert "(50%)" in problem(path) or "(49%)" in problem(path)


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("wan.safetensors.part", "wan.safetensors"),
        ("wan.safetensors.crdownload", "wan.safetensors"),
        ("wan.safetensors.aria2", "wan.safetensors"),
        ("Unconfirmed 123456.crdownload", "Unconfirmed 123456"),
        ("wan.safetensors", None),
        ("wan.partial_lora.safetensors", None),
    ],
)
def test_names_of_unfinished_downloads(name, becomes):
    assert unfinished_name(name) == becomes
