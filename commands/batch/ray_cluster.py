"""A batch on a Ray cluster: one headless ComfyUI a worker, clips as tasks, the same journal.

Workers end with the program that started them, so what a killed run had sent is certainly gone when the next begins.
Files travel through Ray; the workers' ComfyUIs listen on their own machine alone.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .clip_life import LOST_RUNNING, ClipLife, Emit
from .errors import BatchError, ClipError, ServersGoneError
from .journal import QUEUED, Journal
from .mapping import Job, Plan
from .outputs import OutputFolder
from .ray_worker import Worker
from .sources import uploads_of

_DEPTH = 2  # one that runs, and one so that the worker never waits
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 900
_STOP_SECONDS = 15
_LOSSES_WAITING = 10  # a clip that a worker never begins with, however often it is sent
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class RayOptions:
    """The cluster, and the workers to start.

    Attributes:
        address: Ray's address, such as `auto`; `None` starts a Ray on this machine.
        comfyui: ComfyUI's folder on every machine.
        workers: how many ComfyUIs.
        gpus: GPUs of each; 0 runs on the CPU.
        base: ComfyUI's base directory on every machine, or `None`.
        arguments: more arguments for ComfyUI.
    """

    address: str | None
    comfyui: str
    workers: int = 1
    gpus: float = 1
    base: str | None = None
    arguments: tuple[str, ...] = ()


@dataclass(eq=False)
class _Seat:
    """A worker: its actor, its name in the journal, and the clips that it has by Ray's reference."""

    actor: Any
    name: str
    ready: bool = False
    flights: dict[Any, tuple[Job, str]] = field(default_factory=dict)
    starting: Any = None
    looking: Any = None
    looked: float = 0.0
    begun: set[str] = field(default_factory=set)


