"""Rules that hold in one place alone, and whoever goes past it: looking at files, writing logs, text on the page."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("attention", "common", "geometry", "networks", "nodes", "takes", "wan", "commands/doctor")
FILES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
SPEAKING = sorted({*FILES, *(ROOT / "commands").rglob("*.py")})

# Methods of Path that raise where a folder may not be entered.
LOOKS = {"is_file", "is_dir", "exists", "iterdir", "glob", "rglob"}
# `os.scandir`'s entries, guarded one by one.
ALLOWED = {("common/paths.py", "exists"), ("takes/listing.py", "is_dir"), ("takes/listing.py", "is_file")}


def calls(path: Path) -> set[str]:
    """Return the names of the attributes that a file calls."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=place)
def test_files_are_looked_at_through_common_paths(path):
    """It never raises: one folder that may not be entered must not take the pack down."""
    found = {(place(path), name) for name in calls(path) & LOOKS}
    assert found <= ALLOWED, "use common/paths.py: these raise where a folder may not be entered"


@pytest.mark.parametrize("path", SPEAKING, ids=place)
def test_texts_leave_through_common_safe_text(path):
    called = calls(path)
    if place(path) != "common/safe_text.py":
        assert "getLogger" not in called, "use safe_logger of common/safe_text.py"
    if place(path) != "nodes/common/progress.py":
        assert "send_progress_text" not in called, "use show_text of nodes/common/progress.py"


@pytest.mark.parametrize("path", sorted((ROOT / "web" / "js").rglob("*.js")), ids=place)
def test_the_pages_own_programs_write_text_as_text(path):
    written = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment", path.read_text()
    )
    assert written == []
