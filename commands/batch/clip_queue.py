"""The clips that wait, and the servers that ask for them: a bounded number on each, idle ones help busy ones."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from ..comfyui.errors import ServerUnreachableError
from .mapping import Job

_TIMES = 3  # one answer alone decides nothing
_PAUSE_SECONDS = (0.25, 5.0)


class Patience:
    """How long clips may go without an answer that can be used, from a server that does answer.

    Args:
        seconds: from the first of such answers; it takes three of them at least.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._wrong: dict[str, tuple[float, int]] = {}

    def wrong(self, name: str) -> float | None:
        """Count an answer; returns the seconds until the next try, or `None` where there were enough."""
        now = time.monotonic()
        since, times = self._wrong.get(name, (now, 0))
        self._wrong[name] = since, times + 1
        if times + 1 >= _TIMES and now - since >= self._seconds:
            return None
        return min(_PAUSE_SECONDS[0] * 2**times, _PAUSE_SECONDS[1], self._seconds / _TIMES)

    def first(self, name: str) -> bool:
        """Return whether one answer alone was counted so far."""
        return self._wrong[name][1] == 1

    def right(self, name: str) -> None:
        """Forget what was counted."""
        self._wrong.pop(name, None)


@dataclass(eq=False)
class Flight:
    """A clip that a server has, or is about to get.

    Attributes:
        job: the clip.
        prompt_id: its number on the server; empty until it is sent.
        begun: whether the server has begun with it.
        ended: whether the websocket told its end.
        unsure: whether nobody knows if the server took it.
        doubt: what was answered instead, where that is known.
        wanted: whether an idle server asks for it.
        news: set when there is something to look at.
        heard: the monotonic time of the last news of it.
    """

    job: Job
    prompt_id: str = ""
    begun: bool = False
    ended: bool = False
    unsure: bool = False
    doubt: ServerUnreachableError | None = None
    wanted: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    heard: float = field(default_factory=time.monotonic)


class Taker:
    """What the queue knows of a server.

    Attributes:
        url: its address.
        depth: clips that it may have at once; 0 gets no more.
        flights: those that it has.
        up: whether it answers.
        since: the monotonic time since when it is up, or down.
        reason: why it was last taken for down.
    """

    def __init__(self, url: str, depth: int) -> None:
        self.url, self.depth = url, depth
        self.flights: list[Flight] = []
        self.up, self.since = False, time.monotonic()
        self.reason = ""

    @property
    def ready(self) -> bool:
        """Whether it may get one more clip."""
        return self.up and len(self.flights) < self.depth


class ClipQueue:
    """What the servers of a batch share. It is over when no clip is open any more, or a task failed.

    Args:
        lost_after: seconds without an answer until a server's clips go to others, which have answered that long.
    """

    def __init__(self, lost_after: float) -> None:
        self.takers: list[Taker] = []
        self._waiting: deque[Job] = deque()
        self._lost_after = lost_after
        self._open = 0
        self._changed = asyncio.Condition()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self, clips: int) -> None:
        """Say how many clips there are to bring to their end."""
        self._open = clips

    async def over(self) -> None:
        """Wait until no clip is open.

        Raises:
            Exception: what a task raised.
        """
        await self._over

    def append(self, job: Job) -> None:
        """Queue a clip after the others."""
        self._waiting.append(job)

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

    async def take(self, taker: Taker) -> Flight:
        """Wait until there is a clip for a server that is ready, and give it to it."""
        async with self._changed:
            while True:
                if taker.ready and self._waiting:
                    flight = Flight(self._waiting.popleft())
                    taker.flights.append(flight)
                    return flight
                if taker.ready and not taker.flights:
                    self._ask_back()
                await self._changed.wait()

    def _ask_back(self) -> None:
        """Ask the busiest server for a clip that it has not begun with."""
        flights = [flight for taker in self.takers for flight in taker.flights]
        if any(flight.wanted for flight in flights):
            return
        for taker in sorted(self.takers, key=lambda taker: -len(taker.flights)):
            idle = [flight for flight in taker.flights if flight.prompt_id and not flight.begun]
            if taker.up and idle and len(taker.flights) > 1:
                idle[-1].wanted = True
                idle[-1].news.set()
                return

    def may_give_up(self, taker: Taker) -> bool:
        """Return whether a server has been away so long, and another here, that its clips go to that one.

        Where all are away, the network may be: then every server goes on with what it has, and is asked again.
        """
        longest, now = self._lost_after, time.monotonic()
        if taker.up or now - taker.since <= longest:
            return False
        return any(other.up and other.depth and now - other.since > longest for other in self.takers)

    def silent_for(self) -> float:
        """Return for how many seconds no server that gets clips has answered; 0 where one does."""
        feeding = [taker for taker in self.takers if taker.depth]
        if any(taker.up for taker in feeding):
            return 0.0
        return min(time.monotonic() - taker.since for taker in feeding)