def run_on_ray(plan: Plan, journal: Journal, folder: OutputFolder, emit: Emit, options: RayOptions) -> None:
    """Bring every clip that is not finished to its end.

    Raises:
        BatchError: if Ray is not installed, no worker comes up, or one lacks a node.
        ServersGoneError: if the cluster has no room for a worker, or none comes up.
    """
    life = ClipLife(plan, journal, folder, emit)
    clips = life.begin()
    if not clips:
        return
    try:
        import ray
    except ImportError as error:
        raise BatchError("Ray is not installed: pip install ray") from error
    for clip in clips:
        if clip.state != QUEUED:
            gone = not str(clip.server).startswith("http")
            journal.queued(clip.name, "lost" if gone else "given up")
    ray.cloudpickle.register_pickle_by_value(sys.modules[_PACKAGE])
    ray.init(address=options.address or "local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    jobs = {job.name: job for job in plan.jobs}
    try:
        _Cluster(life, options).run(deque(jobs[clip.name] for clip in clips))
    finally:
        ray.shutdown()


class _Cluster:
    def __init__(self, life: ClipLife, options: RayOptions) -> None:
        import ray

        self._ray, self._life = ray, life
        self._contents: dict[tuple[str, str], Any] = {}
        self._lost: Counter[str] = Counter()
        arguments = (*options.arguments, *([] if options.gpus else ["--cpu"]))
        actor = ray.remote(num_gpus=options.gpus, num_cpus=1, max_restarts=-1)(Worker)
        self._seats = [
            _Seat(actor.remote(options.comfyui, options.base, arguments), f"ray:{n}") for n in range(options.workers)
        ]

    def run(self, waiting: deque[Job]) -> None:
        for seat in self._seats:
            seat.starting = seat.actor.start.remote()
        silent_since = time.monotonic()
        try:
            while waiting or any(seat.flights for seat in self._seats):
                self._feed(waiting)
                refs = [ref for seat in self._seats for ref in (*seat.flights, seat.starting, seat.looking) if ref]
                finished, _ = self._ray.wait(refs, num_returns=1, timeout=_LOOK_SECONDS)
                for ref in finished:
                    self._take(ref, waiting)
                if any(seat.ready for seat in self._seats):
                    silent_since = time.monotonic()
                elif time.monotonic() - silent_since > _PATIENCE_SECONDS:
                    raise ServersGoneError(
                        "No worker started. Does the cluster have a free CPU and the requested GPUs?"
                    )
        finally:
            if stopping := [seat.actor.stop.remote() for seat in self._seats if seat.ready]:
                self._ray.wait(stopping, num_returns=len(stopping), timeout=_STOP_SECONDS)

    def _feed(self, waiting: deque[Job]) -> None:
        for seat in sorted(self._seats, key=lambda seat: len(seat.flights)):
            while waiting and seat.ready and len(seat.flights) < _DEPTH:
                self._send(seat, waiting.popleft())
            if seat.flights and seat.looking is None and time.monotonic() - seat.looked > _LOOK_SECONDS:
                seat.looking, seat.looked = seat.actor.progress.remote(), time.monotonic()

    def _send(self, seat: _Seat, job: Job) -> None:
        try:
            placed, files = {}, []
            for target, source in job.sources.items():
                placed[target], uploads = uploads_of(source)
                for upload in uploads:
                    key = (upload.subfolder, upload.name)
                    if key not in self._contents:
                        self._contents[key] = self._ray.put(upload.path.read_bytes())
                    files.append((*key, self._contents[key]))
        except ClipError as error:
            self._life.failed(job.name, seat.name, str(error))
            return
        prompt_id = str(uuid.uuid4())
        plan = self._life.plan
        self._life.journal.submitted(job.name, seat.name, prompt_id, "ray")
        seat.flights[seat.actor.make.remote(prompt_id, plan.graph(job, placed), files, plan.bases)] = (job, prompt_id)
        self._life.submitted(job, seat.name, prompt_id)

    def _take(self, ref: Any, waiting: deque[Job]) -> None:
        """Take what a task returned, or its worker's death."""
        seat = next(seat for seat in self._seats if ref in (*seat.flights, seat.starting, seat.looking))
        flight = seat.flights.pop(ref, None)
        started, looked = ref == seat.starting, ref == seat.looking
        if looked:
            seat.looking = None
        try:
            result = self._ray.get(ref)
        except (self._ray.exceptions.RayTaskError, self._ray.exceptions.RayActorError) as error:
            failed = isinstance(error, self._ray.exceptions.RayTaskError)  # the others' actors Ray starts again
            if failed and started:
                self._leave_out(seat, error)
                return
            begun = flight is not None and (failed or flight[1] in seat.begun)
            result = {"state": "lost", "error": str(error), "begun": begun}
            if seat.ready:
                self._life.emit("server down", server=seat.name, reason="the worker ended")
            seat.ready = False
            if started or seat.starting is None:
                seat.starting = seat.actor.start.remote()
                started = False
        if started:
            self._check(seat)
            seat.starting, seat.ready = None, True
            self._life.emit("server up", server=seat.name, machine=result)
        elif flight is not None:
            self._end(seat, *flight, result, waiting)
        elif looked and "state" not in result:
            self._tell(seat, result)

    def _leave_out(self, seat: _Seat, error: Exception) -> None:
        """Go on without a worker whose ComfyUI does not come up.

        Raises:
            BatchError: if it was the last.
        """
        seat.starting, seat.ready = None, False
        self._life.emit("server down", server=seat.name, reason=str(error).rstrip().rpartition("\n")[2])
        if not any(other.ready or other.starting for other in self._seats):
            raise BatchError(f"No worker started. The last error: {error}") from error

    def _check(self, seat: _Seat) -> None:
        types = self._life.plan.workflow.types()
        if lacking := sorted(types - self._ray.get(seat.actor.node_info.remote(types)).keys()):
            raise BatchError(f"The worker {seat.name} lacks the nodes {', '.join(lacking)}. Install their packs there.")

    def _tell(self, seat: _Seat, progress: dict[str, dict[str, Any]]) -> None:
        for job, prompt_id in seat.flights.values():
            if prompt_id not in progress:
                continue
            if prompt_id not in seat.begun:
                seat.begun.add(prompt_id)
                self._life.running(job.name, seat.name)
            self._life.emit("progress", clip=job.name, server=seat.name, **progress[prompt_id])

    def _end(self, seat: _Seat, job: Job, prompt_id: str, result: dict[str, Any], waiting: deque[Job]) -> None:
        life, name = self._life, job.name
        if result["state"] == "lost":
            try:
                self._lost[name] += not result["begun"]
                if self._lost[name] >= _LOSSES_WAITING:
                    raise ClipError(f"It was lost {_LOSSES_WAITING} times before it ran. The last: {result['error']}")
                life.queue_again(name, seat.name, LOST_RUNNING if result["begun"] else "lost", result["error"])
                waiting.appendleft(job)
            except ClipError as error:
                life.failed(name, seat.name, str(error))
        elif result["state"] == "failed":
            life.failed(name, seat.name, result["error"])
        else:
            target = life.folder.begin(prompt_id)
            outputs = [_written(target / file, content) for file, content in result["files"]]
            life.fetched(name, outputs, life.journal.numbers(result["keys"], result["numbers"]))
            life.folder.publish(name, prompt_id)
            life.done(name, seat.name, outputs)


def _written(path: Path, content: bytes) -> dict[str, Any]:
    """Write an output to the disk itself; returns its entry for the journal."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"file": path.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
