"""What a killed client leaves behind, one moment after the other, and how the next run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import uuid

import pytest

from exo2ego.commands.batch import outputs
from exo2ego.commands.batch.clip_life import ClipLife
from exo2ego.commands.batch.errors import BatchError, ServersGoneError
from exo2ego.commands.batch.journal import DONE, FAILED, QUEUED, RUNNING, SUBMITTED, Journal
from exo2ego.commands.batch.manifest import read_manifest
from exo2ego.commands.batch.mapping import make_plan
from exo2ego.commands.batch.outputs import OutputFolder, only_one
from exo2ego.commands.batch.scheduler import Batch, Options
from exo2ego.commands.batch.sources import uploads_of
from exo2ego.commands.comfyui.client import ComfyConnection
from exo2ego.commands.comfyui.graph import load_workflow
from support.batch import rows, write_manifest


@pytest.fixture
def plan(inputs, tmp_path):
    entries = [{**row, "name": f"{tmp_path.name} {n}"} for n, row in enumerate(rows(inputs, 2))]
    folder = inputs["workflow"].parent
    return make_plan(load_workflow(inputs["workflow"]), read_manifest(write_manifest(folder, entries)))


@pytest.fixture
def journal(tmp_path):
    with contextlib.closing(Journal(tmp_path)) as journal:
        yield journal


@pytest.fixture
def folder(tmp_path):
    return OutputFolder(tmp_path)


class Told(list):
    def __call__(self, kind, **data):
        self.append((kind, data))

    def of(self, kind):
        return [data for told, data in self if told == kind]


def run(plan, journal, folder, *urls, **options):
    told = Told()

    async def work():
        await asyncio.wait_for(Batch(plan, journal, folder, told, Options(**options)).run(urls), 100)

    asyncio.run(work())
    return told


async def send_without_a_journal_s_knowing(plan, job, url, prompt_id):
    connection = ComfyConnection(url)
    placed = {}
    for target, source in job.sources.items():
        placed[target], uploads = uploads_of(source)
        for upload in uploads:
            await connection.send(upload)
    await connection.submit(plan.graph(job, placed), prompt_id, "nobody")
    await connection.close()


def made(server, plan):
    """How often a server made each clip."""
    output = server.base / "output" / "exo2ego_batch"
    folders = [next(iter(output.glob(f"*{plan_key(job)}")), None) for job in plan.jobs]
    return [0 if folder is None else len(list(folder.glob("ego_*"))) for folder in folders]


def plan_key(job):
    return hashlib.sha256(job.name.encode()).hexdigest()[:10]


def fetched(journal, folder, job, prompt_id):
    """Bring a journal and a folder to the moment before outputs are moved."""
    journal.submitted(job.name, "http://127.0.0.1:9", prompt_id, "client")
    content = b"content"
    (folder.begin(prompt_id) / "ego.mp4").write_bytes(content)
    journal.fetched(job.name, [{"file": "ego.mp4", "size": 7, "sha256": hashlib.sha256(content).hexdigest()}], {})


def test_killed_before_a_clip_was_sent(plan, journal, folder, two_servers):
    journal.enter(plan.jobs)
    journal.submitted(plan.jobs[0].name, two_servers[0].url, str(uuid.uuid4()), "client")
    told = run(plan, journal, folder, two_servers[0].url)
    assert journal.counts()[DONE] == 2
    assert [data["reason"] for data in told.of("queued again")] == ["given up"]
    assert made(two_servers[0], plan) == [1, 1]


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after its end"])
def test_killed_after_a_clip_was_sent(plan, journal, folder, two_servers, waits):
    journal.enter(plan.jobs)
    url, prompt_id = two_servers[0].url, str(uuid.uuid4())
    journal.submitted(plan.jobs[0].name, url, prompt_id, "client")

    async def earlier():
        await send_without_a_journal_s_knowing(plan, plan.jobs[0], url, prompt_id)
        connection = ComfyConnection(url)
        while waits and await connection.ended(prompt_id, {}) is None:
            await asyncio.sleep(0.05)
        await connection.close()

    asyncio.run(earlier())
    told = run(plan, journal, folder, url)
    assert journal.counts()[DONE] == 2
    assert told.of("queued again") == []
    assert made(two_servers[0], plan) == [1, 1]
    assert journal.clips()[0].prompt_id == prompt_id


def test_its_server_is_asked_even_where_it_is_no_longer_named(plan, journal, folder, two_servers):
    journal.enter(plan.jobs)
    first, second = two_servers
    prompt_id = str(uuid.uuid4())
    journal.submitted(plan.jobs[0].name, first.url, prompt_id, "client")
    asyncio.run(send_without_a_journal_s_knowing(plan, plan.jobs[0], first.url, prompt_id))
    run(plan, journal, folder, second.url)
    assert [clip.server for clip in journal.clips(DONE)] == [first.url, second.url]
    assert made(first, plan) == [1, 0]
    assert made(second, plan) == [0, 1]


def test_a_server_that_stays_away_loses_its_clips(plan, journal, folder, two_servers):
    journal.enter(plan.jobs)
    journal.submitted(plan.jobs[0].name, "http://127.0.0.1:9", str(uuid.uuid4()), "client")
    told = run(plan, journal, folder, two_servers[0].url, lost_after=1)
    assert [data["reason"] for data in told.of("queued again")] == ["given up"]
    assert {clip.server for clip in journal.clips(DONE)} == {two_servers[0].url}


def test_killed_before_outputs_were_moved(plan, journal, folder):
    journal.enter(plan.jobs)
    fetched(journal, folder, plan.jobs[0], "p1")
    assert [clip.name for clip in ClipLife(plan, journal, folder, Told()).begin()] == [plan.jobs[1].name]
    assert (folder.place(plan.jobs[0].name) / "ego.mp4").read_bytes() == b"content"
    assert journal.clips(DONE)[0].attempts == 1


def test_killed_after_outputs_were_moved(plan, journal, folder):
    journal.enter(plan.jobs)
    fetched(journal, folder, plan.jobs[0], "p1")
    folder.publish(plan.jobs[0].name, "p1")
    assert [clip.name for clip in ClipLife(plan, journal, folder, Told()).begin()] == [plan.jobs[1].name]
    assert journal.counts() == {QUEUED: 1, SUBMITTED: 0, RUNNING: 0, DONE: 1, FAILED: 0}


def test_torn_outputs_are_not_moved(plan, journal, folder, tmp_path):
    journal.enter(plan.jobs)
    fetched(journal, folder, plan.jobs[0], "p1")
    (tmp_path / ".partial" / "p1" / "ego.mp4").write_bytes(b"cont")
    left = ClipLife(plan, journal, folder, Told()).begin()
    assert [clip.state for clip in left] == [SUBMITTED, QUEUED]
    assert not folder.place(plan.jobs[0].name).exists()
    assert not (tmp_path / ".partial").exists()


def test_a_changed_row_of_a_finished_clip_is_refused(plan, journal, folder):
    journal.enter(plan.jobs)
    fetched(journal, folder, plan.jobs[0], "p1")
    ClipLife(plan, journal, folder, Told()).begin()
    plan.workflow.graph["25"]["inputs"]["steps"] = 9
    changed = make_plan(plan.workflow, read_manifest(_manifest(plan)))
    with pytest.raises(BatchError, match="other values or another workflow"):
        ClipLife(changed, journal, folder, Told()).begin()
    assert journal.clips()[1].digest == plan.jobs[1].digest, "a refused run changes nothing"


def _manifest(plan):
    from pathlib import Path

    return Path(plan.workflow.source).parent / "manifest.jsonl"


def test_failed_clips_come_again_only_by_retry(plan, journal, folder):
    journal.enter(plan.jobs)
    journal.failed(plan.jobs[0].name, "no luck")
    assert [clip.name for clip in ClipLife(plan, journal, folder, Told()).begin()] == [plan.jobs[1].name]
    with pytest.raises(BatchError, match="No failed clip"):
        journal.retry(["other"])
    assert journal.retry() == [plan.jobs[0].name]
    assert len(ClipLife(plan, journal, folder, Told()).begin()) == 2


def test_a_retried_clip_s_given_up_prompt_is_still_to_be_stopped(plan, journal):
    journal.enter(plan.jobs)
    name = plan.jobs[0].name
    journal.submitted(name, "http://one", "p1", "client")
    journal.queued(name, "given up")
    journal.submitted(name, "http://two", "p2", "client")
    journal.failed(name, "no luck")
    journal.retry()
    assert journal.given_up("http://one") == ["p1"]


def test_where_no_server_is_left_the_clips_stay_with_theirs(plan, journal, folder):
    """An outage of the network: whatever they finish meanwhile is fetched later."""
    journal.enter(plan.jobs)
    journal.submitted(plan.jobs[0].name, "http://127.0.0.1:9", "p1", "client")
    with pytest.raises(ServersGoneError):
        run(plan, journal, folder, "http://127.0.0.1:9", lost_after=0.2, give_up_after=1)
    assert [clip.state for clip in journal.clips()] == [SUBMITTED, QUEUED]


def test_a_disk_without_locks_is_told_apart(tmp_path, monkeypatch):
    def refuse(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(outputs, "_lock", refuse)
    with pytest.raises(BatchError, match="does not support file locks"), only_one(tmp_path):
        pass


def test_one_batch_a_folder(tmp_path):
    with only_one(tmp_path), pytest.raises(BatchError, match="Another program"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_large_seed_fits(plan, journal):
    from dataclasses import replace

    journal.enter([replace(plan.jobs[0], seed=2**64 - 1)])
    assert journal.clips()[0].seed == 2**64 - 1


def test_a_foreign_file_is_no_journal(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(BatchError, match="not the journal"):
        Journal(tmp_path)


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/x"])
def test_nothing_is_placed_outside(folder, name):
    from exo2ego.commands.batch.errors import ClipError

    with pytest.raises(ClipError, match="leads out"):
        folder.place(name)


def test_a_link_in_the_folder_is_not_followed(folder, tmp_path):
    from exo2ego.commands.batch.errors import ClipError

    (tmp_path / "elsewhere").mkdir()
    (folder.clips / "clip").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ClipError, match="leads out"):
        folder.place("clip")
