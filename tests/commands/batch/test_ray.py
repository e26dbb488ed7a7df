"""The same manifest on a local Ray with two workers, one of whose ComfyUIs is killed midway."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess

import pytest

from support.batch import batch, clip_hashes, command, rows, write_manifest

pytest.importorskip("ray", reason="Ray is not installed")


def test_two_workers_make_what_servers_make(inputs, two_servers, tmp_path):
    import environment

    entries = rows(inputs, 10)
    entries[5]["video"] = inputs["broken"].name
    words = ("run", write_manifest(inputs["workflow"].parent, entries), "--workflow", inputs["workflow"], "--json")
    addresses = [word for server in two_servers for word in ("--server", server.url)]
    assert batch(*words, "--out", tmp_path / "servers", *addresses).returncode == 1

    base = two_servers[0].base  # its models and packs
    cluster = ("--ray", "--workers", 2, "--gpus-per-worker", 0, "--base-directory", base)
    cluster += ("--comfyui", environment.prepare().comfyui, "--comfyui-argument=--disable-api-nodes")
    machines, done, killed = {}, set(), None
    with subprocess.Popen(
        command(*words, "--out", tmp_path / "ray", *cluster), stdout=subprocess.PIPE, text=True
    ) as run:
        for line in run.stdout:
            event = json.loads(line)
            if event["event"] == "server up":
                machines.setdefault(event["server"], event["machine"])
            if event["event"] == "done":
                done.add(event["clip"])
            # At this moment it has a clip to lose; after one that is done it may have none.
            if event["event"] == "submitted" and len(done) >= 3 and killed is None:
                killed = event["server"]
                os.kill(int(machines[killed].rpartition(":")[2]), signal.SIGKILL)
    assert run.returncode == 1, line
    summary = json.loads(line)
    assert summary["counts"]["done"] == 9
    assert list(summary["errors"]) == [entries[5]["name"]]
    assert "'Frames' failed" in summary["errors"][entries[5]["name"]]
    assert clip_hashes(tmp_path / "ray") == clip_hashes(tmp_path / "servers")
    assert set(machines) == {"ray:0", "ray:1"}
    with sqlite3.connect(tmp_path / "ray" / "journal.sqlite") as journal:
        lost = journal.execute("SELECT server FROM attempts WHERE result LIKE 'lost%'").fetchall()
    assert lost
    assert set(lost) == {(killed,)}


def test_no_comfyui_where_it_was_said_to_be(inputs, tmp_path):
    manifest = write_manifest(inputs["workflow"].parent, rows(inputs, 1))
    words = ("run", manifest, "--workflow", inputs["workflow"], "--out", tmp_path / "out", "--comfyui", tmp_path)
    result = batch(*words, "--ray", "--workers", 2, "--gpus-per-worker", 0)
    assert result.returncode == 2, result.stdout
    assert result.stdout.count("ray:0 does not answer") == result.stdout.count("ray:1 does not answer") == 1
    assert "No worker started" in result.stderr
    assert "main.py" in result.stderr, "ComfyUI's own words are missing"
