"""A headless ComfyUI on this machine, for a Ray worker: started, watched, and gone with its starter.

Ray carries this module to its workers by value: it imports nothing of the pack at run time but its neighbours'
objects, and needs no installation there.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

_FOLDER = "exo2ego-ray-"
_LOG_LINES = 30
_STOP_SECONDS = 10

# Run as `python -c`: on Linux the kernel ends ComfyUI with its starter, however that ended.
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


class Headless:
    """ComfyUI on a free port of 127.0.0.1. Start it in a thread that lives as long as it shall."""

    def __init__(self, comfyui: str, base: str | None, arguments: Sequence[str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        _clear_after_the_dead()
        # Inputs, outputs and log; models and packs are the base's.
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self._log = folder / "comfyui.log"
        command = [
            *([sys.executable, "-c", _DIE_WITH_PARENT] if sys.platform == "linux" else [sys.executable]),
            *(str(Path(comfyui) / "main.py"), "--port", str(port), "--disable-auto-launch"),
            *("--database-url", "sqlite:///:memory:"),
            *(["--base-directory", base] if base else []),
            # Workers of one machine share models and packs, and nothing that they write.
            *(word for name in ("input", "output", "temp", "user") for word in _own(folder, name)),
            *arguments,
        ]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, cwd=comfyui, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_until_up(self, seconds: float) -> None:
        """Wait for its first answer.

        Raises:
            RuntimeError: if it ends or stays silent; the message holds the end of its log.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.2)
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        raise RuntimeError(f"ComfyUI did not come up on {socket.gethostname()}. Its log ends with:\n{tail}")

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, and forget what it wrote."""
        if self.alive():
            os.kill(self.pid, signal.SIGINT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()


def _clear_after_the_dead() -> None:
    """Remove the folders of workers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdigit() and Path("/proc").is_dir() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _own(folder: Path, name: str) -> list[str]:
    (folder / name).mkdir()
    return [f"--{name}-directory", str(folder / name)]
