"""A batch over several servers: one queue, a bounded number of clips on each server, idle ones help busy ones."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..comfyui.client import ComfyConnection
from ..comfyui.errors import ServerUnreachableError
from .errors import BatchError, ServersGoneError
from .journal import QUEUED, RUNNING, SUBMITTED, Clip, Journal
from .mapping import Job, Plan
from .outputs import OutputFolder
from .server import Flight, Server

# Called with what happened and its details: `server up`, `server down`, `submitted`, `running`, `progress`, `done`,
# `failed`, `queued again`.
Emit = Callable[..., None]


@dataclass(frozen=True)
class Options:
    """How a batch is run.

    Attributes:
        depth: clips that a server may have at once: one that runs, and others so that it never waits.
        lost_after: seconds without an answer until a server's clips go to others, which have answered that long.
        give_up_after: seconds without an answer of any server until the batch ends, to be taken up again.
    """

    depth: int = 2
    lost_after: float = 120
    give_up_after: float = 900


class Batch:
    """What the servers of a batch share."""

    def __init__(self, plan: Plan, journal: Journal, folder: OutputFolder, emit: Emit, options: Options) -> None:
        self.plan, self.journal, self.folder, self.emit, self.options = plan, journal, folder, emit, options
        self._waiting: deque[Job] = deque()
        self._servers: list[Server] = []
        self._open = 0
        self._changed = asyncio.Condition()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, urls: Sequence[str]) -> None:
        """Bring every clip that is not finished to its end.

        Raises:
            ServersGoneError: if no server answers any more.
        """
        clips = begin(self.plan, self.journal, self.folder, self.emit)
        self._open = len(clips)
        if not clips:
            return
        self._servers = [Server(self, url, self.options.depth) for url in dict.fromkeys(urls)]
        jobs = {job.name: job for job in self.plan.jobs}
        for clip in clips:
            if clip.state == QUEUED:
                self._waiting.append(jobs[clip.name])
            else:
                self._take_up(clip, jobs[clip.name])
        for server in self._servers:
            server.start(server.listen())
            if server.depth:
                server.start(server.feed())
        watch = asyncio.create_task(self._watch())
        watch.add_done_callback(self.finished)
        try:
            await self._over
        finally:
            watch.cancel()
            await asyncio.gather(*(server.close() for server in self._servers))

    def _take_up(self, clip: Clip, job: Job) -> None:
        """Give a clip that an earlier run has sent to its server: also to one that gets no more."""
        if not str(clip.server).startswith("http"):  # a Ray worker, gone with the run that started it
            self.journal.queued(clip.name, "lost")
            self._waiting.append(job)
            return
        server = next((server for server in self._servers if server.url == clip.server), None)
        if server is None:
            server = Server(self, str(clip.server), 0)
            self._servers.append(server)
        server.resume(job, str(clip.prompt_id), clip.state == RUNNING)

    async def _watch(self) -> None:
        """End the batch when no server has answered for long."""
        while True:
            await asyncio.sleep(1)
            waits = [time.monotonic() - server.since for server in self._servers if server.depth and not server.up]
            feeding = sum(server.depth > 0 for server in self._servers)
            if len(waits) == feeding and min(waits) > self.options.give_up_after:
                raise ServersGoneError(
                    f"No server has answered for {self.options.give_up_after:.0f} s. Start one; the same command then "
                    "goes on where this one ends."
                )

    # For the servers --------------------------------------------------------------------------------------------

    async def take(self, server: Server) -> Flight:
        """Wait until there is a clip for a server that is ready, and give it to it."""
        async with self._changed:
            while True:
                if server.ready and self._waiting:
                    flight = Flight(self._waiting.popleft())
                    server.flights.append(flight)
                    return flight
                if server.ready and not server.flights:
                    self._ask_back()
                await self._changed.wait()

    def _ask_back(self) -> None:
        """Ask the busiest server for a clip that it has not begun with."""
        flights = [flight for server in self._servers for flight in server.flights]
        if any(flight.wanted for flight in flights):
            return
        for server in sorted(self._servers, key=lambda server: -len(server.flights)):
            idle = [flight for flight in server.flights if flight.prompt_id and not flight.begun]
            if server.up and idle and len(server.flights) > 1:
                idle[-1].wanted = True
                idle[-1].news.set()
                return

    def may_give_up(self, server: Server) -> bool:
        """Return whether a server has been away so long, and another here, that its clips go to that one.

        Where all are away, the network may be: then every server goes on with what it has, and is asked again.
        """
        longest, now = self.options.lost_after, time.monotonic()
        if server.up or now - server.since <= longest:
            return False
        return any(other.up and other.depth and now - other.since > longest for other in self._servers)

    def put_back(self, job: Job) -> None:
        """Queue a clip again, before the others."""
        self._waiting.appendleft(job)

    def close_clip(self) -> None:
        """Count a clip as ended."""
        self._open -= 1
        if not self._open and not self._over.done():
            self._over.set_result(None)

    def finished(self, task: asyncio.Task[None]) -> None:
        """End the batch if a task failed."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._over.done():
            self._over.set_exception(error)

    async def notify(self) -> None:
        """Tell waiting servers that something has changed."""
        async with self._changed:
            self._changed.notify_all()


def begin(plan: Plan, journal: Journal, folder: OutputFolder, emit: Emit) -> list[Clip]:
    """Enter a plan into the journal, finish what was being moved, and fail what cannot run.

    Returns:
        The plan's clips that are left.

    Raises:
        BatchError: if clips that are finished or begun have changed since.
    """
    if changed := journal.enter(plan.jobs):
        shown = ", ".join(map(repr, changed[:5])) + (", ..." if len(changed) > 5 else "")
        raise BatchError(
            f"{len(changed)} clips were begun or finished with other values or another workflow: {shown}. "
            f"Take another folder than {folder.folder}, or give the changed clips other names."
        )
    jobs = {job.name: job for job in plan.jobs}
    for clip in journal.clips(SUBMITTED, RUNNING):
        if clip.outputs is not None and folder.finish(clip.name, str(clip.prompt_id), clip.outputs):
            journal.done(clip.name)
            emit("done", clip=clip.name, server=clip.server, files=[output["file"] for output in clip.outputs])
    folder.clean()
    for clip in journal.clips(QUEUED):
        if clip.name in jobs and (problem := jobs[clip.name].problem) is not None:
            journal.failed(clip.name, problem)
            emit("failed", clip=clip.name, server=None, error=problem)
    return [clip for clip in journal.clips(QUEUED, SUBMITTED, RUNNING) if clip.name in jobs]


async def check_servers(urls: Sequence[str], plan_types: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Ask every server for the workflow's node types.

    Returns:
        What the first that answers says of them, and a warning for each that does not answer.

    Raises:
        ServersGoneError: if none answers.
        BatchError: if one lacks a node.
    """
    info: dict[str, Any] = {}
    silent = []
    for url in dict.fromkeys(urls):
        connection = ComfyConnection(url)
        try:
            found = await connection.node_info(plan_types)
        except ServerUnreachableError as error:
            silent.append(f"{url} does not answer: {error}")
            continue
        finally:
            await connection.close()
        if lacking := sorted(plan_types - found.keys()):
            raise BatchError(f"{url} lacks the nodes {', '.join(lacking)}. Install their packs there, and restart it.")
        info = info or found
    if not info:
        raise ServersGoneError("No server answers.\n" + "\n".join(silent))
    return info, silent
