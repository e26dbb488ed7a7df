"""The life of a clip, the same on every kind of server: sent, begun, queued again, fetched, done or failed.

Each step is entered into the journal before it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..comfyui.client import ComfyConnection
from ..comfyui.errors import ServerUnreachableError
from ..comfyui.history import Ended
from ..comfyui.known_nodes import TELLING
from ..comfyui.shown import result_keys, shown_numbers
from .errors import BatchError, ClipError
from .journal import QUEUED, RUNNING, SUBMITTED, Clip, Journal
from .mapping import Job, Plan
from .outputs import OutputFolder, saved_files

# Called with what happened and its details: `server up`, `server down`, `submitted`, `running`, `progress`, `done`,
# `failed`, `queued again`; `waiting` where an answer for a clip does not come or cannot be used; `warning`.
Emit = Callable[..., None]

# A clip that is lost so often while it ran is taken for the reason (out of memory, say), and fails.
LOST_RUNNING, LOSSES = "lost while it ran", 3
_EARLIER_PROMPTS = 50


class ClipLife:
    """Brings clips from one state to the next.

    Attributes:
        plan: what the clips are made from.
        journal: where their states stand.
        folder: where their outputs go.
        emit: told of every step.
    """

    def __init__(self, plan: Plan, journal: Journal, folder: OutputFolder, emit: Emit) -> None:
        self.plan, self.journal, self.folder, self.emit = plan, journal, folder, emit
        self._warned = False

    def begin(self) -> list[Clip]:
        """Enter the plan into the journal, finish what was being moved, and fail what cannot run.

        Returns:
            The plan's clips that are left.

        Raises:
            BatchError: if clips that are finished or begun have changed since.
        """
        if changed := self.journal.enter(self.plan.jobs):
            shown = ", ".join(map(repr, changed[:5])) + (", ..." if len(changed) > 5 else "")
            raise BatchError(
                f"{len(changed)} clips were begun or finished with other values or another workflow: {shown}. "
                f"Take another folder than {self.folder.folder}, or give the changed clips other names."
            )
        jobs = {job.name: job for job in self.plan.jobs}
        for clip in self.journal.clips(SUBMITTED, RUNNING):
            if clip.outputs is not None and self.folder.finish(clip.name, str(clip.prompt_id), clip.outputs):
                self.done(clip.name, clip.server, clip.outputs)
        self.folder.clean()
        for clip in self.journal.clips(QUEUED):
            if clip.name in jobs and (problem := jobs[clip.name].problem) is not None:
                self.failed(clip.name, None, problem)
        return [clip for clip in self.journal.clips(QUEUED, SUBMITTED, RUNNING) if clip.name in jobs]

    def submitted(self, job: Job, server: str, prompt_id: str) -> None:
        """Tell that a server has a clip; the journal had it before."""
        self.emit("submitted", clip=job.name, server=server, prompt_id=prompt_id)

    def running(self, name: str, server: str) -> None:
        """A server has begun with a clip."""
        self.journal.running(name)
        self.emit("running", clip=name, server=server)

    def queue_again(self, name: str, server: str, reason: str, said: str = "") -> None:
        """Let a clip that a server lost or gave back be sent anew.

        Args:
            name: the clip.
            server: which had it.
            reason: how it ended there, such as LOST_RUNNING.
            said: what is known of the loss.

        Raises:
            ClipError: if it was lost so often while it ran that it is likely the reason.
        """
        self.journal.queued(name, reason)
        if self.journal.results(name, LOST_RUNNING) >= LOSSES:
            raise ClipError(f"Its server went down {LOSSES} times while it ran; the last was {server}. {said}".rstrip())
        self.emit("queued again", clip=name, server=server, reason=reason)

    def failed(self, name: str, server: str | None, error: str) -> None:
        """A clip cannot be made; without a server, it was not sent."""
        self.journal.failed(name, error)
        self.emit("failed", clip=name, server=server, error=error)

    def fetched(self, name: str, outputs: list[dict[str, Any]], numbers: dict[str, Any]) -> None:
        """A clip's outputs lie in its partial folder, whole; they are about to be published."""
        self.journal.fetched(name, outputs, self.plan.workflow.titled(numbers))

    def done(self, name: str, server: str | None, outputs: list[dict[str, Any]]) -> None:
        """A clip's outputs were published."""
        self.journal.done(name)
        self.emit("done", clip=name, server=server, files=[output["file"] for output in outputs])

    async def bring_in(self, name: str, prompt_id: str, ended: Ended, connection: ComfyConnection) -> None:
        """Fetch an ended clip's outputs and put them in place.

        Raises:
            ComfyError: if it failed, or its outputs do not come.
            ClipError: if it saved nothing.
        """
        if ended.error is not None:
            raise ended.error
        files = saved_files(ended.outputs, self.plan.bases, self.plan.workflow.graph)
        folder = self.folder.begin(prompt_id)
        outputs = []
        for file_name, file in files:
            size, digest = await connection.fetch(file, folder / file_name)
            outputs.append({"file": file_name, "size": size, "sha256": digest})
        self.fetched(name, outputs, await self._numbers(name, ended, connection))
        await asyncio.to_thread(self.folder.publish, name, prompt_id)
        self.done(name, connection.url, outputs)

    async def _numbers(self, name: str, ended: Ended, connection: ComfyConnection) -> dict[str, Any]:
        """Return the numbers that the nodes showed, also those of nodes that came from the server's cache."""
        keys = result_keys(ended.graph)
        shown = self.journal.numbers(keys, shown_numbers(ended.outputs))
        silent = {node for node in ended.graph if ended.graph[node]["class_type"] in TELLING} - shown.keys()
        if silent:  # from before this batch; the history may still tell
            for earlier in await self._recent(name, connection):
                numbers = shown_numbers(earlier.outputs)
                told = {key: numbers[node] for node, key in result_keys(earlier.graph).items() if node in numbers}
                shown |= {node: told[keys[node]] for node in silent if keys[node] in told}
            shown = self.journal.numbers(keys, shown)
        return shown

    async def _recent(self, name: str, connection: ComfyConnection) -> list[Ended]:
        """Return what a history has of late; a report without these numbers is no reason to make a clip again."""
        try:
            return await connection.recent(_EARLIER_PROMPTS)
        except ServerUnreachableError as error:
            if not self._warned:
                self.emit("warning", clip=name, server=connection.url, reason=f"the report may lack numbers: {error}")
            self._warned = True
            return []
