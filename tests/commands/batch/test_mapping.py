"""Columns to inputs: names, short names, types, files, and the graphs that come of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from exo2ego.commands.batch import sources
from exo2ego.commands.batch.errors import BatchError
from exo2ego.commands.batch.manifest import Manifest, Row
from exo2ego.commands.batch.mapping import make_plan
from exo2ego.commands.batch.sources import uploads_of
from exo2ego.commands.comfyui.errors import WorkflowError
from exo2ego.commands.comfyui.graph import Workflow, load_workflow
from support.ego_exo4d_tree import write_tree
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
        ("take", "file.txt", "is not a take"),
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


LOADERS = {
    "1": {"class_type": "Exo2EgoLoadKeypoints", "inputs": {"file": "example room"}, "_meta": {"title": "Keypoints"}},
    "2": {"class_type": "Exo2EgoLoadEgoExo4D", "inputs": {"take": "example room"}, "_meta": {"title": "Views"}},
    "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "a/ego"}},
}


def places(source):
    """An input's value and the uploads' places, below the folder that is named by content."""
    value, uploads = uploads_of(source)
    top = "/".join(value.split("/")[:2])
    return value.removeprefix(f"{top}/"), {
        f"{upload.subfolder}/{upload.name}".removeprefix(f"{top}/") for upload in uploads
    }


def test_keypoints(tmp_path):
    (tmp_path / "frames").mkdir()
    for name in ("a_9.json", "a_10.json", "notes.txt"):
        (tmp_path / "frames" / name).write_text("{}")
    plan = plan_of(
        Workflow(LOADERS, "w.json"),
        tmp_path,
        {"keypoints": "frames"},
        {"Keypoints.file": "frames/a_9.json"},
        {"keypoints": "example room"},
        {"keypoints": "input:frames"},
        {"keypoints": "frames/notes.txt"},
    )
    found = [job.sources.get(("1", "file")) for job in plan.jobs]
    assert places(found[0]) == ("frames", {"frames/a_9.json", "frames/a_10.json"})
    assert places(found[1]) == ("a_9.json", {"a_9.json"})
    assert [job.values.get(("1", "file")) for job in plan.jobs[2:4]] == ["example room", "frames"]
    assert found[2:] == [None] * 3
    assert ".json" in plan.jobs[4].problem


def test_a_take_of_several_views(tmp_path):
    tree = write_tree(tmp_path / "data #1", n_video=2, n_poses=2, views=("cam01",))
    tree.videos.joinpath("notes.txt").touch()
    moved = tmp_path / "elsewhere.mp4"
    (tree.videos / "cam01.mp4").rename(moved)
    (tree.videos / "cam01.mp4").symlink_to(moved)
    plan = plan_of(
        Workflow(LOADERS, "w.json"),
        tmp_path,
        {"take": f"data #1/{tree.name}"},
        {"Views.take": "data #1/egoexo"},
        {"Views.take": "data #1/egoexo#absent"},
    )
    take = f"egoexo/{tree.take.relative_to(tree.root)}"
    assert places(plan.jobs[0].sources["2", "take"]) == (
        tree.name,
        {
            "egoexo/takes.json",
            f"egoexo/{tree.poses_file.relative_to(tree.root)}",
            "egoexo/captures/made_up_bike/timesync.csv",
            f"{take}/trajectory/gopro_calibs.csv",
            f"{take}/trajectory/closed_loop_trajectory.csv",
            f"{take}/trajectory/online_calibration.jsonl",
            f"{take}/frame_aligned_videos/downscaled/448/cam01.mp4",
            f"{take}/frame_aligned_videos/downscaled/448/aria01_214-1.mp4",
        },
    )
    assert f"expected {tree.name}" in plan.jobs[1].problem
    assert "no take 'absent'" in plan.jobs[2].problem


def test_an_input_that_a_server_marks(tmp_path):
    """A node that only the server knows, as of a later pack."""
    graph = {**LOADERS, "4": {"class_type": "Later", "inputs": {"path": "x"}, "_meta": {"title": "Later"}}}
    (tmp_path / "a.bin").touch()
    options = {"exo2ego_file": {"kind": "file", "built_in": "nothing"}}
    info = {"Later": {"input": {"required": {"path": ["STRING", options]}}}}
    rows = ({"Later.path": "a.bin"}, {"Later.path": "nothing"})
    plan = plan_of(Workflow(graph, "w.json"), tmp_path, *rows, info=info)
    assert places(plan.jobs[0].sources["4", "path"]) == ("a.bin", {"a.bin"})
    assert plan.jobs[1].values == {("4", "path"): "nothing"}
    assert plan_of(Workflow(graph, "w.json"), tmp_path, *rows).jobs[0].values == {("4", "path"): "a.bin"}


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
    with pytest.raises(WorkflowError, match="Export"):
        load_workflow(path)
    path.write_text("[]")
    with pytest.raises(WorkflowError, match="workflow in API format"):
        load_workflow(path)


def test_a_workflow_that_saves_nothing(tmp_path):
    workflow = Workflow({"1": {"class_type": "LoadVideo", "inputs": {"file": "x"}}}, "w.json")
    with pytest.raises(BatchError, match="saves nothing"):
        plan_of(workflow, tmp_path, {})
