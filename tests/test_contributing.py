"""CONTRIBUTING.md and the README's tree name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TREE = (ROOT / "README.md").read_text(encoding="utf-8").split("## How it is built")[1].split("\n## ")[0]


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`((?:\w+/)+[\w.]*)`", CONTRIBUTING))))
def test_a_place_that_is_named_is_there(place):
    assert (ROOT / place).exists()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("NODES = [", "nodes/depth/depth.py"),
        ("_THEMES = (", "nodes/extension.py"),
        ("const KINDS = ", "web/js/camera_editor/lens.js"),
        ("OWN_NUMBERS: ", "geometry/cameras/presets.py"),
        ("_ORDER = (", "attention/choice.py"),
        ("COMMANDS: ", "commands/main.py"),
        ("def program()", "commands/program.py"),
        ("FLOORS = {", "tests/test_layers.py"),
    ],
)
def test_a_name_that_is_told_is_in_its_file(name, file):
    assert re.search(r"`[\w.]*" + re.sub(r"\W|const|def", "", name), CONTRIBUTING)
    assert name in (ROOT / file).read_text(encoding="utf-8")


def test_the_tree_has_every_folder_of_code():
    told = {name for name in re.findall(r"^ *(\w+)/ ", TREE, re.MULTILINE)}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"web", "tools"}
    commands = {path.parent.name for path in (ROOT / "commands").glob("*/__init__.py")}
    assert told == folders | commands
