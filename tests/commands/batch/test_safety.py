"""Nothing that somebody else put there is lost or followed, and a damaged journal is not resumed from."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from random import Random

import pytest

from exo2ego.commands.batch.cli import main
from exo2ego.commands.batch.errors import BatchError, ClipError
from exo2ego.commands.batch.journal import FILE, Journal
from exo2ego.commands.batch.manifest import read_manifest
from exo2ego.commands.batch.mapping import make_plan
from exo2ego.commands.batch.outputs import OutputFolder, move_aside
from exo2ego.commands.comfyui.address import ServerAddress
from exo2ego.commands.comfyui.graph import load_workflow
from support.batch import batch, rows, tiny_graph, write_manifest

NOWHERE = "http://127.0.0.1:9"  # no server listens on the discard port


@pytest.fixture
def job(inputs, tmp_path):
    """The arguments of a run of two clips into DIR."""
    workflow = inputs["workflow"]
    manifest = write_manifest(workflow.parent, rows(inputs, 2))
    out = tmp_path / "out"
    out.mkdir()
    return out, ["run", str(manifest), "--workflow", str(workflow), "--out", str(out)]


def tree(folder):
    """Every path below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(arguments, capsys):
    """The exit code and what was said of a run that no server answers."""
    code = main([*arguments, "--server", NOWHERE, "--give-up-after", "0.1", "--lost-after", "0.1"])
    return code, capsys.readouterr().err


def somebodys_clip(out, name="a b"):
    (out / "clips" / name).mkdir(parents=True)
    (out / "clips" / name / "holiday.mp4").write_bytes(b"not to be lost")


@pytest.mark.parametrize("journal", ["none", "empty file", "of no clips"])
def test_clips_that_no_journal_lists_are_refused_and_stay(job, capsys, journal):
    out, arguments = job
    somebodys_clip(out)
    if journal == "empty file":
        (out / FILE).write_bytes(b"")
    if journal == "of no clips":
        Journal(out).close()
    code, said = run(arguments, capsys)
    assert code == 2
    assert "a b" in said
    assert "--start-over" in said
    assert tree(out)["clips/a b/holiday.mp4"] == b"not to be lost"


def test_start_over_moves_everything_aside(tmp_path):
    somebodys_clip(tmp_path)
    Journal(tmp_path).close()
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    assert move_aside(tmp_path) == tmp_path / "replaced-1"
    kept = tree(tmp_path / "replaced-1")
    assert kept["clips/a b/holiday.mp4"] == b"not to be lost"
    assert kept["report.html"] == b"old"
    assert FILE in kept
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert move_aside(tmp_path) is None
    somebodys_clip(tmp_path)
    assert move_aside(tmp_path) == tmp_path / "replaced-2"


def test_a_run_that_starts_over(inputs, two_servers, tmp_path):
    somebodys_clip(tmp_path)
    manifest = write_manifest(inputs["workflow"].parent, rows(inputs, 1))
    arguments = ["run", manifest, "--workflow", inputs["workflow"], "--out", tmp_path, "--server", two_servers[0].url]
    assert batch(*arguments).returncode == 2
    done = batch(*arguments, "--start-over")
    assert done.returncode == 0, done.stderr
    assert "replaced-1" in done.stderr
    assert tree(tmp_path / "replaced-1")["clips/a b/holiday.mp4"] == b"not to be lost"
    assert len(list((tmp_path / "clips").iterdir())) == 1
    assert batch(*arguments).returncode == 0  # what it made it knows


def test_a_folder_that_appears_while_a_clip_runs_is_not_replaced(tmp_path):
    folder = OutputFolder(tmp_path)
    (folder.begin("p1") / "ego.mp4").write_bytes(b"new")
    somebodys_clip(tmp_path)
    with pytest.raises(ClipError, match="appeared"):
        folder.publish("a b", "p1")
    assert not folder.finish("a b", "p1", [])
    assert tree(tmp_path)["clips/a b/holiday.mp4"] == b"not to be lost"


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", ".lock", "clips", ".partial"])
def test_links_are_not_followed(job, capsys, tmp_path, name):
    out, arguments = job
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("not ours")
    (out / name).symlink_to(elsewhere if name in ("clips", ".partial") else elsewhere / "file")
    code, said = run(arguments, capsys)
    assert code == 2
    assert "is a link" in said
    assert tree(elsewhere) == {"file": b"not ours"}


def test_a_linked_report_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "theirs.html").write_text("theirs")
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").symlink_to(tmp_path / "theirs.html")
    Journal(out).close()
    assert main(["report", "--out", str(out)]) == 0
    assert (tmp_path / "theirs.html").read_text() == "theirs"


# The journal -----------------------------------------------------------------------------------------------------


