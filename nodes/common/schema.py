"""One place that makes node schemas, so that one pack serves every ComfyUI from 0.3.60 on."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

_KNOWN_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def schema(node_id: str, display_name: str, category: str, description: str, **fields: Any) -> io.Schema:
    """Make a schema of the pack; fields that this ComfyUI does not know yet (such as `search_aliases`) are left out.

    Args:
        node_id: the public id, which never changes.
        display_name: what the artist reads on the node.
        category: the submenu below "Exo2Ego".
        description: one or two sentences for the node's tooltip.
        fields: `inputs`, `outputs` and any further field of `io.Schema`.
    """
    known = {name: value for name, value in fields.items() if name in _KNOWN_FIELDS}
    return io.Schema(
        node_id=node_id,
        display_name=display_name,
        category=f"Exo2Ego/{category}",
        description=description,
        **known,
    )
