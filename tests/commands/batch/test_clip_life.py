"""A clip's steps without any server, and the queue that servers take from."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from exo2ego.commands.batch.clip_life import LOSSES, LOST_RUNNING, ClipLife
from exo2ego.commands.batch.clip_queue import ClipQueue, Taker
from exo2ego.commands.batch.errors import ClipError
from exo2ego.commands.batch.journal import DONE, FAILED, QUEUED, Journal
from exo2ego.commands.batch.manifest import read_manifest
from exo2ego.commands.batch.mapping import make_plan
from exo2ego.commands.batch.outputs import OutputFolder
from exo2ego.commands.comfyui.graph import load_workflow
from support.batch import rows, write_manifest

HERE = "http://here"


@pytest.fixture
def told():
    return []


@pytest.fixture
def life(inputs, tmp_path, told):
    manifest = read_manifest(write_manifest(inputs["workflow"].parent, rows(inputs, 3)))
    plan = make_plan(load_workflow(inputs["workflow"]), manifest)
    with contextlib.closing(Journal(tmp_path)) as journal:
        life = ClipLife(plan, journal, OutputFolder(tmp_path), lambda kind, **data: told.append((kind, data)))
        life.begin()
        yield life


def send(life, job, prompt_id):
    life.journal.submitted(job.name, HERE, prompt_id, "client")
    life.running(job.name, HERE)


def test_a_clip_that_is_lost_while_it_runs_fails_the_third_time(life, told):
    job, other = life.plan.jobs[:2]
    for attempt in range(LOSSES - 1):
        send(life, job, f"p{attempt}")
        life.queue_again(job.name, HERE, LOST_RUNNING)
    send(life, job, "last")
    with pytest.raises(ClipError, match=rf"{LOSSES} times while it ran.*{HERE}.*out of memory"):
        life.queue_again(job.name, HERE, LOST_RUNNING, "out of memory")
    assert [kind for kind, _ in told].count("queued again") == LOSSES - 1
    for attempt in range(LOSSES + 1):  # what it gave back untouched does not count
        send(life, other, f"o{attempt}")
        life.queue_again(other.name, HERE, "taken back")


def test_what_is_told_stands_in_the_journal(life, told):
    first, second, third = life.plan.jobs
    send(life, first, "one")
    (life.folder.begin("one") / "ego.mp4").write_bytes(b"content")
    outputs = [{"file": "ego.mp4", "size": 7, "sha256": ""}]
    life.fetched(first.name, outputs, {})
    life.folder.publish(first.name, "one")
    life.done(first.name, HERE, outputs)
    life.failed(second.name, HERE, "no such lens")
    assert [(clip.state, clip.error) for clip in life.journal.clips()] == [
        (DONE, None), (FAILED, "no such lens"), (QUEUED, None)
    ]  # fmt: skip
    assert told[1:] == [
        ("done", {"clip": first.name, "server": HERE, "files": ["ego.mp4"]}),
        ("failed", {"clip": second.name, "server": HERE, "error": "no such lens"}),
    ]
    assert third.name not in {data["clip"] for _, data in told}


def test_an_idle_server_asks_the_busiest_for_what_it_has_not_begun(life):
    async def share():
        queue = ClipQueue(lost_after=60)
        busy, idle = Taker(HERE, 3), Taker("http://there", 1)
        for taker in (busy, idle):
            taker.up = True
            queue.takers.append(taker)
        for job in life.plan.jobs:
            queue.append(job)
        flights = [await queue.take(busy) for _ in life.plan.jobs]
        for number, flight in enumerate(flights):
            flight.prompt_id, flight.begun = str(number), number == 0
        taking = asyncio.create_task(queue.take(idle))
        await asyncio.wait_for(flights[2].news.wait(), 10)
        assert [flight.wanted for flight in flights] == [False, False, True]
        busy.flights.remove(flights[2])
        queue.put_back(flights[2].job)
        await queue.notify()
        assert (await asyncio.wait_for(taking, 10)).job is flights[2].job

    asyncio.run(share())


def test_a_queue_is_over_when_every_clip_has_ended(life):
    async def end():
        queue = ClipQueue(lost_after=60)
        queue.open(2)
        over = asyncio.create_task(queue.over())
        queue.close_clip()
        await asyncio.sleep(0)
        assert not over.done()
        queue.close_clip()
        await asyncio.wait_for(over, 10)

    asyncio.run(end())
