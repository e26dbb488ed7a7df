"""What of a node's outputs the prompt goes on with."""

from __future__ import annotations

from comfy_api.latest import io


def linked_outputs(node: type[io.ComfyNode]) -> set[int]:
    """Return which outputs of the node as `execute` gets it are linked to inputs in the prompt.

    Args:
        node: its schema asks for `io.Hidden.prompt` and `io.Hidden.unique_id`.
    """
    if node.hidden is None or not node.hidden.prompt:
        return set()
    values = [value for other in node.hidden.prompt.values() for value in other["inputs"].values()]
    links = [value for value in values if isinstance(value, list) and len(value) == 2]
    return {output for source, output in links if source == node.hidden.unique_id}
