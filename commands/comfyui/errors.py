"""What goes wrong with a ComfyUI, told to people."""

from __future__ import annotations

_TRACE_LINES = 12


class ComfyError(Exception):
    """ComfyUI refused, failed or is not there; the message is for people."""


class ServerStartError(ComfyError):
    """A headless ComfyUI did not come up, or went down while it started."""


class ServerUnreachableError(ComfyError):
    """No answer from a server: it may be down, restarting, or cut off. What it was told may have arrived or not."""


class WrongAnswerError(ServerUnreachableError):
    """An answer that ComfyUI does not give, as of a proxy or its login page. What was told may have arrived or not."""


class ServerRefusedError(ComfyError):
    """A server answered that it will not do this."""


class PromptRejectedError(ServerRefusedError):
    """A graph did not pass ComfyUI's checks; nothing ran."""


class WorkflowError(ComfyError):
    """A workflow's file, or the name of an input, is wrong."""


class FileUnreadableError(ComfyError):
    """A file that is to be sent cannot be read."""


class ExecutionInterruptedError(ComfyError):
    """Somebody interrupted the run."""


class ExecutionFailedError(ComfyError):
    """A node raised an exception.

    Attributes:
        node: the node's title.
        exception: the exception's type, as ComfyUI names it.
        reason: the exception's text.
    """

    def __init__(self, node: str, exception: str, reason: str, traceback: str) -> None:
        said = f"The node {node!r} failed: {exception}: {reason.strip()}"
        super().__init__("\n".join([said, *traceback.splitlines()[-_TRACE_LINES:]]))
        self.node, self.exception, self.reason = node, exception, reason.strip()
