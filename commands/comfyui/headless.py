"""A headless ComfyUI on this machine: started, watched, and gone with its starter.

Ray carries `Headless` by value, with what it uses of its neighbours, to workers where the pack is not installed: no
function here imports anything of the pack.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import ServerStartError

ROOT = Path(__file__).resolve().parents[2]
PACK_FOLDER = "ComfyUI-Exo2Ego"

_FOLDERS = ("input", "output", "temp", "models", "custom_nodes", "user")
_LOG_LINES = 40
_STOP_SECONDS = 10.0

# Run as `python -c`: on Linux the kernel ends ComfyUI with its starter, however that ended.
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


class Headless:
    """ComfyUI on a port of 127.0.0.1. Start it in a thread that lives as long as it shall.

    Args:
        comfyui: ComfyUI's own folder.
        base: a folder of its own, for its log.
        arguments: more command-line arguments.
        python: the interpreter to run it with.
        folder: its working directory; `base` without.
        port: the port to listen on; any free one without.

    Attributes:
        url: its address, without a slash at the end.
        base: as given.
        log: the file that holds all it prints.
        process: the process.
    """

    def __init__(
        self,
        comfyui: Path,
        base: Path,
        arguments: Sequence[str],
        *,
        python: Path | str = sys.executable,
        folder: Path | None = None,
        port: int | None = None,
    ) -> None:
        port = port or free_port()
        self.url, self.base, self.log = f"http://127.0.0.1:{port}", base, base / "comfyui.log"
        command = [
            *([str(python), "-c", _DIE_WITH_PARENT] if sys.platform == "linux" else [str(python)]),
            *(str(comfyui / "main.py"), "--port", str(port), "--disable-auto-launch"),
            *("--database-url", "sqlite:///:memory:", *arguments),
        ]
        # Waiting threads sleep: where cores are shared, spinning ones make torch many times slower.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"}
        with open(self.log, "wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop the server in order.
            self.process = subprocess.Popen(
                command, cwd=folder or base, stdout=log, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.process.pid

    def alive(self) -> bool:
        """Return whether it runs."""
        return self.process.poll() is None

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until_up(self, seconds: float) -> None:
        """Wait for its first answer.

        Raises:
            ServerStartError: if it ends or does not answer in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + seconds
        said = f"did not answer within {seconds:.0f} s"
        while time.monotonic() < deadline:
            if not self.alive():
                said = f"ended with {self.process.returncode} while starting"
                break
            try:
                with urllib.request.urlopen(f"{self.url}/system_stats", timeout=5):
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
        raise ServerStartError(f"ComfyUI on {socket.gethostname()} {said}. Its log ends with:\n{self.log_tail()}")

    def stop(self, patience: float = _STOP_SECONDS) -> None:
        """End it, and kill it where it does not listen."""
        if not self.alive():
            return
        try:
            self._signal(signal.SIGINT)
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also where an impatient second Ctrl-C ends the wait
            if self.alive():
                self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
                self.process.wait()

    def _signal(self, number: int) -> None:
        if os.name == "posix":
            os.killpg(self.pid, number)
        else:
            self.process.terminate()


@contextmanager
def running(
    comfyui: Path,
    base: Path,
    arguments: Sequence[str] = (),
    *,
    python: Path | str = sys.executable,
    custom_nodes: Sequence[Path] = (),
    extra_model_paths: Path | None = None,
    port: int | None = None,
    timeout: float = 300,
) -> Iterator[Headless]:
    """Run ComfyUI with this pack in it for as long as a `with` block lasts, whatever happens in it.

    Args:
        comfyui: ComfyUI's own folder.
        base: a folder for its input, output, models and custom nodes; the pack is linked into the last.
        arguments: more command-line arguments, such as `--cpu` where torch sees no GPU.
        python: the interpreter to run it with.
        custom_nodes: more custom-node folders to link.
        extra_model_paths: an `extra_model_paths.yaml`.
        port: the port to listen on; any free one without.
        timeout: seconds until it must answer.

    Raises:
        ServerStartError: if it ends or does not answer in time; the message holds the end of its log.
    """
    packs = {PACK_FOLDER: ROOT, **{folder.name: folder for folder in custom_nodes}}
    _prepare(base, packs)
    words = [
        *("--base-directory", str(base), "--disable-api-nodes"),
        # A user's own ComfyUI may name more folders of packs; they have no part in this.
        *("--disable-all-custom-nodes", "--whitelist-custom-nodes", *packs),
        *(["--extra-model-paths-config", str(extra_model_paths)] if extra_model_paths else []),
        *arguments,
    ]
    server = Headless(comfyui, base, words, python=python, port=port)
    try:
        server.wait_until_up(timeout)
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _prepare(base: Path, packs: dict[str, Path]) -> None:
    for folder in _FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    for name, target in packs.items():
        link = base / "custom_nodes" / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target.resolve(), target_is_directory=True)
