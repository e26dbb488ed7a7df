"""One ComfyUI's HTTP API and websocket, for asyncio: upload, queue, look up, follow, fetch."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from .errors import (
    ComfyError,
    ExecutionFailedError,
    ExecutionInterruptedError,
    FileUnreadableError,
    PromptRejectedError,
    ServerRefusedError,
    ServerUnreachableError,
)
from .graph import Graph, title_of

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60  # a server that loads a large model may answer late
_HEARTBEAT_SECONDS = 20
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Upload:
    """One file as it goes to a server.

    Attributes:
        path: the file here.
        subfolder: below ComfyUI's input folder.
        name: the file's name there.
        size: in bytes.
    """

    path: Path
    subfolder: str
    name: str
    size: int


@dataclass(frozen=True)
class Ended:
    """How a prompt ended, from the server's history.

    Attributes:
        error: what failed, for people; `None` for a success.
        outputs: what each node showed, by its number.
        graph: what ran, as the server has it.
    """

    error: ComfyError | None
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    graph: Graph = field(default_factory=dict)


class ComfyConnection:
    """Talks to one server. Every call raises ServerUnreachableError where no answer comes.

    Args:
        url: the server's address.
        patient: wait for answers as long as the socket is open: for a server of our own, which we would see end.
    """

    def __init__(self, url: str, *, patient: bool = False) -> None:
        self.url = url.rstrip("/")
        read, self._heartbeat = (None, None) if patient else (_ANSWER_SECONDS, _HEARTBEAT_SECONDS)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=read)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def close(self) -> None:
        """Close all sockets."""
        await self._session.close()

    # Asking -----------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Any:
        """Return the JSON at a path, such as `/system_stats` or `/object_info/KSampler`."""
        status, content = await self._ask("GET", path)
        try:
            if status == 200:
                return json.loads(content)
        except ValueError:
            pass
        raise ServerUnreachableError(f"{self.url}{path}: {status}; is that a ComfyUI?")

    async def node_info(self, types: set[str]) -> dict[str, Any]:
        """Return what the server says of node types; those it lacks are missing."""
        found: dict[str, Any] = {}
        for kind in sorted(types):
            found |= await self.get(f"/object_info/{kind}")
        return found

    async def queued(self) -> tuple[set[str], list[str]]:
        """Return the prompts that run, and those that wait."""
        answer = await self.get("/queue")
        return {item[1] for item in answer["queue_running"]}, [item[1] for item in answer["queue_pending"]]

    async def ended(self, prompt_id: str, graph: Graph) -> Ended | None:
        """Return how a prompt ended, or `None` where the history has it not (yet)."""
        entry = (await self.get(f"/history/{prompt_id}")).get(prompt_id)
        if entry is None:
            return None
        return Ended(_error_of(entry, graph), entry.get("outputs") or {}, entry["prompt"][2])

    async def recent(self, count: int) -> list[Ended]:
        """Return the prompts that ended last, newest first."""
        entries = list((await self.get(f"/history?max_items={count}")).values())
        return [Ended(None, entry.get("outputs") or {}, entry["prompt"][2]) for entry in reversed(entries)]

    # Doing ------------------------------------------------------------------------------------------------------

    async def submit(self, graph: Graph, prompt_id: str, client_id: str) -> None:
        """Queue a graph under a number of ours.

        Raises:
            PromptRejectedError: if the server finds it wrong, all of it or a part; then it is not in the queue. The
                message names nodes, inputs and reasons.
            ServerRefusedError: if the server is too old for a number of ours.
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        status, content = await self._ask("POST", "/prompt", json=body)
        answer = _parsed(content)
        if status != 200:
            raise PromptRejectedError(f"{self.url}: {describe_rejection(answer, graph)}")
        if answer.get("prompt_id") != prompt_id:
            await self.forget(str(answer.get("prompt_id")))
            raise ServerRefusedError(f"{self.url} is too old: it does not take our prompt_id. Update ComfyUI.")
        if answer.get("node_errors"):  # ComfyUI runs what it can and leaves the rest out
            await self.forget(prompt_id)
            raise PromptRejectedError(f"{self.url}: {describe_rejection(answer, graph)}")

    async def forget(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, and stop it where it runs."""
        await self.unqueue(prompt_id)
        await self.interrupt(prompt_id)

    async def unqueue(self, prompt_id: str) -> None:
        """Take a prompt out of the queue; one that runs goes on."""
        await self._ask("POST", "/queue", json={"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str | None = None) -> None:
        """Stop a prompt where it runs, or whatever runs."""
        await self._ask("POST", "/interrupt", json={} if prompt_id is None else {"prompt_id": prompt_id})

    async def send(self, upload: Upload) -> bool:
        """Bring a file to the input folder, unless one of its name, which tells its content, and size is there.

        Returns:
            Whether it was not there.
        """
        query = {"filename": upload.name, "subfolder": upload.subfolder, "type": "input"}
        status, _, length = await self._exchange("HEAD", "/view", params=query)
        if status == 200 and length == upload.size:
            return False
        await self.put(upload)
        return True

    async def put(self, upload: Upload) -> None:
        """Bring a file to the input folder, in place of one of its name.

        Raises:
            FileUnreadableError: if it cannot be read here.
            ServerRefusedError: if the server does not take it.
        """
        form = aiohttp.FormData(quote_fields=False)  # ComfyUI takes names as they come
        for key, value in (("subfolder", upload.subfolder), ("type", "input"), ("overwrite", "true")):
            form.add_field(key, value)
        try:
            with open(upload.path, "rb") as file:
                form.add_field("image", file, filename=upload.name)
                status, content = await self._ask("POST", "/upload/image", data=form)
        except OSError as error:  # the network's errors are another class here
            raise FileUnreadableError(f"{upload.path} can no longer be read: {error.strerror}.") from error
        if status == 413:
            raise ServerRefusedError(
                f"{self.url} refused {upload.path.name} ({upload.size / 1e6:.0f} MB) as too large: start it with "
                "--max-upload-size, in MB."
            )
        answer = _parsed(content)
        if status != 200 or (answer.get("name"), answer.get("subfolder")) != (upload.name, upload.subfolder):
            raise ServerRefusedError(f"{self.url} did not take {upload.path.name}: {status} {content[:200]!r}")

    async def read(self, file: Mapping[str, str]) -> bytes:
        """Return an output's content.

        Raises:
            ServerRefusedError: if the server no longer has it.
        """
        status, content = await self._ask("GET", "/view", params=_place_of(file))
        if status != 200:
            raise self._lacks(file, str(status))
        return content

    async def fetch(self, file: Mapping[str, str], path: Path) -> tuple[int, str]:
        """Write an output to a new file and to the disk itself; returns its size and SHA-256."""
        digest, size = hashlib.sha256(), 0
        with self._reaching():
            async with self._session.get(f"{self.url}/view", params=_place_of(file)) as response:
                self._check_proxy(response.status)
                if response.status != 200:
                    raise self._lacks(file, f"{response.status} {response.reason}")
                with open(path, "xb") as target:
                    async for chunk in response.content.iter_chunked(_CHUNK):
                        digest.update(chunk)
                        size += len(chunk)
                        target.write(chunk)
                    target.flush()
                    await asyncio.to_thread(os.fsync, target.fileno())
        return size, digest.hexdigest()

    async def events(self, client_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield a websocket's messages (type, data) until it closes; the first is `connected`, from us."""
        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
        with self._reaching():
            async with self._session.ws_connect(address, max_msg_size=0, heartbeat=self._heartbeat) as socket:
                yield "connected", {}
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:  # binary messages are previews
                        event = _parsed(message.data.encode())
                        yield str(event.get("type")), event.get("data") or {}

    # Behind them ------------------------------------------------------------------------------------------------

    def _lacks(self, file: Mapping[str, str], said: str) -> ServerRefusedError:
        return ServerRefusedError(
            f"{self.url} no longer has {file.get('filename')}: {said}. If its output folder was emptied, restart it "
            "and retry the clip."
        )

    async def _ask(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        status, content, _ = await self._exchange(method, path, **options)
        self._check_proxy(status)
        return status, content

    def _check_proxy(self, status: int) -> None:
        if status in (502, 503, 504):  # a proxy before a server that is down
            raise ServerUnreachableError(f"{self.url}: {status}")

    async def _exchange(self, method: str, path: str, **options: Any) -> tuple[int, bytes, int | None]:
        with self._reaching():
            async with self._session.request(method, self.url + path, **options) as response:
                return response.status, await response.read(), response.content_length

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn what the network raises into ServerUnreachableError, and calls on a connection that was closed too."""
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError, ConnectionError) as error:
            raise ServerUnreachableError(f"{self.url}: {str(error) or type(error).__name__}") from error
        except RuntimeError as error:
            if not self._session.closed:
                raise
            raise ServerUnreachableError(f"{self.url}: {error}") from error


def _place_of(file: Mapping[str, str]) -> dict[str, str]:
    return {key: str(file.get(key, "")) for key in ("filename", "subfolder", "type")}


def describe_rejection(answer: Mapping[str, Any], graph: Graph) -> str:
    """Turn ComfyUI's answer to a wrong graph into lines that name node, input and reason."""
    error = answer.get("error") or {}
    said = error.get("message", "") if isinstance(error, Mapping) else str(error)
    lines = [f"ComfyUI rejected the graph. {said}".rstrip()]
    for number, problems in (answer.get("node_errors") or {}).items():
        for problem in problems["errors"]:
            where = problem.get("extra_info", {}).get("input_name")
            about = f", input {where!r}" if where else ""
            lines.append(f"- {title_of(graph, number)!r}{about}: {problem['message']}: {problem.get('details', '')}")
    if len(lines) == 1 and isinstance(error, Mapping) and error.get("details"):
        lines.append(str(error["details"]))
    return "\n".join(lines)


def _error_of(entry: Mapping[str, Any], graph: Graph) -> ComfyError | None:
    status = entry.get("status") or {}
    for kind, data in status.get("messages", []):
        title = title_of(graph, str(data.get("node_id")))
        if kind == "execution_error":
            trace = "".join(data.get("traceback") or [])
            return ExecutionFailedError(title, data["exception_type"], data["exception_message"], trace)
        if kind == "execution_interrupted":
            return ExecutionInterruptedError(f"It was interrupted in the node {title!r}.")
    said = status.get("status_str", "success")
    return None if said == "success" else ComfyError(f"It ended as {said!r}.")


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"error": content[:300].decode(errors="replace")}
