"""docs/sockets.md against the schemas of a running ComfyUI and the classes that travel."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = dict(
    re.findall(r"^## ([A-Z0-9_]+)\n(.*?)(?=^## |\Z)", (ROOT / "docs" / "sockets.md").read_text(), re.M | re.S)
)
DECLARED = re.findall(r'io\.Custom\("(\w+)"\)', (ROOT / "nodes" / "common" / "sockets.py").read_text())


def names_after(words: str, section: str) -> set[str]:
    """Return the nodes that a section lists after some words, up to the end of the sentence."""
    found = re.search(rf"{words} (.*?)(?:, which|\.)", section, re.S)
    return set() if found is None else {" ".join(name.split()) for name in found[1].split(",")}


def test_every_socket_has_a_section():
    assert len(DECLARED) > 8
    assert sorted(SECTIONS) == sorted(DECLARED)


def test_makers_and_takers(comfy_client):
    makers, takers = ({socket: set() for socket in DECLARED} for _ in range(2))
    for node, info in comfy_client.get("/object_info").items():
        if not node.startswith("Exo2Ego"):
            continue
        inputs = [kind[0] for group in info["input"].values() for kind in group.values()]
        for socket in DECLARED:
            if socket in info["output"]:
                makers[socket].add(info["display_name"])
            if socket in inputs:
                takers[socket].add(info["display_name"])
    assert {socket: names_after("Made by", text) for socket, text in SECTIONS.items()} == makers
    assert {socket: names_after("Taken by", text) for socket, text in SECTIONS.items()} == takers


@pytest.mark.parametrize("socket", [name for name in DECLARED if name.startswith("EXO2EGO")])
def test_every_field_of_a_payload(socket):
    section = SECTIONS[socket]
    module, name = re.match(r"\s*`([\w.]+)\.(\w+)`", section).groups()
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
    payload = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    fields = [node.target.id for node in payload.body if isinstance(node, ast.AnnAssign)]
    listed = [field for line in re.findall(r"^- (.*?):", section, re.M) for field in re.findall(r"`(\w+)`", line)]
    assert listed == fields


def test_modules_that_are_named_are_there():
    for module in re.findall(r"`((?:geometry|networks|wan)\.[a-z0-9_.]+)`", "".join(SECTIONS.values())):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module
