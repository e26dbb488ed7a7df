"""A batch over several servers: one queue, a bounded number of clips on each server, idle ones help busy ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..comfyui.client import ComfyConnection
from ..comfyui.errors import ServerUnreachableError
from ..comfyui.transport import ANSWER_SECONDS
from .clip_life import ClipLife, Emit
from .clip_queue import ClipQueue
from .errors import BatchError, ServersGoneError
from .journal import QUEUED, RUNNING, Clip, Journal
from .mapping import Job, Plan
from .outputs import OutputFolder
from .server import Server


@dataclass(frozen=True)
class Options:
    """How a batch is run.

    Attributes:
        depth: clips that a server may have at once: one that runs, and others so that it never waits.
        lost_after: seconds without an answer until a server's clips go to others, which have answered that long.
        give_up_after: seconds without an answer of any server until the batch ends, to be taken up again.
        answer_within: seconds until an answer counts as none, and until a clip whose answers are wrong fails.
    """

    depth: int = 2
    lost_after: float = 120
    give_up_after: float = 900
    answer_within: float = ANSWER_SECONDS


class Batch:
    """Runs the clips of a plan on servers."""

    def __init__(self, plan: Plan, journal: Journal, folder: OutputFolder, emit: Emit, options: Options) -> None:
        self._life, self._queue = ClipLife(plan, journal, folder, emit), ClipQueue(options.lost_after)
        self._options = options
        self._servers: list[Server] = []

    async def run(self, urls: Sequence[str]) -> None:
        """Bring every clip that is not finished to its end.

        Raises:
            ServersGoneError: if no server answers any more.
        """
        clips = self._life.begin()
        if not clips:
            return
        self._queue.open(len(clips))
        for url in dict.fromkeys(urls):
            self._add(url, self._options.depth)
        jobs = {job.name: job for job in self._life.plan.jobs}
        for clip in clips:
            if clip.state == QUEUED:
                self._queue.append(jobs[clip.name])
            else:
                self._take_up(clip, jobs[clip.name])
        for server in self._servers:
            server.start(server.listen())
            if server.depth:
                server.start(server.feed())
        watch = asyncio.create_task(self._watch())
        watch.add_done_callback(self._queue.finished)
        try:
            await self._queue.over()
        finally:
            watch.cancel()
            await asyncio.gather(*(server.close() for server in self._servers))

    def _add(self, url: str, depth: int) -> Server:
        server = Server(self._life, self._queue, url, depth, self._options.answer_within)
        self._servers.append(server)
        self._queue.takers.append(server)
        return server

    def _take_up(self, clip: Clip, job: Job) -> None:
        """Give a clip that an earlier run has sent to its server: also to one that gets no more."""
        if not str(clip.server).startswith("http"):  # a Ray worker, gone with the run that started it
            self._life.journal.queued(clip.name, "lost")
            self._queue.append(job)
            return
        server = next((server for server in self._servers if server.url == clip.server), None)
        server = server or self._add(str(clip.server), 0)
        server.resume(job, str(clip.prompt_id), clip.state == RUNNING)

    async def _watch(self) -> None:
        """End the batch when no server has answered for long."""
        while True:
            await asyncio.sleep(1)
            if self._queue.silent_for() > self._options.give_up_after:
                last = "".join(f"\n{server.reason}" for server in self._servers if server.reason)
                raise ServersGoneError(
                    f"No server has answered for {self._options.give_up_after:.0f} s. Start one; the same command "
                    f"then resumes where this one ends.{last}"
                )


async def check_servers(
    urls: Sequence[str], plan_types: set[str], seconds: float = ANSWER_SECONDS
) -> tuple[dict[str, Any], list[str]]:
    """Ask every server for the workflow's node types; each answer has so many seconds.

    Returns:
        What the first that answers says of them, and a warning for each that does not answer.

    Raises:
        ServersGoneError: if none answers.
        BatchError: if one lacks a node.
    """
    info: dict[str, Any] = {}
    silent = []
    for url in dict.fromkeys(urls):
        connection = ComfyConnection(url, seconds=seconds)
        try:
            found = await connection.node_info(plan_types)
        except ServerUnreachableError as error:
            silent.append(str(error))
            continue
        finally:
            await connection.close()
        if lacking := sorted(plan_types - found.keys()):
            raise BatchError(
                f"{connection.name} lacks the nodes {', '.join(lacking)}. Install their packs there, and restart it."
            )
        info = info or found
    if not info:
        raise ServersGoneError("No server answers as ComfyUI does.\n" + "\n".join(silent))
    return info, silent
