"""Does a running ComfyUI have the nodes of the shipped workflows?"""

from __future__ import annotations

from collections.abc import Sequence

from ...common.messages import few
from ..comfyui.state import Server
from .findings import Finding, Severity
from .workflows import Workflows, is_ours

_CHECK = "nodes"


def check_nodes(server: Server, workflows: Workflows, used: Sequence[str]) -> list[Finding]:
    """Check that the nodes are there: those of this pack, and those of ComfyUI that newer versions brought."""
    lacking = sorted({node for name in used for node in workflows.nodes[name]} - set(server.nodes))
    ours = [node for node in lacking if is_ours(node)]
    theirs = [node for node in lacking if not is_ours(node)]
    findings = []
    if ours:
        findings.append(
            Finding(
                _CHECK,
                Severity.ERROR,
                f"{server.url} lacks {len(ours)} nodes of this pack: {few(ours)}",
                "all nodes of ComfyUI-Exo2Ego",
                "Put this version of the pack into its custom_nodes and restart it; where it is there already, its log "
                "says after 'Cannot import' why it did not load.",
            )
        )
    if theirs:
        findings.append(
            Finding(
                _CHECK,
                Severity.ERROR,
                f"{server.url} lacks {few(theirs)} of ComfyUI itself",
                "the nodes that the shipped workflows use",
                "Update ComfyUI and restart it.",
            )
        )
    return findings