def a_journal(out, arguments):
    """Write a journal of two clips, whole in one file; returns its bytes."""
    with contextlib.closing(Journal(out)) as journal:
        journal.enter(make_plan(load_workflow(Path(arguments[3])), read_manifest(Path(arguments[1]))).jobs)
    database = sqlite3.connect(out / FILE)
    database.execute("PRAGMA journal_mode=DELETE")
    database.close()
    return (out / FILE).read_bytes()


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_never_raise_and_never_resume_in_silence(job, capsys, seed):
    out, arguments = job
    whole, random = a_journal(out, arguments), Random(seed)
    damaged = bytearray(whole)
    for _ in range(random.choice((1, 40, 400))):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    (out / FILE).write_bytes(damaged)
    code, said = run(arguments, capsys)
    assert code in (2, 3)
    assert "Traceback" not in said
    if code == 2:
        assert "--start-over" in said or "of version" in said


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE clips SET state='finished'",
        "UPDATE clips SET state=NULL",
        "UPDATE clips SET outputs='{not json'",
        "UPDATE clips SET shown='[1'",
        "UPDATE clips SET seed='many'",
        "UPDATE clips SET started='yesterday'",
    ],
)
@pytest.mark.parametrize("command", ["run", "status", "report", "retry"])
def test_a_journal_of_another_making_is_refused(job, capsys, change, command):
    out, arguments = job
    a_journal(out, arguments)
    with sqlite3.connect(out / FILE) as database:
        database.execute(change)
    database.close()
    code, said = run(arguments, capsys) if command == "run" else (main([command, "--out", str(out)]), None)
    assert code == 2
    said = said or capsys.readouterr().err
    assert "corrupted" in said
    assert "--start-over" in said


def test_a_clock_set_back_gives_no_negative_time(job, capsys):
    out, arguments = job
    a_journal(out, arguments)
    with sqlite3.connect(out / FILE) as database:
        database.execute("UPDATE clips SET started=2000, ended=1000, state='failed', error='made up'")
    database.close()
    main(["status", "--out", str(out), "--json"])
    assert {clip["seconds"] for clip in json.loads(capsys.readouterr().out)["clips"]} == {None}


# Addresses -------------------------------------------------------------------------------------------------------


def test_a_password_is_nowhere(inputs, two_servers, tmp_path):
    manifest = write_manifest(inputs["workflow"].parent, rows(inputs, 1))
    server = two_servers[0].url.replace("//", "//artist:s%3Acret@")
    arguments = ["run", manifest, "--workflow", inputs["workflow"], "--out", tmp_path, "--server", server]
    done = batch(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert two_servers[0].url in done.stdout
    for text in (done.stdout, done.stderr, *(content.decode("latin-1") for content in tree(tmp_path).values())):
        assert "cret" not in text
        assert "artist" not in text


def test_an_address_carries_its_login():
    address = ServerAddress("http://artist:s%3Acret@host:8188/comfy/")
    assert address == "http://host:8188/comfy"
    assert address.login == ("artist", "s:cret")
    assert ServerAddress("https://host").login is None


@pytest.mark.parametrize(
    "text", ["host:8188", "ftp://host", "http://", "http://a:secret@host?token=1", "http://a:secret@"]
)
def test_what_is_no_address_is_refused_without_its_password(text):
    with pytest.raises(ValueError, match="expected http") as refused:
        ServerAddress(text)
    assert "secret" not in str(refused.value)


# The manifest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["COM\u00b9", "lpt\u00b2.txt", "CONIN$", "conout$.mp4"])
def test_more_of_windows_devices_are_no_names(inputs, tmp_path, name):
    with pytest.raises(BatchError, match="device"):
        read_manifest(write_manifest(tmp_path, [{"name": name}]))


def problems(manifest, root=None):
    """What is wrong with each row."""
    (manifest.parent / "workflow.json").write_text(json.dumps(tiny_graph()))
    plan = make_plan(load_workflow(manifest.parent / "workflow.json"), read_manifest(manifest, root))
    return [job.problem for job in plan.jobs]


def test_a_row_s_bad_text_is_its_own_problem(inputs, tmp_path):
    texts = {"good": "1", "half": "\ud800", "long": "x" * 2_000_000, "also good": "2"}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps([{"name": name, "Positive prompt.text": text} for name, text in texts.items()]))
    found = problems(manifest)
    assert found[0] is None
    assert found[3] is None
    assert "surrogates" in found[1]
    assert "1,000,000" in found[2]


def test_a_long_cell_of_a_csv_is_its_row_s_problem(tmp_path):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("name,seed\na,1\nb," + "7" * 1_500_000 + "\nc,3\n")
    found = problems(manifest)
    assert [problem is None for problem in found] == [True, False, True]


def test_only_files_of_the_root_are_sent(inputs, tmp_path):
    root, outside = tmp_path / "root", tmp_path / "secret.txt"
    root.mkdir()
    outside.write_text("secret")
    (root / "fine.txt").write_text("fine")
    (root / "link.txt").symlink_to(outside)
    paths = ["upload:root/fine.txt", "upload:secret.txt", f"upload:{outside}", "upload:root/../secret.txt",
             "upload:root/link.txt", "upload:missing.txt"]  # fmt: skip
    manifest = write_manifest(tmp_path, [{"name": str(n), "Clip.file": path} for n, path in enumerate(paths)])
    limited, free = problems(manifest, root), problems(manifest)
    assert limited[0] is None
    assert all("outside --root" in problem for problem in limited[1:5])
    assert "secret.txt" not in limited[5]
    assert free[:5] == [None] * 5
