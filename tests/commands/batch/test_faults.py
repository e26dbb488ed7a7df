"""Forty clips over two real servers, one of which is killed and restarted, while the client is killed three times."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
from collections import Counter

from support.batch import batch, clip_hashes, command, rows, write_manifest

CLIPS = 40
MISSING, CORRUPT, FAILING = 7, 18, 29
# Finished clips at which the client is killed, and those at which a server is, and soon after it the client again.
KILLED_AT, SERVER_KILLED_AT = (6, 12), 16


def faulty(entries, inputs):
    folder = inputs["workflow"].parent
    entries[MISSING]["video"] = "no such clip.mp4"
    entries[CORRUPT]["video"] = inputs["broken"].relative_to(folder).as_posix()
    # A wide picture's camera for a square one: the node itself refuses it.
    entries[FAILING] |= {"camera": f"{inputs['take'].name}/exo_camera.json", "Ego camera.role": "exo"}
    return entries


def arguments(inputs, servers, manifest, out):
    addresses = [word for server in servers for word in ("--server", server.url)]
    return ("run", manifest, "--workflow", inputs["workflow"], "--out", out, *addresses, "--json")


def run_until(words, done, action=None):
    """Run the client until so many clips are done, do something, and kill it; returns whether it got that far."""
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "done" and event["counts"]["done"] >= done:
                if action is not None:
                    action()
                    action = None
                    done += 4  # it goes on for a while with the fault
                    continue
                process.kill()
                return True
    return False


def test_faults_change_nothing(inputs, two_servers, tmp_path):
    folder = tmp_path / "clips"
    shutil.copytree(inputs["workflow"].parent, folder)
    entries = faulty(rows(inputs, CLIPS), inputs)
    broken = {entries[n]["name"] for n in (MISSING, CORRUPT, FAILING)}
    good = [entry for entry in entries if entry["name"] not in broken]
    undisturbed = batch(*arguments(inputs, two_servers, write_manifest(folder, good), tmp_path / "undisturbed"))
    assert undisturbed.returncode == 0, undisturbed.stdout + undisturbed.stderr
    expected = clip_hashes(tmp_path / "undisturbed")
    assert len(expected) == 2 * 37
    for server in two_servers:
        shutil.rmtree(server.base / "output" / "exo2ego_batch")

    words, out = arguments(inputs, two_servers, write_manifest(folder, entries), tmp_path / "out"), tmp_path / "out"
    victim, survivor = two_servers

    def kill_server():
        victim.kill()
        restarts.append(victim.start())

    restarts = []
    assert run_until(words, KILLED_AT[0])
    assert run_until(words, KILLED_AT[1])
    assert run_until(words, SERVER_KILLED_AT, kill_server)
    restarts[0].result()
    last = batch(*words)
    assert last.returncode == 1, last.stdout + last.stderr

    summary = json.loads(last.stdout.splitlines()[-1])
    assert summary["counts"] == {"queued": 0, "submitted": 0, "running": 0, "done": 37, "failed": 3}
    assert set(summary["errors"]) == broken
    assert "There is no 'no such clip.mp4'" in summary["errors"][entries[MISSING]["name"]]
    assert "'Frames' failed" in summary["errors"][entries[CORRUPT]["name"]]
    assert "'Ego camera' failed" in summary["errors"][entries[FAILING]["name"]]
    assert clip_hashes(out) == expected
    assert {path.name for path in out.iterdir()} == {".lock", "clips", "journal.sqlite", "report.html"}

    with sqlite3.connect(out / "journal.sqlite") as journal:
        ends = Counter(journal.execute("SELECT name, result FROM attempts").fetchall())
        sent = journal.execute("SELECT COUNT(*) FROM attempts").fetchone()
    assert all(ends[entry["name"], "done"] == 1 for entry in good)
    # The server that was never killed made no clip twice: one file of each sort in each clip's folder.
    for made in (survivor.base / "output" / "exo2ego_batch").iterdir():
        assert len(list(made.glob("ego_*"))) <= 1, made
    again = batch(*words)
    assert [json.loads(line)["event"] for line in again.stdout.splitlines()] == ["summary"]
    with sqlite3.connect(out / "journal.sqlite") as journal:
        assert journal.execute("SELECT COUNT(*) FROM attempts").fetchone() == sent


def test_kills_at_random_moments_change_nothing(inputs, two_servers, tmp_path):
    """SIGKILL after a random number of events of any kind, again and again, until a run ends by itself."""
    chance, server = random.Random(20), two_servers[0]
    entries = [{**entry, "name": f"random {n}"} for n, entry in enumerate(rows(inputs, 6))]
    manifest = write_manifest(inputs["workflow"].parent, entries)
    undisturbed = batch(*arguments(inputs, [server], manifest, tmp_path / "undisturbed"))
    assert undisturbed.returncode == 0, undisturbed.stdout + undisturbed.stderr
    shutil.rmtree(server.base / "output" / "exo2ego_batch")
    out = tmp_path / "out"
    words, kills = command(*arguments(inputs, [server], manifest, out)), 0
    while kills < 6:
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            left = chance.randrange(1, 12)
            for _ in process.stdout:
                left -= 1
                if not left:
                    break
            else:
                break  # it came to its end
            process.kill()
        kills += 1
    assert kills > 1
    last = batch(*arguments(inputs, [server], manifest, out))
    assert last.returncode == 0, last.stdout + last.stderr
    assert clip_hashes(out) == clip_hashes(tmp_path / "undisturbed")
    made = [folder for folder in (server.base / "output" / "exo2ego_batch").iterdir() if "random" in folder.name]
    assert [len(list(folder.glob("ego_*"))) for folder in made] == [1] * len(entries)
    assert not (out / ".partial").exists()
