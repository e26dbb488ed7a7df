"""The demo end to end on few frames, and what it leaves behind when something stops it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from demo import graph as graphs
from demo.job import Job
from demo.run import RESULTS, given_take, run_demo

from exo2ego.networks.pocket_files import component_file
from exo2ego.takes.egox.write import write_take
from exo2ego.takes.example.room import example_take
from exo2ego.takes.numpy_files import load_array
from exo2ego.takes.video import read_video

TOOL = Path(sys.modules["pack"].__file__).parent / "run.py"


def test_the_example_from_end_to_end(tmp_path):
    (tmp_path / "ego.mp4").write_text("of an earlier run")
    run_demo(Job(output=tmp_path, stand_ins=True, frames=5, steps=1))
    assert {path.name for path in tmp_path.iterdir()} == set(RESULTS)
    for name in ("ego_prior.mp4", "ego.mp4"):
        frames, fps = read_video(tmp_path / name)
        assert frames.shape == (5, 448, 448, 3)
        assert fps == 16
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["weights"]["kind"] == "random stand-ins"
    assert "noise by nature" in report["weights"]["notice"]
    assert report["steps"] == 1
    assert len(report["coverage_percent"]["per_frame"]) == 5
    assert report["coverage_percent"]["lowest"] > 40
    assert report["prior"]["against_true_view"]["psnr_db"] > 15
    assert report["prior"]["against_true_view"]["iou"] > 0.5
    assert report["seconds"]["Sampler"] > 0
    assert {"pack", "comfyui", "torch", "python"} <= set(report["versions"])


def test_the_pocket_model_from_end_to_end(tmp_path):
    """By default the demo shows an ego video, which beats a filled prior on the room that it never saw."""
    run_demo(Job(output=tmp_path, frames=9))
    assert {path.name for path in tmp_path.iterdir()} == set(RESULTS)
    frames, _ = read_video(tmp_path / "ego.mp4")
    assert frames.shape == (9, 128, 128, 3)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["weights"]["kind"] == "pocket model"
    assert "not EgoX" in report["weights"]["notice"]
    result, filled = report["result"]["ego_video"], report["result"]["prior_filled_with_mean_color"]
    assert result["psnr"] > filled["psnr"] + 1.5
    assert result["psnr_unseen"] > filled["psnr_unseen"] + 3
    assert result["ssim"] > filled["ssim"]


@pytest.mark.skipif(not component_file("align").is_file(), reason="the pocket's components are not trained yet")
def test_exo2egosyn_on_the_pocket_model_from_end_to_end(tmp_path):
    """Its video is nearer to the truth than what takes no model."""
    run_demo(Job(output=tmp_path, method="exo2egosyn"))
    assert {path.name for path in tmp_path.iterdir()} == set(RESULTS) - {"ego_prior.mp4"}
    frames, _ = read_video(tmp_path / "ego.mp4")
    assert frames.shape == (9, 128, 128, 3)
    result = json.loads((tmp_path / "report.json").read_text())["result"]
    others = {name: values["psnr"] for name, values in result.items() if name != "ego_video"}
    assert len(others) == 2
    assert result["ego_video"]["psnr"] > max(others.values())


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"take": "/no/such/take"}, "There is no take"),
        ({"models": Path("/no/such/models")}, "no models folder"),
        ({"frames": 0}, "at least one frame"),
    ],
)
def test_a_useless_job_starts_no_server(tmp_path, monkeypatch, job, message):
    monkeypatch.setattr("demo.run.headless", None)
    with pytest.raises(ValueError, match=message):
        run_demo(Job(output=tmp_path / "output", **job))
    assert not list((tmp_path / "output").iterdir())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stopped_demo_leaves_no_server_and_no_half_result(tmp_path, number):
    work, output = tmp_path / "work", tmp_path / "output"
    work.mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            str(TOOL),
            "demo",
            "--stand-ins",
            "--frames",
            "1",
            "--steps",
            "100000",
            "--output",
            str(output),
        ],
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(work), "OMP_NUM_THREADS": "1"},
        text=True,
    )
    for line in process.stderr:
        if "running" in line:
            break
    assert _processes_with(str(work))
    process.send_signal(number)
    process.communicate(timeout=3600)
    assert process.returncode != 0
    assert not _processes_with(str(work))
    assert not list(work.glob("exo2ego-demo-*"))
    assert {path.name for path in output.iterdir()} <= {"comfyui.log"}


def _processes_with(text):
    """The command lines of running processes that hold a text."""
    lines = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and "--base-directory" in line:
            lines.append(line)
    return lines


def _edited(edit):
    graph = edit(graphs.load_graph(graphs.TAKE_WORKFLOW))  # a Take has the same title in that of the pocket model
    return graph[graphs.node_id(graph, graphs.TAKE)]["inputs"]


def test_a_take_folder_is_uploaded_under_its_name(tmp_path):
    write_take(example_take(5, exo_width=64, exo_height=32, ego_size=32), tmp_path / "room")
    take, files, edit = given_take(Job(output=tmp_path, take=str(tmp_path / "room"), frames=1))
    assert take.n_frames == 1
    assert {folder for _, folder in files} == {"room"}
    assert {path.name for path, _ in files} >= {"meta.json", "exo.mp4", "depth_f16.npz", "exo_camera.json"}
    assert (_edited(edit)["take"], _edited(edit)["max_frames"]) == ("room", 1)


def test_a_take_of_a_dataset_is_uploaded_without_its_neighbours(tmp_path):
    dataset = tmp_path / "dataset"
    room, other = dataset / "videos" / "room", dataset / "videos" / "other"
    write_take(example_take(1, exo_width=64, exo_height=32, ego_size=32), room)
    other.mkdir()
    (other / "exo.mp4").touch()
    maps = dataset / "depth_maps" / "room"
    maps.mkdir(parents=True)
    np.save(maps / "depth.npy", load_array(room / "depth_f16.npz"))
    entry = json.loads((room / "meta.json").read_text())
    (dataset / "meta.json").write_text(json.dumps({"test_datasets": [entry]}))
    take, files, edit = given_take(Job(output=tmp_path, take=f"{dataset}#room"))
    assert take.name == "room"
    assert {folder for _, folder in files} == {"dataset", "dataset/videos/room", "dataset/depth_maps/room"}
    assert _edited(edit)["take"] == "dataset#room"
