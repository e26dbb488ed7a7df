"""The command over real servers without faults: outputs, second run, dry run, retry, status, report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from support.bad_inputs.run import Server
from support.batch import batch, clip_hashes, command, rows, write_manifest


@pytest.fixture
def folder(inputs):
    return inputs["workflow"].parent


def run(inputs, servers, manifest, out, *more):
    addresses = [word for server in servers for word in ("--server", server.url)]
    return batch("run", manifest, "--workflow", inputs["workflow"], "--out", out, *addresses, *more)


def status(out):
    return json.loads(batch("status", "--out", out, "--json").stdout)


def test_a_batch_its_second_run_and_a_longer_manifest(inputs, folder, two_servers, tmp_path):
    entries, out = rows(inputs, 8), tmp_path / "out"
    first = run(inputs, two_servers, write_manifest(folder, entries[:6]), out)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count("\ndone: ") == 6
    assert "6 done, 0 failed" in first.stdout
    hashes = clip_hashes(out)
    assert set(hashes) == {
        f"clips/{entry['name']}/{file}" for entry in entries[:6] for file in ("ego.mp4", "sheet.png")
    }
    assert len(set(hashes.values())) == 12
    clips = status(out)["clips"]
    assert {clip["server"] for clip in clips} == {server.url for server in two_servers}
    assert [clip["seed"] for clip in clips] == list(range(6))
    # Clips that differ in their seeds share the ego prior, which servers take from their caches: all tell its coverage.
    assert len({tuple(clip["coverage_percent"]) for clip in clips}) == 1
    assert 0 < clips[0]["coverage_percent"][0] < 100
    for clip in clips:
        for output in clip["outputs"]:
            assert hashes[f"clips/{clip['clip']}/{output['file']}"] == output["sha256"]

    again = run(inputs, two_servers, folder / "manifest.jsonl", out, "--json")
    assert again.returncode == 0
    assert [json.loads(line)["event"] for line in again.stdout.splitlines()] == ["summary"]
    longer = run(inputs, two_servers, write_manifest(folder, entries), out, "--json")
    events = [json.loads(line) for line in longer.stdout.splitlines()]
    assert {event["clip"] for event in events if event["event"] == "submitted"} == {
        entry["name"] for entry in entries[6:]
    }
    other = run(inputs, two_servers, write_manifest(folder, [{**entries[0], "Sampler.seed": 99}]), out)
    assert other.returncode == 2
    assert "other values or another workflow" in other.stderr


def test_the_coverage_of_a_prior_that_a_server_made_long_before(inputs, two_servers, tmp_path):
    """Newer ComfyUIs keep results for many prompts, longer than the part of the history that is asked."""
    entries, only = rows(inputs, 1), two_servers[:1]
    manifest = write_manifest(inputs["workflow"].parent, entries)
    assert run(inputs, only, manifest, tmp_path / "before").returncode == 0
    server = Server(only[0].url, 0)
    for number in range(60):
        picture = {"width": 16, "height": 16, "batch_size": 1, "color": number}
        graph = {"1": {"class_type": "EmptyImage", "inputs": picture}}
        graph["2"] = {"class_type": "StandInLook", "inputs": {"value_0": ["1", 0]}}
        status_code, answer = server.post("/prompt", {"prompt": graph})
        assert status_code == 200, answer
        server.wait(answer["prompt_id"], 1e6)
    assert run(inputs, only, manifest, tmp_path / "after").returncode == 0
    before, after = (status(tmp_path / name)["clips"][0]["coverage_percent"] for name in ("before", "after"))
    assert before == after
    assert 0 < after[0] < 100


def test_a_failed_clip_and_its_retry(inputs, folder, two_servers, tmp_path):
    entries, out = rows(inputs, 2), tmp_path / "out"
    entries[1]["video"] = "later & <b>.mp4"
    manifest = write_manifest(folder, entries)
    failed = run(inputs, two_servers, manifest, out)
    assert failed.returncode == 1
    assert f"FAILED: {entries[1]['name']}: video: There is no 'later & <b>.mp4'" in failed.stdout
    assert status(out)["counts"]["failed"] == 1
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "later &amp; &lt;b&gt;.mp4" in page
    assert "<b>.mp4" not in page
    assert page.count("<tr class=") == 2
    assert "sheet.png" in page
    assert "% on average" in page

    (folder / "later & <b>.mp4").write_bytes(inputs["clip"].read_bytes())
    assert "1 clips are queued again" in batch("retry", "--out", out).stdout
    retried = run(inputs, two_servers, manifest, out)
    (folder / "later & <b>.mp4").unlink()
    assert retried.returncode == 0, retried.stdout
    assert status(out)["counts"]["done"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_stopped_and_taken_up(inputs, folder, two_servers, tmp_path, number):
    out = tmp_path / "out"
    words = ("run", write_manifest(folder, rows(inputs, 8)), "--workflow", inputs["workflow"], "--out", out, "--json")
    words += ("--server", two_servers[0].url)
    # A shell starts it so in the background.
    ignoring = [
        sys.executable,
        "-c",
        "import os, signal, sys; signal.signal(2, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    with subprocess.Popen(
        [*ignoring, *command(*words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        for line in run.stdout:
            if json.loads(line)["event"] == "done":
                run.send_signal(number)
                break
        _, told = run.communicate(timeout=3600)
    assert run.returncode == 130, told
    assert "same command" in told
    assert (out / "report.html").is_file()
    assert not (out / ".partial").exists()
    assert 1 <= status(out)["counts"]["done"] < 8
    assert batch(*words).returncode == 0
    assert {clip["attempts"] for clip in status(out)["clips"]} == {1}


def test_a_dry_run_changes_nothing(inputs, folder, two_servers, tmp_path):
    out, executed = tmp_path / "out", _finished(two_servers)
    entries = rows(inputs, 4)
    entries[1]["video"] = "missing.mp4"
    entries[2]["Sampler.scheduler"] = "simpel"
    entries[3]["Sampler.steps"] = 0
    checked = run(inputs, two_servers, write_manifest(folder, entries), out, "--dry-run", "--json")
    assert checked.returncode == 1
    problems = [row["problem"] for row in json.loads(checked.stdout)["rows"]]
    assert problems[0] is None
    assert "There is no 'missing.mp4'" in problems[1]
    assert "Sampler.scheduler: expected one of: simple" in problems[2]
    assert "Sampler.steps: expected 1 to 10000, got 0" in problems[3]
    assert not out.exists()
    assert _finished(two_servers) == executed


def _finished(servers):
    import urllib.request

    return [len(json.load(urllib.request.urlopen(f"{server.url}/history"))) for server in servers]


def test_a_value_that_only_the_server_refuses(inputs, folder, two_servers, tmp_path):
    entries = rows(inputs, 2)
    entries[1]["take"] = "input:no such take"
    result = run(inputs, two_servers, write_manifest(folder, entries), tmp_path / "out")
    assert result.returncode == 1
    (clip,) = [clip for clip in status(tmp_path / "out")["clips"] if clip["state"] == "failed"]
    assert clip["clip"] == entries[1]["name"]
    assert "'Take', input 'take'" in clip["error"]
    assert "There is no 'no such take'" in clip["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Sampler.sed": 1}, "Nearest: Sampler.seed"),
        ({"Save video.filename_prefix": "/abs"}, "column 'name'"),
    ],
)
def test_a_refused_manifest_queues_nothing(inputs, folder, two_servers, tmp_path, change, message):
    executed = _finished(two_servers)
    entries = rows(inputs, 2)
    entries[1] |= change
    result = run(inputs, two_servers, write_manifest(folder, entries), tmp_path / "out")
    assert result.returncode == 2
    assert message in result.stderr
    assert _finished(two_servers) == executed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "message"), [("../out", "leaves its folder"), ("/abs", "absolute")])
def test_a_name_that_cannot_be_is_its_row_s_error(inputs, folder, two_servers, tmp_path, name, message):
    entries = rows(inputs, 2)
    entries[1]["name"] = name
    result = run(inputs, two_servers, write_manifest(folder, entries), tmp_path / "out")
    assert result.returncode == 1, result.stderr
    assert message in result.stdout
    assert [path.name for path in (tmp_path / "out" / "clips").iterdir()] == [entries[0]["name"]]


def test_no_server_and_a_server_without_the_nodes(inputs, folder, two_servers, tmp_path):
    manifest = write_manifest(folder, rows(inputs, 1))
    words = ("run", manifest, "--workflow", inputs["workflow"], "--out", tmp_path / "out")
    result = batch(*words, "--server", "http://127.0.0.1:9")
    assert result.returncode == 3
    assert "No server answers" in result.stderr
    assert batch(*words).returncode == 2
    graph = json.loads(inputs["workflow"].read_text())
    graph["28"]["class_type"] = "NoSuchNode"
    (folder / "other.json").write_text(json.dumps(graph))
    result = run({**inputs, "workflow": folder / "other.json"}, two_servers, manifest, tmp_path / "out")
    assert result.returncode == 2
    assert "lacks the nodes NoSuchNode" in result.stderr


def test_an_encoding_without_a_name_s_letters(inputs, folder, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    entries = rows(inputs, 1)
    entries[0]["video"] = "нет.mp4"
    words = ("run", write_manifest(folder, entries), "--workflow", inputs["workflow"], "--out", folder / "none")
    checked = batch(*words, "--dry-run")
    assert checked.returncode == 1, checked.stderr
    assert r"\u043d\u0435\u0442.mp4" in checked.stdout


def test_addresses_of_servers(tmp_path, capsys):
    from exo2ego.commands.batch import cli

    words = ["run", "m.csv", "--workflow", "w.json", "--out", str(tmp_path)]
    assert cli._parser().parse_args([*words, "--server", "http://a:1/"]).server == ["http://a:1"]
    with pytest.raises(SystemExit, match="2"):
        cli.main([*words, "--server", "127.0.0.1:8188"])
    assert "expected http://HOST:PORT" in capsys.readouterr().err


def test_a_fault_of_the_command_s_own_is_no_failed_clip(tmp_path, monkeypatch):
    from exo2ego.commands.batch import cli

    monkeypatch.setattr(cli, "Journal", lambda *_, **__: 1 / 0)
    assert cli.main(["status", "--out", str(tmp_path)]) == cli.BROKEN


def test_it_starts_light():
    """Without torch, numpy or ComfyUI: the command answers at once."""
    import subprocess
    import sys

    from support.batch import ROOT

    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import pack; pack.register()\n"
        "import exo2ego.commands.batch.cli, exo2ego.commands.batch.ray_cluster\n"
        "print(sorted({'torch', 'numpy', 'comfy', 'ray', 'av', 'PIL'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_it_runs_as_a_module_in_custom_nodes(tmp_path):
    import subprocess
    import sys

    from support.batch import ROOT

    (tmp_path / "ComfyUI-Exo2Ego").symlink_to(ROOT)
    words = [sys.executable, "-m", "ComfyUI-Exo2Ego", "batch", "status", "--out", str(tmp_path)]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert "no batch was run into that folder" in result.stderr


def test_the_journal_is_one_file(inputs, folder, two_servers, tmp_path):
    run(inputs, two_servers, write_manifest(folder, rows(inputs, 1)), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("journal*")] == ["journal.sqlite"]
