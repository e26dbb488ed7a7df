"""Broken installations, made by chance: never a traceback, never a wait for ever, every finding a sentence."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import struct
import unicodedata
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from exo2ego.commands.doctor import cli
from exo2ego.commands.doctor.cli import main
from support.unreadable import as_stranger, open_folder

from .conftest import DEPTH_PRO, ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")

SEEDS = range(40)
FOR_EVER = 300  # seconds: a visit takes one or two

ODD_JSON = [
    None,
    True,
    -1,
    0,
    1.5,
    1e308,
    2**70,
    "",
    "x",
    [],
    {},
    [[]],
    [1, "a"],
    [0, 2**70],
    [-1, 4],
    {"a": {}},
    "9" * 5000,
]
ODD_YAML = [
    "[]",
    "5",
    "a: 5",
    "- a",
    "a:\n  loras: [1]",
    "a:\n  base_path: 5\n  loras: x",
    'a:\n  loras: "a\\0b"',
    "x: 2001-99-99",
    "a: &x\n  b: *x",
    "&a [*a]",
    "a: !!python/object/apply:os.getcwd []",
    "? [a]\n: b",
    "a:\n  5: x\n  ? null\n  : y",
    "[" * 5000,
    "a:\n\t- b",
    "a: *nothing",
    "a:\n  loras: /dev/null\n  custom_nodes: /dev/full\n",
    "a:\n  loras: " + "x/" * 3000,
    "\ufeffa: {loras: ~}",
]
ODD_BYTES = [
    b"",
    b"\0" * 4096,
    b"<!doctype html><title>403</title>",
    b"version https://git-lfs.github.com/spec/v1\n",
    b"PK\x03\x04" + b"\0" * 100,
    b"\x80\x04" + b"." * 100,
    b"GGUF",
    b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + b"\xff" * 64,
    b"GGUF" + struct.pack("<IQQ", 2, 2**60, 2**60),
    b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 17) + b"general.alignment" + struct.pack("<II", 4, 0),
    b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 9) * 5000,
    b"GGUF"
    + struct.pack("<IQQ", 3, 1, 0)
    + struct.pack("<Q", 1)
    + b"a"
    + struct.pack("<I3QIQ", 3, *[2**63] * 3, 1, 2**63),
    struct.pack("<Q", 2**63) + b"{",
    struct.pack("<Q", 90_000_000) + b"{",
    struct.pack("<Q", 100_000) + b"{" + b'"a":[' * 19_999 + b" " * 6,
    "{}".encode("utf-16"),
    "__version__ = 'zwölf'".encode("latin-1"),
    b"\xff\xfe\xfa",
    b"error: \x1b[2J\x1b]0;owned\x07 quota",
    b"torch ; python_version > 'abc'\ntorch===x\n-r \xff\n" + b"a" * 100_000,
]


# What is broken ------------------------------------------------------------------------------------------------------


def emptied(path: Path) -> Path:
    """Make room at a place."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def as_device(path: Path, chance: random.Random) -> None:
    emptied(path).symlink_to(chance.choice(["/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/1/mem"]))


def as_socket(path: Path, chance: random.Random) -> None:
    here = os.getcwd()
    os.chdir(emptied(path).parent)  # a socket's name has 108 letters at most
    try:
        with socket.socket(socket.AF_UNIX) as open_socket:
            open_socket.bind("s")
        os.rename("s", path)
    finally:
        os.chdir(here)


def with_odd_bytes(path: Path, chance: random.Random) -> None:
    emptied(path).write_bytes(chance.choice(ODD_BYTES))


def with_flipped_bytes(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes() if path.is_file() else b"{}")
    for _ in range(chance.randint(1, 20)):
        if content:
            content[chance.randrange(min(len(content), 4000))] = chance.randrange(256)
    emptied(path).write_bytes(content)


def cut_short(path: Path, chance: random.Random) -> None:
    content = path.read_bytes() if path.is_file() else b""
    emptied(path).write_bytes(content[: chance.randrange(len(content) + 1)])


