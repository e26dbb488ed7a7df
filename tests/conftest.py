"""Make the checkout importable as `exo2ego` and find the shared takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
sys.path.insert(0, str(ROOT / "tools"))

import pack  # noqa: E402
from support.server import comfy_client, comfy_server, frontend_server, newest_server  # noqa: E402, F401
from support.small_disk import small_disk  # noqa: E402, F401

pack.register()


# Folders whose files take longest, by browser, server or whole networks: several processes begin with them, so that
# none is left with a long file when the others have nothing more to do.
_LONGEST = ("web", "workflows", "commands", "nodes", "wan", "training", "test_packaging.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest folders first; within them, and in the rest, the order stays."""
    names = [*_LONGEST, ""]

    def rank(item: pytest.Item) -> int:
        first = item.path.relative_to(TESTS).parts[0]
        return names.index(first if first in names else "")

    items.sort(key=rank)


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
