"""Make the checkout importable as `exo2ego` and find the shared takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import pack  # noqa: E402
from support.server import comfy_client, comfy_server  # noqa: E402, F401
from support.small_disk import small_disk  # noqa: E402, F401

pack.register()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real takes, which a licence keeps out of the repository."""
    given = os.environ.get("EXO2EGO_SHARED_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared takes are not here ({folder}); EXO2EGO_SHARED_DATA may name their folder")
    return folder


@pytest.fixture(scope="session")
def shared_take(shared_data: Path) -> Callable[[str], Path]:
    """Return the folder of a named shared take, or skip."""

    def find(name: str) -> Path:
        folder = shared_data / name
        if not folder.is_dir():
            pytest.skip(f"the shared take {name} is not here ({folder})")
        return folder

    return find
