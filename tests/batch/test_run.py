"""A batch over two real servers without faults: outputs, journal, resume, retry, report."""

from __future__ import annotations

import json

from support.batch import batch, clip_hashes, rows, write_manifest


def run(inputs, servers, manifest, out, *more):
    addresses = [word for server in servers for word in ("--server", server.url)]
    return batch("run", manifest, "--workflow", inputs["workflow"], "--out", out, *addresses, *more)


def test_a_batch_and_its_second_run(inputs, two_servers, tmp_path):
    manifest = write_manifest(inputs["workflow"].parent, rows(inputs, 6))
    out = tmp_path / "out"
    first = run(inputs, two_servers, manifest, out)
    assert first.returncode == 0, first.stdout + first.stderr
    hashes = clip_hashes(out)
    assert len(hashes) == 12
    assert len(set(hashes.values())) == 12
    again = run(inputs, two_servers, manifest, out, "--json")
    assert again.returncode == 0
    assert [json.loads(line)["event"] for line in again.stdout.splitlines()] == ["summary"]
