"""Run a real, headless ComfyUI with this pack in it, for as long as a `with` block lasts."""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACK_FOLDER = "ComfyUI-Exo2Ego"

_FOLDERS = ("input", "output", "temp", "models", "custom_nodes", "user")
_LOG_LINES_SHOWN = 40

# Run as `python -c`: ask Linux to kill this process when its parent dies, then become ComfyUI. So a killed test run
# or demo leaves no server behind.
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


class ServerError(RuntimeError):
    """ComfyUI did not come up, or went down."""


@dataclass(frozen=True)
class ComfyServer:
    """A running ComfyUI.

    Attributes:
        url: its address, without a slash at the end.
        base: its base directory, with input, output, models and custom_nodes.
        log: the file that holds all it prints.
        process: the process.
    """

    url: str
    base: Path
    log: Path
    process: subprocess.Popen[bytes]

    def log_tail(self, lines: int = _LOG_LINES_SHOWN) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def comfy_server(
    base: Path,
    comfyui: Path,
    *,
    python: Path | str = sys.executable,
    custom_nodes: Sequence[Path] = (),
    extra_model_paths: Path | None = None,
    arguments: Sequence[str] = (),
    port: int | None = None,
    timeout: float = 300,
) -> Iterator[ComfyServer]:
    """Start ComfyUI, wait until it answers, and stop it at the end of the block, whatever happens in it.

    It runs on the GPU where `torch` sees one, else on the CPU.

    Args:
        base: a folder for its input, output, models and custom nodes; the pack is linked into the last.
        comfyui: ComfyUI's own folder.
        python: the interpreter to run it with.
        custom_nodes: more custom-node folders to link.
        extra_model_paths: an `extra_model_paths.yaml`.
        arguments: more command-line arguments.
        port: the port to listen on; any free one without.
        timeout: seconds until it must answer.

    Raises:
        ServerError: if it ends or does not answer in time; the message holds the end of its log.
    """
    packs = {PACK_FOLDER: ROOT, **{folder.name: folder for folder in custom_nodes}}
    _prepare(base, packs)
    port = port or free_port()
    command = [
        *([str(python), "-c", _DIE_WITH_PARENT] if sys.platform == "linux" else [str(python)]),
        *(str(comfyui / "main.py"), "--port", str(port), "--base-directory", str(base)),
        *("--disable-auto-launch", "--disable-api-nodes", "--database-url", "sqlite:///:memory:"),
        # A user's own ComfyUI may name more folders of packs; they have no part in this.
        *("--disable-all-custom-nodes", "--whitelist-custom-nodes", *packs),
        *([] if _has_gpu() else ["--cpu"]),
        *(["--extra-model-paths-config", str(extra_model_paths)] if extra_model_paths else []),
        *arguments,
    ]
    log = base / "comfyui.log"
    # Waiting threads sleep: where cores are shared, spinning ones make torch many times slower.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"}
    with open(log, "wb") as output:
        # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop the server in order.
        process = subprocess.Popen(
            command, cwd=base, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    server = ComfyServer(f"http://127.0.0.1:{port}", base, log, process)
    try:
        _wait_until_up(server, timeout)
        yield server
    finally:
        _stop(process)


def _prepare(base: Path, packs: dict[str, Path]) -> None:
    for folder in _FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    for name, target in packs.items():
        link = base / "custom_nodes" / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target.resolve(), target_is_directory=True)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _wait_until_up(server: ComfyServer, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if (code := server.process.poll()) is not None:
            raise ServerError(f"ComfyUI ended with {code} while starting. Its log ends with:\n{server.log_tail()}")
        try:
            with urllib.request.urlopen(f"{server.url}/system_stats", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise ServerError(f"ComfyUI did not answer within {timeout:.0f} s. Its log ends with:\n{server.log_tail()}")


def _stop(process: subprocess.Popen[bytes], patience: float = 10) -> None:
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also where an impatient second Ctrl-C ends the wait
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
