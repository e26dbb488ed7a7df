"""Tasks end, whatever becomes of a cancellation."""

import asyncio

import pytest

from exo2ego.commands.comfyui.tasks import stop_tasks


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_cancellation_is_made_good(lost):
    async def follow(left: int) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if not left:
                    raise
                left -= 1

    async def run() -> None:
        tasks = [asyncio.create_task(follow(lost)), asyncio.create_task(follow(0))]
        await asyncio.sleep(0)
        await stop_tasks(tasks)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_has_ended_or_failed_is_no_trouble(caplog):
    async def fail() -> None:
        raise ValueError("its own business")

    async def run() -> None:
        tasks = [asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))]
        await asyncio.sleep(0.01)
        await stop_tasks(tasks)
        await stop_tasks([])

    asyncio.run(run())
    assert not caplog.records
