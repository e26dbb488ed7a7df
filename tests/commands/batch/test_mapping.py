"""Columns to inputs: names, short names, types, files, and the graphs that come of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from exo2ego.commands.batch import sources
from exo2ego.commands.batch.manifest import Manifest, Row
from exo2ego.commands.batch.mapping import make_plan
from exo2ego.commands.batch.sources import uploads_of
from exo2ego.commands.comfyui.errors import BatchError
from exo2ego.commands.comfyui.graph import Workflow, load_workflow
from support.graphs import WORKFLOWS

API = Path(__file__).resolve().parents[3] / "workflows" / "api"


@pytest.fixture
def take_workflow():
    return load_workflow(API / "egox_take.json")


def plan_of(workflow, folder, *values, is_text=False, info=None):
    rows = [Row(f"clip {n}", f"line {n}", entry, is_text) for n, entry in enumerate(values)]
    return make_plan(workflow, Manifest(rows, Path(folder), "m.json"), info)


def changes(plan, job):
    """The inputs in which a job's graph differs from the workflow, but for the outputs' prefix."""
    graph, base = plan.graph(job, {}), plan.workflow.graph
    return {
        f"{plan.workflow.title(number)}.{name}": value
        for number, node in graph.items()
        for name, value in node["inputs"].items()
        if name != "filename_prefix" and value != base[number]["inputs"].get(name)
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_input_of_every_shipped_workflow_can_be_named(name):
    workflow = load_workflow(API / f"{name}.json")
    for number, node in workflow.graph.items():
        for key in node["inputs"]:
            assert workflow.target(f"{number}.{key}") == (number, key)
            assert workflow.target(f"{workflow.title(number)}.{key}") == (number, key)


def test_titles_and_short_names(take_workflow, tmp_path):
    row = {
        "Sampler.seed": 5,
        "steps": 3,
        "prompt": "text",
        "negative_prompt": "blur",
        "63.codec": "h264",
        "take": "input:server/take",
    }
    plan = plan_of(take_workflow, tmp_path, row)
    assert changes(plan, plan.jobs[0]) == {
        "Sampler.seed": 5,
        "Sampler.steps": 3,
        "Positive prompt.text": "text",
        "Negative prompt.text": "blur",
        "Save ego video.codec": "h264",
        "Take.take": "server/take",
    }
    assert plan.jobs[0].seed == 5


@pytest.mark.parametrize(
    ("column", "nearest"),
    [
        ("Sampelr.seed", "Sampler.seed"),
        ("Sampler.sead", "Sampler.seed"),
        ("tkae", "take"),
        ("sampler.seed", "Sampler.seed"),
    ],
)
def test_a_wrong_column_is_told_with_the_nearest(take_workflow, tmp_path, column, nearest):
    with pytest.raises(BatchError, match=f"line 0.*{column}.*Nearest.*{nearest}"):
        plan_of(take_workflow, tmp_path, {column: 1})


def test_ambiguous_columns(tmp_path):
    node = {"class_type": "SaveImage", "inputs": {"filename_prefix": "a", "seed": 1}, "_meta": {"title": "One"}}
    workflow = Workflow({"1": node, "2": node}, "w.json")
    with pytest.raises(BatchError, match=r"1, 2 are all titled 'One'.*1\.seed"):
        plan_of(workflow, tmp_path, {"One.seed": 1})
    with pytest.raises(BatchError, match=r"may mean One\.seed, One\.seed"):
        plan_of(workflow, tmp_path, {"seed": 1})


@pytest.mark.parametrize("prefix", ["../x", "/x", "x"])
def test_a_row_cannot_say_where_outputs_go(take_workflow, tmp_path, prefix):
    with pytest.raises(BatchError, match="column 'name'"):
        plan_of(take_workflow, tmp_path, {"Save ego video.filename_prefix": prefix})


def test_a_csv_s_cells_become_numbers_and_truths(take_workflow, tmp_path):
    row = {"Sampler.seed": "18446744073709551615", "Sampler.cfg": "2.5", "Point cloud.keep_moving": "no", "text": "7"}
    plan = plan_of(take_workflow, tmp_path, row, is_text=True)
    assert changes(plan, plan.jobs[0]) == {
        "Sampler.seed": 18446744073709551615,
        "Sampler.cfg": 2.5,
        "Point cloud.keep_moving": False,
        "Negative prompt.text": "7",
    }


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("Sampler.seed", "seven", "number"),
        ("Sampler.seed", True, "number"),
        ("Sampler.cfg", float("nan"), "number"),
        ("Sampler.cfg", float("inf"), "number"),
        ("Point cloud.keep_moving", 3, "true or false"),
        ("Sampler.seed", [1, 2], "expected a text"),
        ("take", "nowhere", "There is no 'nowhere'.*input:nowhere"),
        ("take", "file.txt", "is no take"),
        ("Sampler.scheduler", "upload:nowhere.json", "There is no 'nowhere.json'"),
    ],
)
def test_a_wrong_value_is_its_own_row_s_problem(take_workflow, tmp_path, column, value, problem):
    (tmp_path / "file.txt").write_text("x")
    plan = plan_of(take_workflow, tmp_path, {column: value}, {"seed": 1})
    import re

    assert re.search(f"{re.escape(column)}: .*{problem}", plan.jobs[0].problem)
    assert plan.jobs[1].problem is None


def test_a_server_s_ranges_and_choices(take_workflow, tmp_path):
    declared = {
        "seed": ["INT", {"min": 0, "max": 10}],
        "sampler_name": [["euler", "heun"], {}],
        "scheduler": ["COMBO", {"options": ["simple"]}],
    }
    info = {"KSampler": {"input": {"required": declared, "optional": {"new": ["INT", {}]}}}}
    rows = [{"seed": 11}, {"seed": 1.5}, {"sampler_name": "eluer"}, {"scheduler": "x"}, {"Sampler.new": 3}]
    problems = [job.problem for job in plan_of(take_workflow, tmp_path, *rows, info=info).jobs]
    assert "0 to 10, got 11" in problems[0]
    assert "whole number" in problems[1]
    assert "euler, heun" in problems[2]
    assert "one of: simple" in problems[3]
    assert problems[4] is None


@pytest.mark.parametrize("cell", ["nan", "inf", "1e999", "1.5", "x"])
def test_a_whole_number_s_cell(take_workflow, tmp_path, cell):
    info = {"KSampler": {"input": {"required": {"seed": ["INT", {}]}}}}
    (job,) = plan_of(take_workflow, tmp_path, {"Sampler.seed": cell}, is_text=True, info=info).jobs
    assert "expected a whole number" in job.problem


def test_save_nodes_that_are_one_file_on_some_disks(tmp_path):
    node = {"class_type": "SaveImage", "inputs": {"filename_prefix": "a/ego"}}
    workflow = Workflow({"1": node, "2": {**node, "inputs": {"filename_prefix": "b/Ego"}}}, "w.json")
    assert plan_of(workflow, tmp_path, {}).bases == {"1": "ego", "2": "Ego_2"}


def test_uploads_are_named_by_content(tmp_path):
    workflow = Workflow(
        {
            "1": {"class_type": "LoadVideo", "inputs": {"file": "x"}, "_meta": {"title": "Clip"}},
            "2": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "a/ego", "video": ["1", 0]}},
        },
        "w.json",
    )
    name = 'clip "1" видео%00.mp4'
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("same" if folder != "c" else "other")
    plan = plan_of(workflow, tmp_path, *({"video": f"{folder}/{name}"} for folder in "abc"))
    placed = [uploads_of(job.sources["1", "file"]) for job in plan.jobs]
    values = [value for value, _ in placed]
    assert values[0] == values[1] != values[2]
    assert values[0].startswith("exo2ego_batch/")
    assert values[0].endswith("/clip _1_ видео_00.mp4")
    ((upload,),) = [uploads for value, uploads in placed if value == values[2]]
    assert f"{upload.subfolder}/{upload.name}" == values[2]
    graphs = [plan.graph(job, {("1", "file"): value}) for job, value in zip(plan.jobs, values)]
    assert graphs[0]["1"] == graphs[1]["1"] != graphs[2]["1"]
    prefixes = {graph["2"]["inputs"]["filename_prefix"] for graph in graphs}
    assert len(prefixes) == 3
    assert all(prefix.endswith("/ego") and ".." not in prefix and prefix.isascii() for prefix in prefixes)


def test_a_take_of_a_dataset(take_workflow, tmp_path):
    data = tmp_path / "data #1"
    for take in ("one", "two"):
        for path in (f"videos/{take}/exo.mp4", f"depth_maps/{take}/0.npy"):
            (data / path).parent.mkdir(parents=True, exist_ok=True)
            (data / path).write_text(take)
    entries = [{"exo_path": f"./videos/{take}/exo.mp4"} for take in ("one", "two")]
    (data / "meta.json").write_text(json.dumps({"test_datasets": entries}))
    plan = plan_of(take_workflow, tmp_path, {"take": "data #1#two"}, {"take": "data #1#three"})
    value, uploads = uploads_of(plan.jobs[0].sources["1", "take"])
    assert value.endswith("/data #1#two")
    top = value.removesuffix("/data #1#two")
    sent = {f"{upload.subfolder}/{upload.name}" for upload in uploads}
    inside = ("meta.json", "videos/two/exo.mp4", "depth_maps/two/0.npy")
    assert sent == {f"{top}/data #1/{path}" for path in inside}
    assert "expected data #1#one, data #1#two" in plan.jobs[1].problem


def test_a_dataset_s_file_is_read_once_for_all_its_takes(take_workflow, tmp_path, monkeypatch):
    """2,000 rows are checked without reading any file twice: no hashing, one look at the dataset."""
    count = 2000
    names = [f"take{n}" for n in range(count)]
    for name in names:
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "exo.mp4").touch()
    meta = tmp_path / "meta.json"
    meta.write_text(json.dumps({"test_datasets": [{"exo_path": f"videos/{name}/exo.mp4"} for name in names]}))
    os.utime(meta, (1, 1))
    read = []
    monkeypatch.setattr(sources._names_in_meta, "_read", lambda path: read.append(path) or tuple(names))
    monkeypatch.setattr(sources, "sha256_of", lambda path: pytest.fail("hashed while checking"))
    plan = plan_of(take_workflow, tmp_path, *({"take": f"{tmp_path}#{name}"} for name in names))
    assert [job.problem for job in plan.jobs] == [None] * count
    assert len(read) == 1


def test_the_editor_s_format_is_told_apart(tmp_path):
    path = tmp_path / "w.json"
    path.write_text('{"nodes": [], "links": []}')
    with pytest.raises(BatchError, match="Export"):
        load_workflow(path)
    path.write_text("[]")
    with pytest.raises(BatchError, match="no workflow in API format"):
        load_workflow(path)


def test_a_workflow_that_saves_nothing(tmp_path):
    workflow = Workflow({"1": {"class_type": "LoadVideo", "inputs": {"file": "x"}}}, "w.json")
    with pytest.raises(BatchError, match="saves nothing"):
        plan_of(workflow, tmp_path, {})
