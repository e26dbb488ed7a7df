"""One server of a batch: feeds it, follows its websocket, and brings every clip it was given to an end.

A clip in flight ends in one of these ways, whatever happens to the server, the network or this program:
it is done, it has failed, or it is queued again because the server certainly lost it, gave it back untouched, or stayed
away too long. A server that answers nothing as it should is down, whatever its websocket says; where it answers all but
one clip's questions, that clip fails after a while, and the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Coroutine, Sequence

from ..comfyui.client import ComfyConnection, Upload
from ..comfyui.errors import ComfyError, ServerRefusedError, ServerUnreachableError, WrongAnswerError
from ..comfyui.graph import Target
from ..comfyui.hints import CONNECTED, Hint
from ..comfyui.history import Ended
from ..comfyui.tasks import stop_tasks
from .clip_life import LOST_RUNNING, ClipLife
from .clip_queue import ClipQueue, Flight, Patience, Taker
from .errors import ClipError
from .mapping import Job
from .sources import uploads_of

_POLL_SECONDS = 5.0  # a look now and then, should a message get lost
_POLL_SECONDS_BLIND = 0.5  # without a websocket
_HISTORY_SECONDS = 0.01  # from the message of the end until the history has it
_RECONNECT_SECONDS = (0.25, 5.0)
_SAY_SECONDS = 600.0  # without news of a clip until a line says where it is
_LATE_SECONDS = 2.0  # in which a message that was cut off arrives, if ever


class Server(Taker):
    """Runs clips on one ComfyUI.

    Args:
        life: what happens to clips.
        queue: where they wait.
        url: its address.
        depth: clips that it may have at once.
        seconds: silence after which an answer counts as none; and how long a clip may have wrong ones.
    """

    def __init__(self, life: ClipLife, queue: ClipQueue, url: str, depth: int, seconds: float) -> None:
        super().__init__(url, depth)
        self._life, self._queue = life, queue
        self._connection = ComfyConnection(url, seconds=seconds)
        self._seconds, self._patience = seconds, Patience(seconds)
        self._client_id = life.journal.client_id(url, uuid.uuid4().hex)
        self._socket = False
        self._sent: set[tuple[str, str]] = set()
        self._brought = 0  # files that it lacked
        self._sending, self._forgetting = asyncio.Lock(), asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop following; what the server has, it goes on with."""
        await stop_tasks(self._tasks)
        await self._connection.close()

    # The connection ---------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Follow the websocket for ever; reconnect, and look whether the server is there at all."""
        pause, longest = _RECONNECT_SECONDS
        self.start(self._probe_until_up())
        while True:
            with contextlib.suppress(ServerUnreachableError):
                async with contextlib.aclosing(self._connection.events(self._client_id)) as events:
                    async for hint in events:
                        if hint.kind == CONNECTED:
                            self._socket, pause = True, _RECONNECT_SECONDS[0]
                            await self._probe()
                            self._wake()
                        else:
                            self._message(hint)
            self._socket = False
            self._sent.clear()  # it may come back as another, with an empty disk, before anybody sees it down
            await self._probe()
            self._wake()
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _probe(self) -> bool:
        """Ask for the queue, which tells whether the server is there; returns that."""
        try:
            await self._connection.queued()
        except ServerUnreachableError as error:
            await self._silent(str(error))
            return False
        await self._answered()
        return True

    async def _probe_until_up(self) -> None:
        """Look for a server that is down; its websocket may be open all the while, or never open."""
        pause, longest = _RECONNECT_SECONDS
        while not self.up:
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
            if not self.up:
                await self._probe()

    async def _answered(self) -> None:
        if not self.up:
            self.up, self.since = True, time.monotonic()
            self._life.emit("server up", server=self.url)
            self.start(self._forget_given_up())
            await self._queue.notify()
            self._wake()

    async def _silent(self, reason: str) -> None:
        self.reason = reason
        if self.up:
            self.up, self.since = False, time.monotonic()
            self._life.emit("server down", server=self.url, reason=reason)
            await self._queue.notify()
            self.start(self._probe_until_up())

    async def _forget_given_up(self, delay: float = 0) -> None:
        """Stop what others make by now; after a delay also what was still on its way."""
        await asyncio.sleep(delay)
        async with self._forgetting:  # once for all that is there
            with contextlib.suppress(ServerUnreachableError):
                for prompt_id in self._life.journal.given_up(self.url):
                    await self._connection.forget(prompt_id)
                    self._life.journal.forgotten(prompt_id)

    def _wake(self) -> None:
        for flight in self.flights:
            flight.news.set()

    def _message(self, hint: Hint) -> None:
        flight = next((flight for flight in self.flights if flight.prompt_id == hint.prompt_id), None)
        if flight is None:
            return
        flight.heard = time.monotonic()
        if hint.begun and not flight.begun:
            self._begin(flight)
        if hint.ended:
            flight.ended = True
            flight.news.set()
        elif place := hint.place(self._life.plan.workflow.graph):
            self._life.emit("progress", clip=flight.job.name, server=self.url, **place)

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

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Let something run beside; what it raises ends the batch."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._queue.finished)

    async def _fly(self, flight: Flight) -> None:
        name = flight.job.name
        try:
            try:
                if not flight.prompt_id:
                    await self._send(flight)
                await self._bring_home(flight)
            except ServerUnreachableError as error:  # before it was sent
                await asyncio.sleep(await self._pause_after(flight, error))
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
            flight.unsure, flight.doubt = True, error
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
        soon = _HISTORY_SECONDS
        while True:
            ended = None
            try:
                if flight.wanted and not flight.begun:
                    await self._connection.unqueue(flight.prompt_id)
                ended = await self._look(flight)
                if ended is not None:
                    try:
                        await self._life.bring_in(flight.job.name, flight.prompt_id, ended, self._connection)
                        self._queue.close_clip()
                    except ServerRefusedError:
                        if await self._look(flight) is not None:
                            raise
                        self._requeue(flight, "lost")  # another server is behind this address by now
                    return
                if not await self._is_there(flight):
                    await self._send_again(flight)
                    return
                flight.wanted = False
                self._patience.right(flight.job.name)
                await self._answered()
                self._say_where(flight)
            except ServerUnreachableError as error:
                pause = await self._pause_after(flight, error, ended=ended is not None)
                if self._queue.may_give_up(self):
                    self._requeue(flight, "given up")
                    return
                flight.wanted = False
            else:
                longest = _POLL_SECONDS if self._socket else _POLL_SECONDS_BLIND
                pause, soon = (min(soon, longest), 2 * soon) if flight.ended else (longest, soon)
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(flight.news.wait(), pause)
            flight.news.clear()

    async def _pause_after(self, flight: Flight, error: ServerUnreachableError, *, ended: bool = False) -> float:
        """Count an answer that did not come or cannot be used, and return the seconds until the next try.

        Args:
            flight: the clip.
            error: what came instead.
            ended: whether the server has surely ended the clip.

        Raises:
            ClipError: if that went on for too long, while the server answers other questions.
        """
        if not await self._probe():  # not the clip's fault
            return _POLL_SECONDS_BLIND
        name = flight.job.name
        pause = self._patience.wrong(name)
        if pause is not None:
            if self._patience.first(name):
                self._life.emit("waiting", clip=name, server=self.url, reason=str(error))
            return pause
        if flight.prompt_id and not ended:  # it may run there, and nobody would ask for it
            self._life.journal.queued(name, "given up")
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._forget_given_up(), self._seconds)
        raise ClipError(f"It was given up after {self._seconds:g} s of wrong answers. The last: {error}")

    async def _send_again(self, flight: Flight) -> None:
        """Queue a clip anew that its server does not have.

        Raises:
            ClipError: if that is so again and again.
        """
        kinds = {"given up": flight.unsure, LOST_RUNNING: flight.begun, "taken back": flight.wanted}
        result = next((kind for kind, so in kinds.items() if so), "lost")
        if result in ("given up", "lost"):
            lost = WrongAnswerError(
                f"{self._connection.name} took it, and has it in neither its queue nor its history."
            )
            await asyncio.sleep(await self._pause_after(flight, flight.doubt or lost))
        self._requeue(flight, result)

    def _say_where(self, flight: Flight) -> None:
        """Tell now and then where a clip is that nothing is heard of."""
        if time.monotonic() - flight.heard > _SAY_SECONDS:
            flight.heard = time.monotonic()
            where = "it still runs there" if flight.begun else "it still waits in the queue there"
            self._life.emit("waiting", clip=flight.job.name, server=self.url, reason=where)

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
