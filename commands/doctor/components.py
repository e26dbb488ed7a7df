"""Do the trained parts of Exo2EgoSyn load, and do they go together?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...networks.components.metadata import Component
from ...networks.weights.wan_kinds import wan_size
from .findings import Finding, Severity
from .library import Library

_CHECK = "components"
_EXPECTED = "a whole component of Exo2EgoSyn, in the format that this version reads"
_EXPORT = "Export it again from its training run, or choose 'none' for it in the node Exo2EgoSyn Loader."


def check_components(library: Library, paths: Mapping[str, Path], base: Path | None) -> list[Finding]:
    """Check the parts that a workflow loads, with the loader's own checks: headers and shapes, not the weights.

    Args:
        library: reads the header of the base model.
        paths: by component.
        base: the base model that they go on, where one is there.
    """
    if not paths:
        return []
    try:
        # These need torch, which takes a second or two; nobody else here does.
        from ...networks.components.files import read_component
        from ...networks.components.set import SynComponents
    except ImportError as error:
        return [
            _finding(
                f"the components were not checked: this Python lacks {error.name}",
                "ComfyUI's own Python",
                "Run the doctor with the Python that runs ComfyUI.",
                Severity.WARNING,
            )
        ]
    findings = []
    parts: dict[Component, Any] = {}
    for name, path in paths.items():
        try:
            parts[Component(name)] = read_component(path, Component(name))
        except ValueError as error:
            findings.append(_finding(str(error), _EXPECTED, _EXPORT))
    together = SynComponents(parts)
    findings += [
        _finding(note, "components of one training run", _EXPORT, Severity.WARNING) for note in together.notes()
    ]
    if base is not None and (size := wan_size(library.header(base).tensors)) is not None:
        try:
            together.check_fits(*size)
        except ValueError as error:
            findings.append(_finding(str(error), f"components that were trained on {base.name}", _EXPORT))
    return findings


def _finding(found: str, expected: str, remedy: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(_CHECK, severity, found, expected, remedy)
