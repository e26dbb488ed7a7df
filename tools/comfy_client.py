"""Talk to a running ComfyUI over its HTTP API and websocket: upload, queue, follow, fetch, interrupt."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

Graph = Mapping[str, Mapping[str, Any]]
Result = TypeVar("Result")

_POLL_SECONDS = 0.5
# Previews and latents of a clip are larger than aiohttp's 4 MB default.
_LARGEST_MESSAGE = 0


class ComfyError(RuntimeError):
    """ComfyUI refused or failed; the message is for people."""


class PromptRejectedError(ComfyError):
    """The graph did not pass ComfyUI's checks; nothing ran."""


class ExecutionFailedError(ComfyError):
    """A node raised an exception.

    Attributes:
        node: the node's title.
        exception: the exception's type, as ComfyUI names it.
        reason: the exception's text.
    """

    def __init__(self, node: str, exception: str, reason: str, traceback: str) -> None:
        super().__init__(f"The node {node!r} failed: {exception}: {reason.strip()}\n{traceback}".rstrip())
        self.node, self.exception, self.reason = node, exception, reason.strip()


class ExecutionInterruptedError(ComfyError):
    """Somebody interrupted the run."""


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
        self._session = self._wait(self._open_session())

    def __enter__(self) -> ComfyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._wait(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Calls ------------------------------------------------------------------------------------------------------

    def upload(self, path: Path, subfolder: str = "") -> str:
        """Copy a file of any kind into ComfyUI's input folder; returns its name there, for a node's input."""
        return self._wait(self._upload(path, subfolder))

    def queue(self, graph: Graph) -> str:
        """Queue an API-format graph; returns the run's number.

        Raises:
            PromptRejectedError: if ComfyUI finds it wrong; the message names nodes, inputs and reasons.
        """
        return self._wait(self._queue(graph, uuid.uuid4().hex))

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
        future = asyncio.run_coroutine_threadsafe(self._run(graph, reports.put), self._loop)
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
        self._wait(self._request("POST", "/interrupt"))

    def fetch(self, file: Mapping[str, str]) -> bytes:
        """Return the content of a file that `Run.files` names."""
        wanted = {key: file.get(key, "") for key in ("filename", "subfolder", "type")}
        return self._wait(self._request("GET", "/view", params=wanted))

    def get(self, path: str) -> Any:
        """Return the JSON at a path, such as `/system_stats`, `/object_info/KSampler` or `/queue`."""
        return json.loads(self._wait(self._request("GET", path)))

    # Behind them ------------------------------------------------------------------------------------------------

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C reaches this thread alone
            raise

    async def _open_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=30))

    async def _request(self, method: str, path: str, **options: Any) -> bytes:
        async with self._session.request(method, self.url + path, **options) as response:
            content = await response.read()
            if not response.ok:
                raise ComfyError(f"{method} {path}: {response.status} {response.reason} {content[:500]!r}")
            return content

    async def _upload(self, path: Path, subfolder: str) -> str:
        form = aiohttp.FormData({"subfolder": subfolder, "type": "input", "overwrite": "true"})
        with open(path, "rb") as file:
            form.add_field("image", file, filename=path.name)  # ComfyUI's name for an upload of any kind
            answer = json.loads(await self._request("POST", "/upload/image", data=form))
        return f"{answer['subfolder']}/{answer['name']}" if answer["subfolder"] else answer["name"]

    async def _queue(self, graph: Graph, client_id: str) -> str:
        body = {"prompt": graph, "client_id": client_id}
        async with self._session.post(f"{self.url}/prompt", json=body) as response:
            answer = await response.json(content_type=None)
            if not response.ok:
                raise PromptRejectedError(describe_rejection(answer, graph))
            return answer["prompt_id"]

    async def _run(self, graph: Graph, on_progress: Callable[[Progress], None]) -> Run:
        # A number of its own for every run: ComfyUI sends a client's messages to its newest socket alone.
        client_id = uuid.uuid4().hex
        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
        run = None
        try:
            async with self._session.ws_connect(address, max_msg_size=_LARGEST_MESSAGE) as socket:
                run = Run(await self._queue(graph, client_id))
                await _follow(socket, run, graph, on_progress)
        except aiohttp.ClientError:
            # The run goes on without us; without a socket from the start it is queued now.
            run = run or Run(await self._queue(graph, client_id))
        await self._finish(run, graph)
        return run

    async def _finish(self, run: Run, graph: Graph) -> None:
        """Wait for the run in the history, which has it once it ended, and take its outputs or its error."""
        while True:
            history = json.loads(await self._request("GET", f"/history/{run.prompt_id}"))
            if run.prompt_id in history:
                break
            await asyncio.sleep(_POLL_SECONDS)
        entry = history[run.prompt_id]
        for kind, data in entry.get("status", {}).get("messages", []):
            if kind == "execution_error":
                title = title_of(graph, str(data.get("node_id")))
                trace = "".join(data.get("traceback") or [])
                raise ExecutionFailedError(title, data["exception_type"], data["exception_message"], trace)
            if kind == "execution_interrupted":
                raise ExecutionInterruptedError(
                    f"Interrupted in the node {title_of(graph, str(data.get('node_id')))!r}."
                )
        run.outputs = entry.get("outputs", {})


async def _follow(
    socket: aiohttp.ClientWebSocketResponse, run: Run, graph: Graph, on_progress: Callable[[Progress], None]
) -> None:
    """Report a run's messages until it ends or the socket closes; keep the time that each node takes."""
    current, since = None, time.monotonic()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:  # binary messages are previews
            continue
        event = json.loads(message.data)
        kind, data = event["type"], event.get("data") or {}
        if data.get("prompt_id") != run.prompt_id:
            continue
        if kind in ("executing", "execution_success", "execution_error", "execution_interrupted"):
            if current is not None:
                title = title_of(graph, current)
                run.seconds[title] = run.seconds.get(title, 0) + time.monotonic() - since
            current, since = data.get("node") if kind == "executing" else None, time.monotonic()
            if current is None:
                return
            on_progress(Progress(current, title_of(graph, current)))
        elif kind == "progress":
            node = str(data.get("node"))
            on_progress(Progress(node, title_of(graph, node), data["value"], data["max"]))


def title_of(graph: Graph, node_id: str) -> str:
    """Return a node's title, or its type, or its number where the graph has no such node."""
    node = graph.get(node_id)
    return node_id if node is None else node.get("_meta", {}).get("title") or node["class_type"]


def describe_rejection(answer: Mapping[str, Any], graph: Graph) -> str:
    """Turn ComfyUI's answer to a wrong graph into lines that name node, input and reason."""
    error = answer.get("error", {})
    lines = [f"ComfyUI rejected the graph: {error.get('message', answer)}. {error.get('details', '')}".rstrip()]
    for node_id, problems in (answer.get("node_errors") or {}).items():
        for problem in problems["errors"]:
            where = problem.get("extra_info", {}).get("input_name")
            about = f", input {where!r}" if where else ""
            lines.append(f"- {title_of(graph, node_id)!r}{about}: {problem['message']}: {problem.get('details', '')}")
    return "\n".join(lines)


def _is_file(entry: Any) -> bool:
    return isinstance(entry, dict) and "filename" in entry
