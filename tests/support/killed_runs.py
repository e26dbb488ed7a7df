"""Run `training train` in processes that die at a moment of choice; started as a program of its own.

The libraries take ten times as long to import as a tiny run takes to train: they are imported once, and every run is
a fork of this process, in which the command's own `main` runs to its end or its death. The process kills itself by
SIGKILL when it has come to the chosen event, of all calls that Python makes, in the pack, torch and below: how fast
the machine is does not matter, and nothing is cleaned up.

Lines of JSON come in, {"recipe": FILE, "at": event or null, "of": "run" or "checkpoint"}, and go out, {"status": of
the process, "events": in all, "marks": events at which a file was moved to its place, "within": the most events of
writing one checkpoint}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """Counts calls, of the run or of its writing of checkpoints, and ends the process at one of them."""

    def __init__(self, at: int | None, of: str) -> None:
        self.events = self.within = self._began = 0
        self.marks: list[int] = []
        self._at, self._of = at, of
        self._writing = False

    def __call__(self, frame, event, arg) -> None:
        if event == "c_call" and arg is os.replace:
            self.marks.append(self.events)
        if frame.f_code.co_name == "write_checkpoint" and event in ("call", "return"):
            self._writing = event == "call"
            self._began = self.events
        if event in ("call", "c_call"):
            self.events += 1
            if self._writing:
                self.within = max(self.within, self.events - self._began)
            now = self.events if self._of == "run" else self._writing * (self.events - self._began)
            if now == self._at:
                os.kill(os.getpid(), signal.SIGKILL)


def run(recipe: str, at: int | None, of: str, log: str) -> dict:
    """Run the command in a fork; returns how it ended and what was counted."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        from exo2ego.commands.main import main

        clock = Clock(at, of)
        sys.setprofile(clock)
        code = main(["training", "train", recipe, "--cpu"])
        sys.setprofile(None)
        counted = {"events": clock.events, "marks": clock.marks, "within": clock.within}
        os.write(write, json.dumps(counted).encode())
        os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), **json.loads(told or "{}")}


def main() -> None:
    """Import, then serve."""
    sys.path[:0] = [str(ROOT / "tools")]
    import pack

    pack.register()
    import accelerate
    import diffusers
    import peft
    import tensorboard
    import torch

    import exo2ego.training.session

    _ = accelerate.Accelerator, diffusers.WanTransformer3DModel, peft.LoraConfig, tensorboard, exo2ego.training.session
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
