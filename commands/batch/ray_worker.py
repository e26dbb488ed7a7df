"""What runs on a Ray cluster's machines: one headless ComfyUI, and clips handed to it one by one.

Ray carries the class by value (see `ray_cluster`), so results are plain dictionaries, not classes of the pack's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..comfyui.client import ComfyConnection, Upload
from ..comfyui.errors import ComfyError, ServerUnreachableError, WrongAnswerError
from ..comfyui.graph import Graph
from ..comfyui.headless import Headless
from ..comfyui.history import Ended
from ..comfyui.shown import result_keys, shown_numbers
from ..comfyui.tasks import stop_tasks
from .errors import ClipError
from .outputs import saved_files

_POLL_SECONDS = 1.0
_WRONG_SECONDS = (0.5, 1.0, 2.0, 4.0)  # after answers of a wrong kind
_UP_SECONDS = 600
_FOLDER = "exo2ego-ray-"


class Worker:
    """A headless ComfyUI that is started again when it ends.

    Args:
        comfyui: ComfyUI's folder on this machine.
        base: its base directory, with models and custom_nodes; `None` for ComfyUI's own.
        arguments: more command-line arguments.
    """

    def __init__(self, comfyui: str, base: str | None, arguments: Sequence[str]) -> None:
        self._settings = (comfyui, base, arguments)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: Headless | None = None
        self._connection: ComfyConnection | None = None
        self._client_id = uuid.uuid4().hex
        self._starting = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._progress: dict[str, dict[str, Any]] = {}
        self._titles: Graph = {}

    async def start(self) -> str:
        """Start ComfyUI where it does not run; returns a name for people."""
        async with self._starting:
            if self._server is None or not self._server.alive():
                await self._end()
                self._begin()  # in the event loop's thread, which lives as long as we do
                await asyncio.to_thread(self._server.wait_until_up, _UP_SECONDS)
                self._connection = ComfyConnection(self._server.url)
                self._listening = asyncio.create_task(self._listen(self._connection))
        return f"{socket.gethostname()}:{self._server.pid}"

    def _begin(self) -> None:
        comfyui, base, arguments = self._settings
        _clear_after_the_dead()
        # Workers of one machine share models and packs, and nothing that they write.
        prefix = f"{_FOLDER}{os.getpid()}-"
        self._folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
        own = Path(self._folder.name)
        words = ["--base-directory", base] if base else []
        for name in ("input", "output", "temp", "user"):
            (own / name).mkdir()
            words += [f"--{name}-directory", str(own / name)]
        self._server = Headless(Path(comfyui), own, [*words, *arguments], folder=Path(comfyui))

    async def stop(self) -> None:
        """Stop ComfyUI."""
        await self._end()

    async def node_info(self, types: set[str]) -> dict[str, Any]:
        """Return what ComfyUI says of node types."""
        assert self._connection is not None
        return await self._connection.node_info(types)

    async def progress(self) -> dict[str, dict[str, Any]]:
        """Return where each prompt that has begun stands: node, and step of steps where it tells them."""
        return self._progress

    async def make(
        self, prompt_id: str, graph: Graph, uploads: Sequence[tuple[str, str, Any]], bases: Mapping[str, str]
    ) -> dict[str, Any]:
        """Make one clip.

        Args:
            prompt_id: its number, ours.
            graph: what to run.
            uploads: subfolder, name and Ray's reference to the content of every file that it needs.
            bases: names of outputs by saving node.

        Returns:
            `state`: `done` with `files` (name, content), `keys` and `numbers`; `failed` with `error`; or `lost` where
            ComfyUI ended under it.
        """
        await self.start()
        connection, self._titles = self._connection, graph
        assert connection is not None
        try:
            for subfolder, name, content in uploads:
                await self._send(connection, subfolder, name, content)
            await connection.submit(graph, prompt_id, self._client_id)
            while (ended := await self._ended(connection, prompt_id, graph)) is None:
                await asyncio.sleep(min(_POLL_SECONDS, 0.02 + 0.1 * (prompt_id in self._progress)))
            if ended.error is not None:
                return {"state": "failed", "error": str(ended.error)}
            files = saved_files(ended.outputs, bases, graph)
            content = [(name, await self._fetch(connection, file)) for name, file in files]
            numbers = shown_numbers(ended.outputs)
            return {"state": "done", "files": content, "keys": result_keys(graph), "numbers": numbers}
        except ServerUnreachableError as error:
            with contextlib.suppress(Exception):
                await connection.forget(prompt_id)  # it may be there after all
            return {"state": "lost", "error": str(error), "begun": prompt_id in self._progress}
        except (ClipError, ComfyError) as error:
            return {"state": "failed", "error": str(error)}
        finally:
            self._progress.pop(prompt_id, None)

    async def _ended(self, connection: ComfyConnection, prompt_id: str, graph: Graph) -> Ended | None:
        """Look how a prompt ended, again where the answer is a wrong one."""
        for pause in _WRONG_SECONDS:
            try:
                return await connection.ended(prompt_id, graph)
            except WrongAnswerError:
                await asyncio.sleep(pause)
        return await connection.ended(prompt_id, graph)

    async def _send(self, connection: ComfyConnection, subfolder: str, name: str, content: Any) -> None:
        import ray

        async with self._sending:
            data = await asyncio.to_thread(ray.get, content)
            with tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                await connection.send(Upload(Path(file.name), subfolder, name, len(data)))

    async def _fetch(self, connection: ComfyConnection, file: Mapping[str, str]) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / hashlib.sha256(str(file).encode()).hexdigest()
            await connection.fetch(file, path)
            return path.read_bytes()

    async def _listen(self, connection: ComfyConnection) -> None:
        while True:
            with contextlib.suppress(ServerUnreachableError):
                async for hint in connection.events(self._client_id):
                    if hint.prompt_id is not None and (place := hint.place(self._titles)):
                        self._progress[hint.prompt_id] = place
            await asyncio.sleep(1)

    async def _end(self) -> None:
        if self._listening is not None:
            await stop_tasks([self._listening])
        if self._connection is not None:
            await self._connection.close()
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
        if self._folder is not None:
            self._folder.cleanup()
        self._server = self._connection = self._listening = self._folder = None


def _clear_after_the_dead() -> None:
    """Remove the folders of workers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdigit() and Path("/proc").is_dir() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)
