"""The page's JavaScript modules, run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

WEB_TESTS = Path(__file__).resolve().parents[1] / "web"
_OLDEST = (20, 19)  # reads .js files that import and export as modules, with no package.json


def node_path() -> str:
    """Return node's path, or skip the test where there is none, or one that is too old."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine: install Node.js 20.19 or newer")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < _OLDEST:
        pytest.skip(f"node {version} is too old: install 20.19 or newer")
    return node


def ask(task: str, **request: Any) -> Any:
    """Run one task of `tests/web/harness.mjs` and return its answer."""
    done = subprocess.run(
        [node_path(), WEB_TESTS / "harness.mjs"],
        input=json.dumps({"task": task, **request}),
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
