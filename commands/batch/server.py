"""One server of a batch: feeds it, follows its websocket, and brings every clip it was given to an end.

A clip in flight ends in one of these ways, whatever happens to the server, the network or this program:
it is done, it has failed, or it is queued again because the server certainly lost it, gave it back untouched, or stayed
away too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any

from ..comfyui.client import ComfyConnection, Ended, Upload
from ..comfyui.errors import ComfyError, ServerRefusedError, ServerUnreachableError
from ..comfyui.graph import Target, title_of
from ..comfyui.known_nodes import TELLING
from ..comfyui.shown import result_keys, shown_numbers
from .clip_life import LOST_RUNNING, ClipLife
from .clip_queue import ClipQueue, Flight, Taker
from .errors import ClipError
from .mapping import Job
from .outputs import saved_files
from .sources import uploads_of

_POLL_SECONDS = 5.0  # a look now and then, should a message get lost
_POLL_SECONDS_BLIND = 0.5  # without a websocket
_HISTORY_SECONDS = 0.01  # from the message of the end until the history has it
_RECONNECT_SECONDS = (0.25, 5.0)
_EARLIER_PROMPTS = 50
_LATE_SECONDS = 2.0  # in which a message that was cut off arrives, if ever


class Server(Taker):
    """Runs clips on one ComfyUI."""

    def __init__(self, life: ClipLife, queue: ClipQueue, url: str, depth: int) -> None:
        super().__init__(url, depth)
        self._life, self._queue = life, queue
        self._connection = ComfyConnection(url)
        self._client_id = life.journal.client_id(url, uuid.uuid4().hex)
        self._socket = False
        self._sent: set[tuple[str, str]] = set()
        self._brought = 0  # files that it lacked
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop following; what the server has, it goes on with."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()

    # The connection ---------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Follow the websocket for ever; reconnect, and look whether the server is there at all."""
        pause, longest = _RECONNECT_SECONDS
        while True:
            reason = "it closed the websocket"
            try:
                async with contextlib.aclosing(self._connection.events(self._client_id)) as events:
                    async for kind, data in events:
                        if kind == "connected":
                            self._socket, pause = True, _RECONNECT_SECONDS[0]
                            await self._answered()
                        else:
                            self._message(kind, data)
            except ServerUnreachableError as error:
                reason = str(error)
            self._socket = False
            self._sent.clear()  # it may come back as another, with an empty disk, before anybody sees it down
            try:
                await self._connection.queued()
                await self._answered()
            except ServerUnreachableError:
                await self._silent(reason)
            self._wake()
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _answered(self) -> None:
        if not self.up:
            self.up, self.since = True, time.monotonic()
            self._life.emit("server up", server=self.url)
            self.start(self._forget_given_up())
            await self._queue.notify()
        self._wake()

    async def _silent(self, reason: str) -> None:
        """Take the server for down, unless its websocket is open: then one call alone went wrong."""
        if self.up and not self._socket:
            self.up, self.since = False, time.monotonic()
            self._life.emit("server down", server=self.url, reason=reason)
            await self._queue.notify()

    async def _forget_given_up(self, delay: float = 0) -> None:
        """Stop what others make by now; after a delay also what was still on its way."""
        await asyncio.sleep(delay)
        with contextlib.suppress(ServerUnreachableError):
            for prompt_id in self._life.journal.given_up(self.url):
                await self._connection.forget(prompt_id)
                self._life.journal.forgotten(prompt_id)

    def _wake(self) -> None:
        for flight in self.flights:
            flight.news.set()

    def _message(self, kind: str, data: dict[str, Any]) -> None:
        flight = next((flight for flight in self.flights if flight.prompt_id == data.get("prompt_id")), None)
        if flight is None or not flight.prompt_id:
            return
        if kind in ("execution_start", "executing", "progress") and not flight.begun:
            self._begin(flight)
        if kind == "executing" and data.get("node") is None:  # sent once the history has it, success or not
            flight.ended = True
            flight.news.set()
        elif kind in ("executing", "progress") and data.get("node") is not None:
            title = title_of(self._life.plan.workflow.graph, str(data["node"]))
            step = {"step": data["value"], "steps": data["max"]} if kind == "progress" else {}
            self._life.emit("progress", clip=flight.job.name, server=self.url, node=title, **step)

    def _begin(self, flight: Flight) -> None:
        flight.begun = True
        self._life.running(flight.job.name, self.url)

    # Clips ------------------------------------------------------------------------------------------------------

    async def feed(self) -> None:
        """Take clips for ever."""
        while True:
            flight = await self._queue.take(self)
            self.start(self._fly(flight))

    def resume(self, job: Job, prompt_id: str, begun: bool) -> None:
        """Take up a clip that an earlier run has sent."""
        flight = Flight(job, prompt_id, begun=begun, unsure=True)
        self.flights.append(flight)
        self.start(self._fly(flight))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run beside; what it raises ends the batch."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._queue.finished)

    async def _fly(self, flight: Flight) -> None:
        name = flight.job.name
        try:
            if not flight.prompt_id:
                await self._send(flight)
            await self._bring_home(flight)
        except ServerUnreachableError as error:  # before it was sent
            await self._silent(str(error))
            await asyncio.sleep(_POLL_SECONDS_BLIND)
            self._queue.put_back(flight.job)
        except (ClipError, ComfyError) as error:
            self._life.failed(name, self.url, str(error))
            self._queue.close_clip()
        finally:
            self.flights.remove(flight)
            await self._queue.notify()

    async def _send(self, flight: Flight) -> None:
        """Upload what the clip needs, and queue it.

        Raises:
            ServerUnreachableError: if the server cannot be reached and surely has not got it.
        """
        job = flight.job
        placed: dict[Target, str] = {}
        uploads: list[Upload] = []
        for target, source in job.sources.items():
            placed[target], files = await asyncio.to_thread(uploads_of, source)
            uploads += files
        await self._upload(uploads)
        graph = self._life.plan.graph(job, placed)
        prompt_id = str(uuid.uuid4())
        self._life.journal.submitted(job.name, self.url, prompt_id, self._client_id)
        flight.prompt_id = prompt_id
        brought = self._brought
        try:
            try:
                await self._connection.submit(graph, prompt_id, self._client_id)
            except ServerRefusedError:
                # What was sent before may be gone: an emptied folder, or another server behind this address. Another
                # clip that was refused too may have brought it again already.
                await self._upload(uploads, anew=True)
                if self._brought == brought:
                    raise
                await self._connection.submit(graph, prompt_id, self._client_id)
        except ServerUnreachableError as error:
            flight.unsure = True
            await self._silent(str(error))
            return
        self._life.submitted(job, self.url, prompt_id)
        await self._queue.notify()  # an idle server may want it

    async def _upload(self, uploads: Sequence[Upload], *, anew: bool = False) -> None:
        """Send files that this server was not sent, or, anew, those that it does not have."""
        async with self._sending:  # clips may share files
            if anew:  # only here: what is being sent meanwhile may go to the server that is gone
                self._sent.clear()
            for upload in uploads:
                key = (upload.subfolder, upload.name)
                if key not in self._sent:
                    self._brought += await self._connection.send(upload)
                    self._sent.add(key)

    async def _bring_home(self, flight: Flight) -> None:
        """Follow a clip that was sent to its end."""
        while True:
            try:
                if flight.wanted and not flight.begun:
                    await self._connection.unqueue(flight.prompt_id)
                ended = await self._look(flight)
                if ended is not None:
                    try:
                        await self._collect(flight, ended)
                    except ServerRefusedError:
                        if await self._look(flight) is not None:
                            raise
                        self._requeue(flight, "lost")  # another server is behind this address by now
                    return
                if not await self._is_there(flight):
                    kinds = {"given up": flight.unsure, LOST_RUNNING: flight.begun, "taken back": flight.wanted}
                    self._requeue(flight, next((kind for kind, so in kinds.items() if so), "lost"))
                    return
                flight.wanted = False
            except ServerUnreachableError as error:
                await self._silent(str(error))
                if self._queue.may_give_up(self):
                    self._requeue(flight, "given up")
                    return
                flight.wanted, pause = False, _POLL_SECONDS_BLIND
            else:
                pause = _HISTORY_SECONDS if flight.ended else _POLL_SECONDS if self._socket else _POLL_SECONDS_BLIND
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(flight.news.wait(), pause)
            flight.news.clear()

    async def _look(self, flight: Flight) -> Ended | None:
        return await self._connection.ended(flight.prompt_id, self._life.plan.workflow.graph)

    async def _is_there(self, flight: Flight) -> bool:
        """Return whether the server has a clip in its queue, runs it, or ended it meanwhile.

        The queue is asked before the history: from the one a prompt goes to the other in one step, so that it cannot
        slip through between two questions asked in this order.
        """
        running, waiting = await self._connection.queued()
        if flight.prompt_id in running and not flight.begun:
            self._begin(flight)
        if flight.prompt_id in running or flight.prompt_id in waiting:
            flight.unsure = False
            return True
        return await self._look(flight) is not None

    def _requeue(self, flight: Flight, result: str) -> None:
        self._life.queue_again(flight.job.name, self.url, result)
        self._queue.put_back(flight.job)
        if result == "given up" and self.up:
            self.start(self._forget_given_up(_LATE_SECONDS))

    async def _collect(self, flight: Flight, ended: Ended) -> None:
        """Fetch a finished clip's outputs and put them in place."""
        if ended.error is not None:
            raise ended.error
        life, name, plan = self._life, flight.job.name, self._life.plan
        files = saved_files(ended.outputs, plan.bases, plan.workflow.graph)
        folder = life.folder.begin(flight.prompt_id)
        outputs = []
        for file_name, file in files:
            size, digest = await self._connection.fetch(file, folder / file_name)
            outputs.append({"file": file_name, "size": size, "sha256": digest})
        life.fetched(name, outputs, await self._numbers(ended))
        await asyncio.to_thread(life.folder.publish, name, flight.prompt_id)
        life.done(name, self.url, outputs)
        self._queue.close_clip()

    async def _numbers(self, ended: Ended) -> dict[str, Any]:
        """Return the numbers that the nodes showed, also those of nodes that came from the server's cache."""
        keys = result_keys(ended.graph)
        shown = self._life.journal.numbers(keys, shown_numbers(ended.outputs))
        silent = {node for node in ended.graph if ended.graph[node]["class_type"] in TELLING} - shown.keys()
        if silent:  # from before this batch; the history may still tell
            for earlier in await self._connection.recent(_EARLIER_PROMPTS):
                numbers = shown_numbers(earlier.outputs)
                told = {key: numbers[node] for node, key in result_keys(earlier.graph).items() if node in numbers}
                shown |= {node: told[keys[node]] for node in silent if keys[node] in told}
            shown = self._life.journal.numbers(keys, shown)
        return shown
