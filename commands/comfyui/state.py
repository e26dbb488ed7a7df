"""What a running ComfyUI says of itself over HTTP."""

from __future__ import annotations

import base64
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ...common.safe_text import one_line
from .answers import MOST_BYTES, Answer, Each, Maybe, inputs_of, is_number, masked, texts
from .errors import ServerUnreachableError

_PATIENCE = 30.0  # seconds; a server that loads a model answers late
_CHUNK = 1 << 16
_SYSTEM = {
    "comfyui_version": str,
    "python_version": Maybe(str),
    "pytorch_version": Maybe(str),
}
_START = "Start ComfyUI, or check address and port."


@dataclass(frozen=True)
class Server:
    """A running ComfyUI.

    Attributes:
        url: its address, for people.
        system: `system` of /system_stats: versions, memory, arguments.
        devices: `devices` of /system_stats.
        nodes: /object_info, by class of the node.
    """

    url: str
    system: dict[str, Any]
    devices: list[dict[str, Any]]
    nodes: dict[str, dict[str, Any]]

    def choices(self, node: str, name: str) -> list[str] | None:
        """Return the values that a list input of a node offers; None if there is no such node or list."""
        groups = inputs_of(self.nodes.get(node, {}))
        kind, options = {**groups.get("optional", {}), **groups.get("required", {})}.get(name, (None, {}))
        found = kind if isinstance(kind, list) else options.get("options") if kind == "COMBO" else None
        return texts(found) if isinstance(found, list) else None

    def packs(self) -> list[str]:
        """Return the names of the packs whose nodes it has."""
        modules = (str(node.get("python_module", "")) for node in self.nodes.values())
        return sorted({module.split(".", 1)[1] for module in modules if module.startswith("custom_nodes.")})


def ask(url: str, seconds: float = _PATIENCE) -> Server:
    """Ask a server for its versions, devices and nodes.

    Args:
        url: its address; a name and password in it are sent as HTTP's basic ones.
        seconds: silence after which an answer counts as none.

    Raises:
        ServerUnreachableError: if it does not answer as ComfyUI does.
    """
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    stats = {"system": _SYSTEM, "devices": Maybe([dict])}
    found = _get(url, "/system_stats", seconds).json("its versions and devices", stats)
    nodes = _get(url, "/object_info", seconds).json("its nodes, by class", Each(dict))
    system = {key: one_line(value) if isinstance(value, str) else value for key, value in found["system"].items()}
    if not is_number(system.get("ram_total", 0)):
        del system["ram_total"]
    devices = [device for device in found.get("devices") or [] if is_number(device.get("vram_total"))]
    return Server(masked(url), system, devices, nodes)


def _get(url: str, path: str, seconds: float) -> Answer:
    shown = masked(url) + path
    try:
        try:
            answer = urllib.request.urlopen(_request(url, path), timeout=seconds)
        except urllib.error.HTTPError as error:
            answer = error  # an answer too
        with answer:
            return _answer(shown, answer, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = one_line(masked(str(error))) or type(error).__name__
        raise ServerUnreachableError(f"{shown} does not answer as ComfyUI does ({said}). {_START}") from error


def _request(url: str, path: str) -> urllib.request.Request:
    parts = urlsplit(url + path)
    account, _, host = parts.netloc.rpartition("@")
    headers = {}
    if account:
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(account).encode()).decode()
    return urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers=headers)


def _answer(shown: str, answer: Any, seconds: float) -> Answer:
    """Read an answer whole, unless it is too large or trickles in."""
    content: IO[bytes] = answer
    body, until = bytearray(), time.monotonic() + 2 * seconds
    while chunk := content.read1(_CHUNK):
        body += chunk
        if len(body) > MOST_BYTES or time.monotonic() > until:
            raise ServerUnreachableError(
                f"{shown} does not answer as ComfyUI does (no end after {len(body)} bytes). {_START}"
            )
    if getattr(answer, "length", None):  # `read1` does not mind
        raise http.client.IncompleteRead(bytes(body), answer.length)
    place = answer.geturl()
    return Answer(
        shown, answer.status, answer.reason, answer.headers.get_content_type(), bytes(body),
        place="" if place.endswith(shown.rpartition("@")[2]) else place,
    )  # fmt: skip