def with_an_odd_header(path: Path, chance: random.Random) -> None:
    """Put a value of a wrong kind somewhere into the header of a safetensors file."""
    content = path.read_bytes() if path.is_file() else b""
    try:
        length = struct.unpack("<Q", content[:8])[0]
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    except (struct.error, ValueError):
        header, data = {}, b""
    if not isinstance(header, dict) or not header or not all(isinstance(entry, dict) for entry in header.values()):
        header, data = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4
    name = chance.choice(list(header))
    odd = chance.choice(ODD_JSON)
    match chance.randrange(5):
        case 0:
            header = odd
        case 1:
            header[name] = odd
        case 2:
            header["__metadata__"] = odd
        case 3:
            header = {**header, "__metadata__": {"format": odd, "component": odd, "lora_adapter_metadata": str(odd)}}
        case _:
            for entry in header.values():
                entry[chance.choice(["dtype", "shape", "data_offsets"])] = odd
    text = json.dumps(header).encode()
    emptied(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def with_other_json(path: Path, chance: random.Random) -> None:
    node = {
        "class_type": chance.choice(["UNETLoader", "Exo2EgoEgoXLoader", 5, None]),
        "inputs": chance.choice(ODD_JSON),
    }
    content = chance.choice(
        [*ODD_JSON, {"1": node}, {"1": {**node, "inputs": {"unet_name": "x", "lora_name": ["1", 0]}}}]
    )
    emptied(path).write_text(json.dumps(content))


def of_odd_names(path: Path, chance: random.Random) -> None:
    """Put files with names that no terminal should get beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in (
        "\x1b[2J\x1b]0;egox\x07.safetensors",
        "egox\u202egnp.safetensors",
        "two\nlines_egox.sft",
        "egox_\udcff.gguf",
    ):
        (path.parent / name).write_bytes(chance.choice(ODD_BYTES))


def in_circles(path: Path, chance: random.Random) -> None:
    emptied(path).symlink_to(path)
    (path.parent / "up").unlink(missing_ok=True)
    (path.parent / "up").symlink_to(path.parent.parent, target_is_directory=True)


def folder_in_circles(path: Path, chance: random.Random) -> None:
    emptied(path.parent).symlink_to(path.parent)


BREAKS: list[Callable[[Path, random.Random], None]] = [
    with_odd_bytes,
    with_flipped_bytes,
    cut_short,
    with_an_odd_header,
    with_an_odd_header,
    with_other_json,
    of_odd_names,
    in_circles,
    folder_in_circles,
    as_device,
    as_socket,
    lambda path, chance: os.mkfifo(emptied(path)),
    lambda path, chance: emptied(path).mkdir(),
    lambda path, chance: emptied(path).symlink_to("/" + "y" * 300),
    lambda path, chance: emptied(path).symlink_to(path.parent / "absent"),
    lambda path, chance: emptied(path),
    lambda path, chance: emptied(path.parent),
    lambda path, chance: emptied(path.parent).touch(),
    lambda path, chance: emptied(path).touch(mode=0),  # never through a link: the files are all tests'
    lambda path, chance: (path.parent.mkdir(parents=True, exist_ok=True), path.parent.chmod(0)),
    lambda path, chance: (path.parent.mkdir(parents=True, exist_ok=True), path.parent.chmod(0o444)),
    lambda path, chance: emptied(path).write_text(chance.choice(ODD_YAML)),
]


@pytest.fixture
def whole(tiny_files):
    """A whole installation, with the parts of this pack that the doctor reads; returns ComfyUI's folder."""
    with open_folder() as folder:
        root = folder / "ComfyUI"
        pack = root / "custom_nodes" / "ComfyUI-Exo2Ego"
        (root / "comfy").mkdir(parents=True)
        for file in ("main.py", "folder_paths.py"):
            (root / file).touch()
        (root / "comfyui_version.py").write_text('__version__ = "0.3.75"\n')
        (root / "requirements.txt").write_text("comfyui-frontend-package==1.28.8\ntransformers>=4.37.2\n")
        (root / "extra_model_paths.yaml").write_text("mine:\n  loras: more\n")
        shutil.copytree(ROOT / "workflows" / "api", pack / "workflows" / "api")
        shutil.copy(ROOT / "requirements.txt", pack)
        (root / "custom_nodes" / "other").mkdir()
        (root / "custom_nodes" / "other" / "nodes.py").write_text("block.self_attn.forward = mine  # wan")
        for (kind, name), source in tiny_files.items():
            path = root / "models" / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(source)
        for name in DEPTH_PRO:
            (root / "models" / "depth_pro" / "DepthPro-hf" / name).write_text("{}")
        yield root


def break_by_chance(root: Path, chance: random.Random) -> None:
    pack = root / "custom_nodes" / "ComfyUI-Exo2Ego"
    models = sorted((root / "models").rglob("*.safetensors"))
    others = [
        root / "comfyui_version.py",
        root / "requirements.txt",
        root / "extra_model_paths.yaml",
        root / "custom_nodes" / "other" / "nodes.py",
        root / "models" / "depth_pro" / "DepthPro-hf" / "config.json",
        root / "models" / "exo2egosyn" / "exo2egosyn_multiexocon.safetensors.index.json",
        pack / "requirements.txt",
        *sorted((pack / "workflows" / "api").glob("*.json")),
    ]
    kept = {pack.parent, root}  # without them there is nothing to look at
    for _ in range(chance.randint(2, 6)):
        path = chance.choice(chance.choice([models, others]))
        how = chance.choice(BREAKS)
        if path.parent not in kept or how in (with_odd_bytes, with_flipped_bytes, cut_short, as_device, as_socket):
            try:
                how(path, chance)
            except OSError:
                continue  # what was broken before is in the way
    # In its place whatever may stand there, which chance seldom puts so.
    if chance.random() < 0.5:
        emptied(root / "extra_model_paths.yaml").write_text(chance.choice(ODD_YAML))


@contextmanager
def watched():
    """Break off what waits for ever."""

    def stop(*_):
        raise AssertionError("the doctor waits for ever")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(FOR_EVER)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def visit(root: Path, capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with watched():
        code = main(list(arguments), pack=root / "custom_nodes" / "ComfyUI-Exo2Ego")
    return code, *capsys.readouterr()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broken_installation(whole, capsys, seed):
    chance = random.Random(seed)
    assert visit(whole, capsys, "--json")[0] in (0, 1)  # and imports what it needs
    break_by_chance(whole, chance)
    with as_stranger() if seed % 2 else nullcontext():
        code, out, err = visit(whole, capsys, "--json")
        text_code, text, _ = visit(whole, capsys)
    report = json.loads(out)
    assert not report["failed_checks"], [found for found in report["findings"] if "broke off" in found["found"]]
    assert code == text_code == int(report["counts"]["error"] > 0)
    assert err == ""
    for found in report["findings"]:
        assert all(found[key].strip() for key in ("check", "found", "expected", "remedy")), found
        assert "Error(" not in found["found"], found
    assert {unicodedata.category(letter) for letter in text} & {"Cc", "Cf", "Cs"} <= {"Cc"}
    assert not [letter for letter in text if unicodedata.category(letter) == "Cc" and letter != "\n"]


# The doctor's own errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "check"),
    [
        ("check_versions", "versions"),
        ("check_models", "models"),
        ("check_components", "components"),
        ("check_lora", "lora keys"),
        ("check_memory", "memory"),
        ("check_packs", "other packs"),
        ("this_machine", "memory"),
        ("used_workflows", "models"),
    ],
)
def test_a_check_that_breaks_off_is_a_finding_of_its_own(complete, monkeypatch, function, check):
    def fails(*_, **__):
        raise IndexError("made\nup \x1b[2J")

    before = complete.visit()
    assert before["failed_checks"] == []
    monkeypatch.setattr(cli, function, fails)
    report = complete.visit()
    assert report["exit"] == 3
    assert report["failed_checks"] == [check]
    (found,) = [found for found in report["findings"] if "broke off" in found["found"]]
    assert "IndexError: made" in found["found"]
    assert f"{Path(__file__).name} line" in found["found"]
    assert (found["check"], found["severity"]) == (check, "error")
    others = [found for found in before["findings"] if found["check"] not in (check, "memory")]
    if function not in ("check_models", "used_workflows"):
        assert [found for found in others if found not in report["findings"]] == []


def test_an_error_before_any_check(complete, monkeypatch, capsys):
    monkeypatch.setattr(cli, "shipped_workflows", lambda pack: 1 // 0)
    assert main([], pack=complete.pack) == 3
    assert "The doctor failed" in capsys.readouterr().err


def test_a_stop_by_hand(complete, monkeypatch, capsys):
    def stop(pack):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "shipped_workflows", stop)
    assert main([], pack=complete.pack) == 130
    assert capsys.readouterr().err == "Stopped.\n"
