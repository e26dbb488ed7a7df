"""The client for programs that wait: queue a graph, follow it to its end, and take what it left."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from .client import ComfyConnection, Upload
from .errors import ComfyError, ServerUnreachableError
from .graph import Graph, title_of
from .hints import CONNECTED, Hint

Result = TypeVar("Result")

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Progress:
    """Where a run stands: a node has started (`done` 0 of `total` 0), or reports `done` of `total` steps."""

    node_id: str
    title: str
    done: float = 0
    total: float = 0


@dataclass
class Run:
    """What a finished run left.

    Attributes:
        prompt_id: ComfyUI's number of the run.
        outputs: what each output node shows, by node number, as ComfyUI's history has it.
        seconds: time in each node, by title; empty where the websocket was lost.
    """

    prompt_id: str
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def files(self, node_id: str) -> list[dict[str, str]]:
        """Return the files (filename, subfolder, type) that a node saved or previews."""
        shown = self.outputs.get(node_id, {})
        return [entry for kind in shown.values() if isinstance(kind, list) for entry in kind if _is_file(entry)]


class ComfyClient:
    """A client for one ComfyUI; use it as a context manager.

    The calls block. Network traffic runs on a thread of its own, so a client also works inside a program that has an
    event loop, such as a browser test.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="comfy-client", daemon=True)
        self._thread.start()
        self._connection = self._wait(_connection(self.url))

    def __enter__(self) -> ComfyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._wait(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def upload(self, path: Path, subfolder: str = "") -> str:
        """Copy a file of any kind into ComfyUI's input folder; returns its name there, for a node's input."""
        self._wait(self._connection.put(Upload(path, subfolder, path.name, path.stat().st_size)))
        return f"{subfolder}/{path.name}" if subfolder else path.name

    def queue(self, graph: Graph) -> str:
        """Queue an API-format graph; returns the run's number.

        Raises:
            PromptRejectedError: if ComfyUI finds it wrong; the message names nodes, inputs and reasons.
        """
        prompt_id = str(uuid.uuid4())
        self._wait(self._connection.submit(graph, prompt_id, uuid.uuid4().hex))
        return prompt_id

    def run(self, graph: Graph, on_progress: Callable[[Progress], None] | None = None) -> Run:
        """Queue a graph and follow it to its end.

        Args:
            graph: in API format.
            on_progress: called in this thread when a node starts and when it reports steps. It may call the client,
                or raise to stop following.

        Raises:
            PromptRejectedError: if it did not pass ComfyUI's checks.
            ExecutionFailedError: if a node raised an exception.
            ExecutionInterruptedError: if it was interrupted.
        """
        reports: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
        future = asyncio.run_coroutine_threadsafe(_run(self._connection, graph, reports.put), self._loop)
        future.add_done_callback(lambda _: reports.put(None))
        try:
            while (report := reports.get()) is not None:
                if on_progress:
                    on_progress(report)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def interrupt(self) -> None:
        """Stop the run that is being executed."""
        self._wait(self._connection.interrupt())

    def fetch(self, file: Mapping[str, str]) -> bytes:
        """Return the content of a file that `Run.files` names."""
        return self._wait(self._connection.read(file))

    def get(self, path: str) -> Any:
        """Return the JSON at a path, such as `/system_stats`, `/object_info/KSampler` or `/queue`."""
        return self._wait(self._connection.get(path))

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C reaches this thread alone
            raise


async def _connection(url: str) -> ComfyConnection:
    return ComfyConnection(url, patient=True)  # made in the loop that it belongs to


async def _run(connection: ComfyConnection, graph: Graph, on_progress: Callable[[Progress], None]) -> Run:
    run, queued = Run(str(uuid.uuid4())), False
    # A number of its own for every run: ComfyUI sends a client's messages to its newest socket alone.
    client_id = uuid.uuid4().hex
    follower = _Follower(run, graph, on_progress)
    # Without a websocket the run goes on without us.
    with contextlib.suppress(ServerUnreachableError):
        async with contextlib.aclosing(connection.events(client_id)) as events:
            async for hint in events:
                if hint.kind == CONNECTED:
                    await connection.submit(graph, run.prompt_id, client_id)
                    queued = True
                elif hint.prompt_id == run.prompt_id and follower.ended_by(hint):
                    break
    if not queued:
        await connection.submit(graph, run.prompt_id, client_id)
    while (ended := await connection.ended(run.prompt_id, graph)) is None:
        # The queue first: a prompt goes from there to the history in one step.
        running, waiting = await connection.queued()
        if run.prompt_id not in running and run.prompt_id not in waiting:
            if (ended := await connection.ended(run.prompt_id, graph)) is not None:
                break
            raise ComfyError(f"{connection.name} lost the run: it is in neither queue nor history. Queue it again.")
        await asyncio.sleep(_POLL_SECONDS)
    if ended.error is not None:
        raise ended.error
    run.outputs = ended.outputs
    return run


class _Follower:
    """Reports a run's messages, and keeps the time that each node takes."""

    def __init__(self, run: Run, graph: Graph, on_progress: Callable[[Progress], None]) -> None:
        self._run, self._graph, self._on_progress = run, graph, on_progress
        self._current: str | None = None
        self._since = time.monotonic()

    def ended_by(self, hint: Hint) -> bool:
        """Take a message of the run; returns whether it is the last."""
        if hint.ended or (hint.kind == "executing" and hint.node is not None):
            if self._current is not None:
                title = title_of(self._graph, self._current)
                self._run.seconds[title] = self._run.seconds.get(title, 0) + time.monotonic() - self._since
            self._current, self._since = None if hint.ended else hint.node, time.monotonic()
        if hint.node is not None and (hint.kind == "executing" or hint.steps is not None):
            self._on_progress(Progress(hint.node, title_of(self._graph, hint.node), *(hint.steps or ())))
        return hint.ended


def _is_file(entry: Any) -> bool:
    return isinstance(entry, dict) and "filename" in entry
