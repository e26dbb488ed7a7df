"""Two real ComfyUIs of this folder's tests alone, which may be killed and started again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from exo2ego.commands.comfyui import headless
from support.batch import write_inputs
from support.server import PATIENCE
from support.tiny_models import write_tiny_models


class Restartable:
    """A ComfyUI that comes back at the same address.

    Args:
        base: its folder.
        starters: starts it. Its threads must live on: Linux ends the server with the thread that started it.
    """

    def __init__(self, base: Path, starters: ThreadPoolExecutor) -> None:
        self.base, self.port, self._starters = base, headless.free_port(), starters
        self.url = f"http://127.0.0.1:{self.port}"
        self._running = ExitStack()
        write_tiny_models(base / "models")

    def start(self) -> Future[None]:
        """Start it; the result waits until it is up."""
        return self._starters.submit(self._start)

    def _start(self) -> None:
        import environment

        standins = Path(__file__).parents[2] / "support" / "standin_nodes"
        comfyui, arguments = environment.prepare().comfyui, environment.device_arguments()
        context = headless.running(
            comfyui, self.base, arguments, custom_nodes=[standins], port=self.port, timeout=PATIENCE
        )
        self._process = self._running.enter_context(context).process

    def kill(self) -> None:
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        self._running.close()


@pytest.fixture(scope="session")
def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Restartable]]:
    """Both are up when a test begins; a test that stops one starts it again."""
    with ThreadPoolExecutor(2) as starters:
        servers = [Restartable(tmp_path_factory.mktemp(f"batch-server-{n}"), starters) for n in (1, 2)]
        try:
            for starting in [server.start() for server in servers]:
                starting.result()
            yield servers
        finally:
            for server in servers:
                server.kill()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of workflow, clip, broken clip and take."""
    return write_inputs(tmp_path_factory.mktemp("batch inputs"))
