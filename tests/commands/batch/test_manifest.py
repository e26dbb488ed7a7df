"""Manifests of every form, and those that are refused."""

from __future__ import annotations

import json

import pytest

from exo2ego.commands.batch.errors import BatchError
from exo2ego.commands.batch.manifest import read_manifest


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


CLIPS = [{"name": "a b", "seed": 1}, {"name": "жук", "seed": 2, "prompt": 'x, "y"'}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", json.dumps(CLIPS)),
        ("m.json", json.dumps({"clips": CLIPS})),
        ("m.jsonl", "\n".join(map(json.dumps, CLIPS)) + "\n\n"),
    ],
)
def test_json_and_jsonl(tmp_path, name, text):
    rows = read_manifest(written(tmp_path, name, text)).rows
    assert [(row.name, row.values) for row in rows] == [("a b", {"seed": 1}), ("жук", {"seed": 2, "prompt": 'x, "y"'})]


def test_csv_with_a_mark_quotes_and_empty_cells(tmp_path):
    text = '\ufeffname,seed,prompt\n"a ""b""",1,"two\nlines, one cell"\n,2,\n'
    rows = read_manifest(written(tmp_path, "m.csv", text)).rows
    assert [(row.name, row.values) for row in rows] == [
        ('a "b"', {"seed": "1", "prompt": "two\nlines, one cell"}),
        ("clip_00002", {"seed": "2"}),
    ]
    assert all(row.is_text for row in rows)


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path):
    (row,) = read_manifest(written(tmp_path, "m.jsonl", '{"prompt": "a\u2028b"}')).rows
    assert row.values == {"prompt": "a\u2028b"}


@pytest.mark.parametrize("letter", ["\u2028", "\x85", "\x0c"])
def test_nor_does_it_in_a_csv(tmp_path, letter):
    rows = read_manifest(written(tmp_path, "m.csv", f"prompt\na{letter}b\nc\n")).rows
    assert [row.values for row in rows] == [{"prompt": f"a{letter}b"}, {"prompt": "c"}]


def test_egox_dataset_and_a_folder_of_takes(tmp_path):
    entries = [{"exo_path": f"./videos/{name}/exo.mp4"} for name in ("one", "two")]
    meta = written(tmp_path, "meta.json", json.dumps({"test_datasets": entries}))
    rows = read_manifest(meta).rows
    assert [(row.name, row.values) for row in rows] == [
        ("one", {"take": f"{tmp_path}#one"}),
        ("two", {"take": f"{tmp_path}#two"}),
    ]
    meta.unlink()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, "meta.json", '{"ego_extrinsics": []}')
    (tmp_path / "no take").mkdir()
    rows = read_manifest(tmp_path).rows
    assert [(row.name, row.values) for row in rows] == [
        (name, {"take": str(tmp_path / name)}) for name in ("first", "second")
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../out", "leaves its folder"),
        ("a/../../b", "leaves its folder"),
        ("..\\out", "leaves its folder"),
        ("..", "leaves its folder"),
        ("/etc/passwd", "absolute"),
        ("\\\\server\\share", "absolute"),
        ("C:clip", "absolute"),
        ("a/b", "contains /"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("\ud800", "control"),
        ("con", "device"),
        ("COM1.mp4", "device"),
        ("COM\u00b9", "device"),
        ("lpt\u00b2.txt", "device"),
        ("CONIN$", "device"),
        ("conout$.mp4", "device"),
        ("clip.", "dot"),
        (".hidden", "dot"),
        (" clip", "space"),
        ("x" * 200, "longer"),
        ("ж" * 61, "longer"),
    ],
)
def test_an_unsafe_name_is_its_row_s_error(tmp_path, name, problem):
    read = read_manifest(written(tmp_path, "m.json", json.dumps([{"name": "a"}, {"name": name}, {}])))
    assert [row.name for row in read.rows] == ["a", "clip_00003"]
    assert [row.where for row in read.refused] == ["clip 2"]
    assert problem in read.refused[0].problem
    with pytest.raises(BatchError, match=problem):  # without any other there is nothing to run
        read_manifest(written(tmp_path, "m.json", json.dumps([{"name": name}])))


@pytest.mark.parametrize("name", ['it\'s "quoted" & spaced', "台所 видео é", "a..b", "console", "50% off #2"])
def test_harmless_names_stay_as_they_are(tmp_path, name):
    assert read_manifest(written(tmp_path, "m.json", json.dumps([{"name": name}]))).rows[0].name == name


@pytest.mark.parametrize(("one", "two"), [("a", "a"), ("A", "a"), ("e\u0301", "\xe9")])
def test_names_that_are_one_file_somewhere(tmp_path, one, two):
    read = read_manifest(written(tmp_path, "m.json", json.dumps([{"name": one}, {"name": two}])))
    assert [row.name for row in read.rows] == [one]
    assert "its own" in read.refused[0].problem


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("m.json", "[", "not valid JSON"),
        ("m.json", "{}", "expected a list"),
        ("m.json", "[]", "no clips"),
        ("m.json", "[3]", "expected an object"),
        ("m.jsonl", '{"seed": 1}\n{"seed": 1, "seed": 2}', "line 2.*'seed' stands twice"),
        ("m.jsonl", '{}\n{"a": }', "line 2"),
        ("m.csv", "a,a\n1,2\n", "name of its own"),
        ("m.csv", "a,b\n1\n", "line 2: 1 cells, 2 columns"),
        ("m.txt", "", "expected a .json"),
    ],
)
def test_wrong_files_are_told(tmp_path, name, text, problem):
    with pytest.raises(BatchError, match=problem):
        read_manifest(written(tmp_path, name, text))
