"""Many prompts through a real server, each watched: its ending, the server's memory, and that it ends at all."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from .outcome import Outcome, ending, refusal

AHEAD = 24  # prompts that wait in the server's queue
# What takes longer is stopped: large sizes are allowed and take their time. Only what cannot be stopped has hung.
_PATIENCE = 20.0
_STOP_PATIENCE = 180.0

_NOTHING = {"1": {"class_type": "StandInLook", "inputs": {}}}

Something = TypeVar("Something")


class Server:
    """A running ComfyUI.

    Args:
        url: its address.
        pid: its process.
    """

    def __init__(self, url: str, pid: int) -> None:
        self._url, self._status = url, Path(f"/proc/{pid}")

    def get(self, path: str) -> Any:
        """Return the JSON behind a path."""
        with urllib.request.urlopen(f"{self._url}{path}", timeout=3600) as answer:
            return json.load(answer)

    def post(self, path: str, content: Any) -> tuple[int, Any]:
        """Send JSON; returns status and answer."""
        request = urllib.request.Request(
            f"{self._url}{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=3600) as answer:
                body = answer.read()
                return answer.status, json.loads(body) if body.strip() else None
        except urllib.error.HTTPError as error:
            body = error.read()
            try:
                return error.code, json.loads(body)
            except ValueError:
                return error.code, {
                    "error": {"type": f"status {error.code}", "message": body[:300].decode(errors="replace")}
                }

    def memory(self, field: str = "VmRSS") -> int | None:
        """Return bytes of the process: `VmRSS` now, `VmHWM` at most since `forget_peak`; None without /proc."""
        try:
            lines = (self._status / "status").read_text().splitlines()
        except OSError:
            return None
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)

    def forget_peak(self) -> None:
        """Let `VmHWM` start again from what is in use now."""
        with contextlib.suppress(OSError):
            (self._status / "clear_refs").write_text("5")

    def outcomes(
        self, cases: Iterable[tuple[Something, dict]], patience: float = _PATIENCE
    ) -> Iterator[tuple[Something, Outcome, int]]:
        """Run graphs in their order; yields what came with each, its outcome, and the bytes of memory it rose to.

        The bytes may be those of prompts that began before they were read, `AHEAD` at most: see `alone`. A prompt is
        stopped after `patience` seconds.
        """
        waiting: list[tuple[Something, str | Outcome]] = []
        for name, graph in cases:
            status, answer = self.post("/prompt", {"prompt": graph})
            waiting.append((name, answer["prompt_id"] if status == 200 else refusal(answer)))
            while sum(isinstance(sent, str) for _, sent in waiting) >= AHEAD:
                yield self._finish(*waiting.pop(0), patience)
        for entry in waiting:
            yield self._finish(*entry, patience)

    def alone(self, graph: dict, patience: float = _PATIENCE) -> tuple[Outcome, int]:
        """Run a graph with nothing beside it, no results of others kept; returns outcome and rise of memory.

        Raises:
            AssertionError: if the graph is refused, so that it never runs.
        """
        self.post("/free", {"free_memory": True})
        for _ in range(2):  # the server frees between two prompts: after the second it has
            self.wait(self._sent(_NOTHING), patience)
        before = self.memory() or 0
        self.forget_peak()
        outcome = self.wait(self._sent(graph), patience)
        return outcome, (self.memory("VmHWM") or 0) - before

    def _sent(self, graph: dict) -> str:
        status, answer = self.post("/prompt", {"prompt": graph})
        assert status == 200, answer
        return answer["prompt_id"]

    def _finish(self, name: Something, sent: str | Outcome, patience: float) -> tuple[Something, Outcome, int]:
        outcome = sent if isinstance(sent, Outcome) else self.wait(sent, patience)
        peak = self.memory("VmHWM") or 0
        self.forget_peak()
        return name, outcome, peak

    def wait(self, prompt: str, patience: float) -> Outcome:
        """Wait until a prompt is over, and stop it after `patience` seconds."""
        start, pause, patient_until = time.monotonic(), 0.002, time.monotonic() + patience
        while True:
            found = self.get(f"/history/{prompt}")
            if prompt in found:
                return ending(found[prompt])
            now = time.monotonic()
            if now > patient_until:
                self.post("/interrupt", {"prompt_id": prompt})
                patient_until = now + patience
            if now - start > patience + _STOP_PATIENCE:
                return Outcome("hung", f"not over {_STOP_PATIENCE:.0f} s after its interrupt")
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
