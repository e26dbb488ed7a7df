"""What a running ComfyUI says of itself over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from .errors import ServerUnreachableError

_PATIENCE = 30.0  # seconds; a server that loads a model answers late


@dataclass(frozen=True)
class Server:
    """A running ComfyUI.

    Attributes:
        url: its address.
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
        inputs = self.nodes.get(node, {}).get("input", {})
        kind, *options = {**inputs.get("optional", {}), **inputs.get("required", {})}.get(name, (None,))
        if isinstance(kind, list):
            return kind
        return options[0].get("options") if kind == "COMBO" and options else None

    def packs(self) -> list[str]:
        """Return the names of the packs whose nodes it has."""
        modules = (str(node.get("python_module", "")) for node in self.nodes.values())
        return sorted({module.split(".", 1)[1] for module in modules if module.startswith("custom_nodes.")})


def ask(url: str) -> Server:
    """Ask a server for its versions, devices and nodes.

    Raises:
        ServerUnreachableError: if it does not answer as ComfyUI does.
    """
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    stats = _get(f"{url}/system_stats")
    nodes = _get(f"{url}/object_info")
    if not isinstance(stats, dict) or "comfyui_version" not in stats.get("system", {}) or not isinstance(nodes, dict):
        raise ServerUnreachableError(f"{url} answers, but not as ComfyUI does. Give the address that its editor has.")
    return Server(url, stats["system"], stats.get("devices", []), nodes)


def _get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ServerUnreachableError(
            f"{url} answers {error.code} {error.reason}. Give the address that the editor has."
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServerUnreachableError(
            f"{url} does not answer as ComfyUI does ({error}). Start ComfyUI, or check address and port."
        ) from error
