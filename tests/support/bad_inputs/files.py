"""Files of every wrong kind in ComfyUI's folders, for the inputs that choose files."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.depth_files import write_deep_png, write_exr
from support.tiny_models import FILES

from .graphs import DEPTH_PRO, TAKE

FOLDER = "bad_inputs"
_SUFFIXES = (".json", ".npz", ".npy", ".chan", ".gltf", ".glb")
_EACH = 25  # spoilt versions of a good file
_JSON = [
    None, math.nan, math.inf, -1, 0, 1e300, 10**30, "text", "\ud800", "../..", "/etc/passwd", [], {}, True, "9" * 5000,
    [None] * 16, 0.5, -(2**63), [[0.0] * 4] * 4, "", [math.nan] * 8,
]  # fmt: skip
_BOMB = 2**31 + 2**28  # bytes that a small file unpacks to


def write_wrong_files(base: Path, seed: int = 0) -> dict[str, list[str]]:
    """Write them below a server's folder.

    Returns:
        Names by the mark of an input in `/object_info` ("file", "take", "ego-exo4d", "keypoints", "clip",
        "depth"), or by node type.
    """
    rng = random.Random(f"files {seed}")
    folder = base / "input" / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    single = _files_of_no_kind(folder) + _arrays(folder) + _spoilt_cameras(folder, rng)
    keypoints = _spoilt_keypoints(folder, rng)
    takes = _spoilt_takes(folder, base / "input" / TAKE, rng)
    views = [f"{take}#x" for take in takes] + [*takes, f"{FOLDER}#", f"{TAKE}#1"] + _views(folder, rng)
    return {
        "file": single + keypoints + takes[:2],
        "take": [*takes, *(f"{take}#NAME" for take in takes[:4]), *single[:6], FOLDER],
        "ego-exo4d": views,
        "depth": [*single, *takes[:2], *_spoilt_depth(folder, rng), FOLDER],
        "clip": [*single, *takes[:2], *_spoilt_clips(folder, base / "input" / TAKE / "exo.mp4", rng), FOLDER],
        "keypoints": keypoints + single + takes[:2] + [FOLDER],
        "Exo2EgoEgoXLoader.lora_name": _weights(base / "models" / "loras", FILES["lora"][1], rng),
        "Exo2EgoSynLoader": _weights(base / "models" / "exo2egosyn", "tiny_poseinj.safetensors", rng),
        "Exo2EgoDepthPro.weights": _depth_pro(base / "models" / "depth_pro"),
    }


def _spoilt_clips(folder: Path, video: Path, rng: random.Random) -> list[str]:
    """Videos with some bytes changed or the end cut off, under names of videos and of pictures."""
    whole, names = video.read_bytes(), []
    for number in range(12):
        spoilt = bytearray(whole)
        for _ in range(rng.choice([1, 5, 50, 500])):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        name = f"{FOLDER}/clip_{number}.{rng.choice(['mp4', 'mp4', 'mov', 'mkv', 'png', 'gif'])}"
        (folder.parent / name).write_bytes(spoilt[: rng.choice([len(spoilt), rng.randrange(len(spoilt))])])
        names.append(name)
    return [*names, f"{FOLDER}/clip_*.png", f"{FOLDER}/%d", f"{FOLDER}/*"]


def _spoilt_depth(folder: Path, rng: random.Random) -> list[str]:
    """OpenEXR, PNG and TIFF with some bytes changed or the end cut off, alone and as sequences of sorts."""
    one = np.linspace(1, 5, 24 * 32, dtype=np.float32).reshape(24, 32)
    write_exr(folder / "good.exr", {"Z": one, "A": one}, "zip")
    write_deep_png(folder / "good_depth.png", (one * 1000).astype(np.uint16))
    Image.fromarray(one).save(folder / "good_depth.tif")
    names = ["good.exr", "good_depth.png", "good_depth.tif"]
    for number in range(12):
        whole = (folder / names[number % 3]).read_bytes()
        spoilt = bytearray(whole)
        for _ in range(rng.choice([1, 5, 50])):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        name = f"depth_{number}.{rng.choice(['exr', 'png', 'tif', 'mkv'])}"
        (folder / name).write_bytes(spoilt[: rng.choice([len(spoilt), rng.randrange(len(spoilt))])])
        names.append(name)
    return [f"{FOLDER}/{name}" for name in [*names, "depth_*.exr", "depth_%d.png", "*"]]


def spoilt_json(value: Any, rng: random.Random) -> Any:
    """Return JSON with one place changed: as scripts and people write it wrong."""
    value = copy.deepcopy(value)
    holder, key = None, None
    inner = value
    while isinstance(inner, dict | list) and inner and (holder is None or rng.random() < 0.75):
        holder, key = inner, rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        inner = holder[key]
    if holder is None:
        return None
    way = rng.randrange(4)
    if way == 0:
        del holder[key]
    else:
        holder[key] = rng.choice([*_JSON, [inner], {"a": inner}])
    return value


def _files_of_no_kind(folder: Path) -> list[str]:
    contents = {
        "empty": b"", "text": b"a text\n", "zeros": bytes(2000), "open": b'{"a": [1, 2', "null": b"null",
        "number": b"17",
        "list": b"[]", "dictionary": b"{}", "deep": b"[" * 200_000, "not_utf8": b'{"a": "\xff\xfe"}', "nan": b"NaN",
        "pickle": pickle.dumps({"a": 1}), "zip": _zip({"a.txt": b"text"}), "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "bom": b"\xef\xbb\xbf{}", "digits": b'{"a": ' + b"9" * 5000 + b"}",
        "glTF": b"glTF\x02\x00\x00\x00\xff\xff\xff\x7f",
        "header": b"\x93NUMPY\x01\x00\xff\xff{'descr': '<f4', 'fortran_order': False, 'shape': (9",
    }  # fmt: skip
    names = []
    for stem, content in contents.items():
        for suffix in _SUFFIXES:
            (folder / f"{stem}{suffix}").write_bytes(content)
            names.append(f"{stem}{suffix}")
    for suffix in _SUFFIXES:
        (folder / f"folder{suffix}").mkdir()
        (folder / f"broken_link{suffix}").symlink_to("nowhere")
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        (folder / f"outside{suffix}").symlink_to("/etc/passwd")
        os.mkfifo(folder / f"pipe{suffix}")
        names += [f"{stem}{suffix}" for stem in ("folder", "broken_link", "loop", "outside", "pipe", "not_there")]
    with open(folder / "sparse.json", "wb") as file:
        file.truncate(3 * 2**30)
    return [f"{FOLDER}/{name}" for name in [*names, "sparse.json"]]


def _zip(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _arrays(folder: Path) -> list[str]:
    one = np.ones((5, 64, 128), np.float32)
    arrays = {
        "flat": one[0, 0], "scalar": np.float32(1), "objects": np.array([{"a": 1}, None], dtype=object),
        "text": np.array(["a"]),
        "complex": one.astype(np.complex64), "no_frames": one[:0], "nan": one * np.nan, "whole": one.astype(np.int64),
        "five": one[None, None], "bool": one > 0, "huge": one * 1e38, "structured": np.zeros(3, dtype=[("a", "f4")]),
        "dates": np.array(["2020-01-01"], dtype="datetime64[D]"), "one_pixel": one[:, :1, :1], "good": one,
    }  # fmt: skip
    names = []
    for stem, array in arrays.items():
        np.save(folder / f"array_{stem}.npy", array, allow_pickle=True)
        np.savez_compressed(folder / f"array_{stem}.npz", depth=array)
        names += [f"array_{stem}.npy", f"array_{stem}.npz"]
    good = {"world_to_camera": np.eye(4)[None], "intrinsics": np.float64([[50, 0, 32], [0, 50, 32], [0, 0, 1]])}
    good |= {"width": np.int64(64), "height": np.int64(64)}
    for key in good:
        for stem, wrong in arrays.items():
            np.savez_compressed(folder / f"camera_{key}_{stem}.npz", **{**good, key: wrong})
            names.append(f"camera_{key}_{stem}.npz")
        np.savez(folder / f"camera_no_{key}.npz", **{name: value for name, value in good.items() if name != key})
        names.append(f"camera_no_{key}.npz")
    for name in ("depth", "world_to_camera"):
        _write_bomb(folder / f"bomb_{name}.npz", f"{name}.npy")
        names.append(f"bomb_{name}.npz")
    return [f"{FOLDER}/{name}" for name in names]


def _write_bomb(path: Path, name: str) -> None:
    """Write zeros that take next to nothing until they are read."""
    header = io.BytesIO()
    frames = _BOMB // (4 * 512 * 512)
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (frames, 512, 512)})
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        block = bytes(2**24)
        for _ in range(_BOMB // len(block)):
            file.write(block)


def _spoilt_cameras(folder: Path, rng: random.Random) -> list[str]:
    camera = {
        "format": "exo2ego.camera", "version": 1, "width": 64, "height": 64,
        "lens": {"type": "pinhole", "fx": 50.0, "fy": 50.0, "cx": 32.0, "cy": 32.0},
        "world_to_camera": [np.eye(4).tolist()] * 5,
    }  # fmt: skip
    gltf = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"camera": 0, "translation": [0, 1, 2], "rotation": [0, 0, 0, 1]}],
        "cameras": [{"type": "perspective", "perspective": {"yfov": 0.8, "aspectRatio": 1.0, "znear": 0.1}}],
    }  # fmt: skip
    names = []
    for number in range(_EACH):
        for stem, suffix, good in (("camera", ".json", camera), ("scene", ".gltf", gltf)):
            (folder / f"{stem}_{number}{suffix}").write_text(json.dumps(spoilt_json(good, rng)))
            names.append(f"{stem}_{number}{suffix}")
    rows = [
        "1 0 0 0 0 0", "x y z", "1 0 0 0 0 0 0 nan", "1 0 0 0 0 0 0 40\n1 0 0 0 0 0 0 40",
        "1e9 0 0 0 0 0 0 40", "nan " * 8,
                "1 0 0 0 0 0 0 1e999", "-5 0 0 0 0 0 0 0", "1 " * 9000,
            "1 0 0 0 0 0 0 40\n99999999 0 0 0 0 0 0 40"]  # fmt: skip
    for number, row in enumerate(rows):
        (folder / f"path_{number}.chan").write_text(row + "\n")
        names.append(f"path_{number}.chan")
    return [f"{FOLDER}/{name}" for name in names]


def _spoilt_keypoints(folder: Path, rng: random.Random) -> list[str]:
    person = {"pose_keypoints_2d": [30.0, 20.0, 0.9] * 18, "face_keypoints_2d": [30.0, 20.0, 0.9] * 70}
    frames = [{"people": [person], "canvas_width": 128, "canvas_height": 64}] * 5
    names = []
    for number in range(_EACH):
        (folder / f"people_{number}.json").write_text(json.dumps(spoilt_json(frames, rng)))
        (folder / f"openpose_{number}").mkdir()
        (folder / f"openpose_{number}" / "0_keypoints.json").write_text(json.dumps(spoilt_json(frames[0], rng)))
        names += [f"people_{number}.json", f"openpose_{number}"]
    return [f"{FOLDER}/{name}" for name in names]


def _spoilt_takes(folder: Path, good: Path, rng: random.Random) -> list[str]:
    meta = json.loads((good / "meta.json").read_text())
    names = []

    def take(name: str) -> Path:
        names.append(f"{FOLDER}/{name}")
        return Path(shutil.copytree(good, folder / name))

    for number in range(_EACH):
        (take(f"take_{number}") / "meta.json").write_text(json.dumps(spoilt_json(meta, rng)))
    files = [path.name for path in good.iterdir() if path.is_file()]
    for file in files:
        whole = (good / file).read_bytes()
        for stem, content in (
            ("empty", b""), ("text", b"a text"), ("cut", whole[: len(whole) // 2]), ("head", whole[:64]),
            ("flipped", bytes(byte ^ 255 if place % 97 == 50 else byte for place, byte in enumerate(whole))),
        ):  # fmt: skip
            (take(f"take_{stem}_{file}") / file).write_bytes(content)
        (take(f"take_no_{file}") / file).unlink()
        target = take(f"take_folder_{file}") / file
        target.unlink()
        target.mkdir()
        target = take(f"take_pipe_{file}") / file
        target.unlink()
        os.mkfifo(target)
        target = take(f"take_link_{file}") / file
        target.unlink()
        target.symlink_to("/etc/passwd")
    return names


def _views(folder: Path, rng: random.Random) -> list[str]:
    takes = [{"take_uid": "a", "take_name": "a", "root_dir": "takes/a", "cameras": []}]
    names = []
    for number in range(_EACH):
        root = folder / f"egoexo_{number}"
        root.mkdir()
        (root / "takes.json").write_text(json.dumps(spoilt_json(takes, rng)))
        (root / "takes" / "a").mkdir(parents=True)
        names.append(f"{FOLDER}/egoexo_{number}#a")
    return names


def _weights(folder: Path, good: str, rng: random.Random) -> list[str]:
    whole = (folder / good).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    contents = {
        "empty": b"", "text": b"a text", "cut": whole[: len(whole) // 2], "head": whole[:100],
        "long": whole + b"\0" * 64,
        "pickle": pickle.dumps({"a": 1}), "html": b"<!DOCTYPE html><html>login</html>",
        "huge_header": b"\xff" * 8 + whole[8:],
        "nan": whole[: 8 + length] + b"\xff\x7f" * ((len(whole) - 8 - length) // 2), "no_header": bytes(8),
        "null": (4).to_bytes(8, "little") + b"null", "none": (2).to_bytes(8, "little") + b"{}",
    }  # fmt: skip
    for number in range(10):
        written = json.dumps(spoilt_json(header, rng)).encode()
        contents[f"spoilt_{number}"] = len(written).to_bytes(8, "little") + written + whole[8 + length :]
    for stem, content in contents.items():
        (folder / f"bad_inputs_{stem}.safetensors").write_bytes(content)
    (folder / "bad_inputs_pickle.pt").write_bytes(pickle.dumps({"a": 1}))
    (folder / "bad_inputs_folder.safetensors").mkdir(exist_ok=True)
    stems = [*contents, "folder", "not_there"]
    return [f"bad_inputs_{stem}.safetensors" for stem in stems] + [
        "bad_inputs_pickle.pt",
        "../vae/tiny_wan2.1_vae.safetensors",
    ]


def _depth_pro(folder: Path) -> list[str]:
    good = folder / DEPTH_PRO
    names = []
    for file in sorted(path.name for path in good.iterdir()):
        for stem, content in (
            ("empty", b""),
            ("text", b"a text"),
            ("null", b"null"),
            ("cut", (good / file).read_bytes()[:300]),
        ):
            name = f"bad_inputs_{stem}_{file}"
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(good, folder / name)
            (folder / name / file).write_bytes(content)
            names.append(name)
        name = f"bad_inputs_no_{file}"
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(good, folder / name)
        (folder / name / file).unlink()
        names.append(name)
    return [*names, "not_there", "../loras"]
