"""The results of others: every file of `tools/benchmarks/results` is one, and the benchmarks' tables are theirs."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from exo2ego.commands.gpu.results import Result, ResultError, Section, check, read_result, results_in
from exo2ego.commands.gpu.table import BEGIN, END, NOBODY, tables
from exo2ego.measure.compare import Row

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "tools" / "benchmarks" / "results"
README = RESULTS.parent / "README.md"


def test_the_files_of_others_are_results_of_a_card():
    for path in sorted(RESULTS.glob("*")):
        if path.name != "README.md":
            assert read_result(path).machine["device"] == "cuda", path.name


def test_the_benchmarks_tables_are_those_of_the_files():
    told = README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert told.strip() == tables(results_in(RESULTS)).strip()


def good() -> dict:
    machine = dict.fromkeys(("card", "capability", "driver", "cuda", "torch", "python", "system"), "x")
    row = asdict(Row(20, "1 x 2 x (3 + 4)", "triton", seconds=0.1, ratio=1.05, against="plain"))
    sections = {"attention": Section("done", [row]), "run": Section("failed", why="no memory")}
    return json.loads(Result("0.1.0", "2026-01-01", {"device": "cuda", "memory": 1, **machine}, {}, sections).to_json())


def test_a_good_file_is_taken(tmp_path):
    assert check(good()) == []
    (tmp_path / "card.json").write_text(json.dumps(good()))
    (result,) = results_in(tmp_path)
    assert "| triton | 20 tokens | 100.0 ms | 1.050 |" in tables([result])
    assert NOBODY not in tables([result])


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("format",), "x", "its format is not exo2ego.gpu"),
        (("version",), 2, "its version is 2, expected 1"),
        (("machine", "driver"), None, "machine lacks driver"),
        (("sections", "attention", "state"), "good", "its state is 'good'"),
        (("sections", "run", "why"), "", "it does not say why"),
        (("sections", "attention", "rows", 0, "ratio"), "1.05", "triton: ratio is '1.05'"),
        (("sections", "attention", "rows", 0, "ratio"), math.inf, "triton: ratio is inf"),
        (("sections", "attention", "rows", 0, "tokens"), True, "triton: tokens is True"),
        (("sections", "attention", "rows", 0, "against"), None, "a row has not the expected fields"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, place, value, told):
    content = copy.deepcopy(good())
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    (tmp_path / "card.json").write_text(json.dumps(content))
    with pytest.raises(ResultError, match=told):
        results_in(tmp_path)


def test_a_row_without_a_number_says_why():
    content = good()
    content["sections"]["attention"]["rows"][0] |= {"seconds": None, "ratio": None}
    assert check(content) == ["section attention: triton: it has no number and does not say why"]


def test_what_is_no_json_is_refused(tmp_path):
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ResultError, match=r"card.json cannot be read: no JSON from line 1"):
        results_in(tmp_path)
