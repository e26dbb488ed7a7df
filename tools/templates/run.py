"""Write the API twins of all templates as the real editor sends them, and the blueprints of their subgraphs.

    python tools/run.py templates

After a change of a template, or of a node that stands in one. It starts ComfyUI and its editor in Chromium.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import environment

import pack

from .files import API_WORKFLOWS, BLUEPRINTS, ROOT, SHIPPED_BLUEPRINTS, blueprint, read, templates, written


def write_blueprints() -> None:
    """Write the subgraphs that are offered among the nodes."""
    BLUEPRINTS.mkdir(exist_ok=True)
    found = templates()
    for name, (template, description) in SHIPPED_BLUEPRINTS.items():
        (BLUEPRINTS / f"{name}.json").write_text(written(blueprint(read(found[template]), name, description)))


def write_twins() -> None:
    """Write what the editor would queue for each template."""
    pack.register()
    sys.path.append(str(ROOT / "tests"))
    from exo2ego.commands.comfyui import headless
    from support.browser import editor

    with (
        tempfile.TemporaryDirectory() as base,
        headless.running(environment.prepare().comfyui, Path(base), environment.device_arguments()) as server,
        editor(server.url) as page,
    ):
        with urllib.request.urlopen(f"{server.url}/object_info") as answer:
            known = json.load(answer)
        for name, path in templates().items():
            page.load(read(path))
            (API_WORKFLOWS / f"{name}.json").write_text(written(_without_the_pages_own(page.api_prompt(), known)))


def _without_the_pages_own(prompt: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Leave out inputs that only the page knows, such as the text that a preview shows."""
    inputs = {kind: {name for part in info["input"].values() for name in part} for kind, info in known.items()}
    return {
        key: {
            **node,
            "inputs": {name: value for name, value in node["inputs"].items() if name in inputs[node["class_type"]]},
        }
        for key, node in prompt.items()
    }


def main() -> None:
    """Write both."""
    write_blueprints()
    write_twins()


if __name__ == "__main__":
    main()
