"""One ComfyUI's HTTP API and websocket, for asyncio: upload, queue, look up, follow, fetch."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from ...common.safe_text import one_line
from .answers import Each, Maybe, Shape, fits, inputs_of
from .downloads import HEAD_BYTES, is_another_file
from .errors import FileUnreadableError, PromptRejectedError, ServerRefusedError
from .graph import Graph
from .hints import CONNECTED, Hint, read_hint
from .history import ENTRY, Ended, describe_rejection, ended_of
from .transport import Transport

_SLOWEST_UPLOAD = 50_000  # bytes a second
_MOST_UNANNOUNCED, _MOST_ANNOUNCED = 1 << 33, 1 << 40  # bytes of one output
_ITEMS = [(object, str)]  # [number, prompt_id, ...]
_QUEUE = {"queue_running": _ITEMS, "queue_pending": _ITEMS}


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


class ComfyConnection(Transport):
    """Talks to one server.

    Every call raises ServerUnreachableError where no answer comes, and of these WrongAnswerError where what comes is
    none of ComfyUI's.
    """

    # Asking -----------------------------------------------------------------------------------------------------

    async def get(self, path: str, expected: str = "JSON", shape: Shape = object) -> Any:
        """Return the JSON at a path, such as `/system_stats` or `/object_info/KSampler`.

        Args:
            path: the path.
            expected: what its shape is, in words.
            shape: see `answers.Shape`.
        """
        return (await self._ask("GET", path)).json(expected, shape)

    async def node_info(self, types: set[str]) -> dict[str, Any]:
        """Return what the server says of node types, `input` by `inputs_of`; those it lacks are missing."""
        found: dict[str, Any] = {}
        for kind in sorted(types):
            node = await self._one(f"/object_info/{kind}", kind, "what it knows of the node", {"input": Maybe(dict)})
            if node is not None:
                found[kind] = {**node, "input": inputs_of(node)}
        return found

    async def queued(self) -> tuple[set[str], list[str]]:
        """Return the prompts that run, and those that wait."""
        answer = await self.get("/queue", "lists of the prompts that run and wait", _QUEUE)
        return {item[1] for item in answer["queue_running"]}, [item[1] for item in answer["queue_pending"]]

    async def ended(self, prompt_id: str, graph: Graph) -> Ended | None:
        """Return how a prompt ended, or `None` where the history has it not (yet)."""
        entry = await self._one(f"/history/{prompt_id}", prompt_id, "the history of the prompt", ENTRY)
        return None if entry is None else ended_of(entry, graph)

    async def recent(self, count: int) -> list[Ended]:
        """Return the prompts that ended last, newest first."""
        entries = await self.get(f"/history?max_items={count}", "the latest entries of the history", Each(ENTRY))
        return [ended_of(entry, {}) for entry in reversed(entries.values())]

    # Doing ------------------------------------------------------------------------------------------------------

    async def submit(self, graph: Graph, prompt_id: str, client_id: str) -> None:
        """Queue a graph under a number of ours.

        Raises:
            PromptRejectedError: if the server finds it wrong, all of it or a part; then it is not in the queue. The
                message names nodes, inputs and reasons.
            ServerRefusedError: if the server is too old for a number of ours.
        """
        answer = await self._ask(
            "POST", "/prompt", json={"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        )
        if answer.status == 400 and fits(rejection := answer.parsed(), {"error": object}):
            raise PromptRejectedError(f"{self.name}: {describe_rejection(rejection, graph)}")
        taken = answer.json("the number of the prompt that it took", {"prompt_id": str})
        if taken["prompt_id"] != prompt_id:
            await self.forget(taken["prompt_id"])
            raise ServerRefusedError(f"{self.name} is too old: it does not take our prompt_id. Update ComfyUI.")
        if taken.get("node_errors"):  # ComfyUI runs what it can and leaves the rest out
            await self.forget(prompt_id)
            raise PromptRejectedError(f"{self.name}: {describe_rejection(taken, graph)}")

    async def forget(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, and stop it where it runs."""
        await self.unqueue(prompt_id)
        await self.interrupt(prompt_id)

    async def unqueue(self, prompt_id: str) -> None:
        """Take a prompt out of the queue; one that runs goes on."""
        await self._tell("/queue", {"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str | None = None) -> None:
        """Stop a prompt where it runs, or whatever runs."""
        await self._tell("/interrupt", {} if prompt_id is None else {"prompt_id": prompt_id})

    async def send(self, upload: Upload) -> bool:
        """Bring a file to the input folder, unless one of its name, which tells its content, and size is there.

        Returns:
            Whether it was not there.
        """
        query = {"filename": upload.name, "subfolder": upload.subfolder, "type": "input"}
        answer = await self._ask("HEAD", "/view", params=query)
        if answer.status == 200 and answer.length == upload.size:
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
        slowest = upload.size / _SLOWEST_UPLOAD
        try:
            with open(upload.path, "rb") as file:
                form.add_field("image", file, filename=upload.name)
                answer = await self._ask("POST", "/upload/image", data=form, takes=slowest)
        except OSError as error:  # the network's errors are another class here
            raise FileUnreadableError(f"{upload.path} can no longer be read: {error.strerror}.") from error
        if answer.status == 413:
            raise ServerRefusedError(
                f"{self.name} refused {upload.path.name} ({upload.size / 1e6:.0f} MB) as too large: start it with "
                "--max-upload-size, in MB."
            )
        taken = answer.json(f"the name of {upload.path.name}, which it was sent", {"name": str, "subfolder": str})
        if (taken["name"], taken["subfolder"]) != (upload.name, upload.subfolder):
            raise ServerRefusedError(f"{self.name} did not keep the name of {upload.path.name}: {answer.said()}")

    async def read(self, file: Mapping[str, str]) -> bytes:
        """Return an output's content.

        Raises:
            ServerRefusedError: if the server no longer has it.
        """
        return b"".join([chunk async for chunk in self._download(file)])

    async def fetch(self, file: Mapping[str, str], path: Path) -> tuple[int, str]:
        """Write an output, whole and of its kind, to a new file and to the disk itself; returns its size and SHA-256.

        Raises:
            ServerRefusedError: if the server no longer has it.
            OSError: if it does not fit onto the disk.
        """
        digest, size = hashlib.sha256(), 0
        with open(path, "xb") as target:
            async with aclosing(self._download(file, shutil.disk_usage(path.parent).free)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    target.write(chunk)
            target.flush()
            await asyncio.to_thread(os.fsync, target.fileno())
        return size, digest.hexdigest()

    async def events(self, client_id: str) -> AsyncIterator[Hint]:
        """Yield a websocket's messages until it closes; the first is CONNECTED, from us."""
        async with self._socket(client_id) as socket:
            yield Hint(CONNECTED)
            async for message in socket:
                # Binary messages are previews.
                if message.type is aiohttp.WSMsgType.TEXT and (hint := read_hint(message.data)) is not None:
                    yield hint

    # Behind them ------------------------------------------------------------------------------------------------

    async def _one(self, path: str, key: str, expected: str, shape: Shape) -> Any:
        """Return what is found under a key, or `None` where nothing is, which ComfyUI answers with {}."""
        answer = await self._ask("GET", path)
        found = answer.json(f"{expected} {key}", {key: Maybe(shape)})
        if found and key not in found:
            raise answer.wrong(f"{expected} {key}")
        return found.get(key)

    async def _tell(self, path: str, body: dict[str, Any]) -> None:
        answer = await self._ask("POST", path, json=body)
        if answer.status != 200 or answer.place:
            raise answer.wrong("200 and nothing else")

    async def _download(self, file: Mapping[str, str], room: int | None = None) -> AsyncIterator[bytes]:
        """Yield an output's content; what is not the whole file of that name raises."""
        query = {key: str(file.get(key) or "") for key in ("filename", "subfolder", "type")}
        name = one_line(query["filename"])[:200]
        expected = f"the file {name}, whole"
        async with self._opened("GET", "/view", params=query) as response:
            if response.status == 404:
                raise ServerRefusedError(
                    f"{self.name} no longer has {name}: 404 {one_line(response.reason or '')}. If its output folder "
                    "was emptied, restart it and retry the clip."
                )
            length = response.content_length
            known = length is not None or "chunked" in response.headers.get("Transfer-Encoding", "").lower()
            if response.status != 200 or not known or (length or 0) > _MOST_ANNOUNCED:
                raise (await self._answer(response, partly=True)).wrong(f"{expected} and with its length")
            if room is not None and (length or 0) > room:
                raise OSError(errno.ENOSPC, f"{name} has {length} bytes, and {room} are free")
            head, checked, size = b"", False, 0
            async for chunk in self._chunks(response):
                size += len(chunk)
                if length is None and size > _MOST_UNANNOUNCED:
                    raise self._seen(response, head).wrong(f"{expected}, of less than {_MOST_UNANNOUNCED} bytes")
                if not checked:  # nothing is passed on before its kind is known
                    head += chunk
                    if len(head) < HEAD_BYTES:
                        continue
                    self._check_kind(response, name, expected, head)
                    chunk, checked = head, True
                yield chunk
            if not checked:
                self._check_kind(response, name, expected, head)
                yield head

    def _check_kind(self, response: aiohttp.ClientResponse, name: str, expected: str, head: bytes) -> None:
        if is_another_file(name, response.content_type, head):
            raise self._seen(response, head).wrong(expected)
