"""What the commands know of nodes without a server is what a server's own list says."""

from __future__ import annotations

import pytest

from exo2ego.commands.comfyui.known_nodes import FILE_INPUTS, MODEL_INPUTS, SHORT_NAMES, TELLING, file_input
from exo2ego.common.file_inputs import FileInput, FileKind

OURS = "Exo2Ego"


@pytest.fixture
def nodes(comfy_client):
    return comfy_client.get("/object_info")


def declared(nodes, node):
    """A node's inputs as the server has them."""
    return {
        name: given for group in ("required", "optional") for name, given in nodes[node]["input"].get(group, {}).items()
    }


def test_the_pack_s_own_file_inputs(nodes):
    """Both ways: an input that a node marks and the table lacks would be plain text where no server is asked."""
    marked = {
        (node, name): FileInput.from_options(given[1])
        for node in nodes
        for name, given in declared(nodes, node).items()
        if len(given) > 1 and FileInput.from_options(given[1])
    }
    assert marked == {key: told for key, told in FILE_INPUTS.items() if key[0].startswith(OURS)}
    for (node, name), told in marked.items():
        assert declared(nodes, node)[name][1]["options"][0] == told.built_in


def test_comfyui_s_own_file_inputs(nodes):
    for node, name in (key for key in FILE_INPUTS if not key[0].startswith(OURS)):
        options = declared(nodes, node)[name][1]
        assert any(key.endswith("_upload") for key in options)
        assert options.get("image_folder", "input") == "input"


def test_every_node_and_input_is_there(nodes):
    short = {(node, name) for kinds, _, name in SHORT_NAMES.values() for node in kinds}
    for node, name in short | set(MODEL_INPUTS):
        assert name in declared(nodes, node), (node, name)
    assert nodes.keys() >= TELLING


def test_a_server_s_own_word_counts_first():
    mark = FileInput(FileKind.KEYPOINTS, "nothing")
    assert file_input("LoadVideo", "file", ["COMBO", mark.as_options()]) == mark
    assert file_input("Another pack's node", "path", ["STRING", mark.as_options()]) == mark


@pytest.mark.parametrize(
    "declared",
    [
        None,
        ["COMBO"],
        ["COMBO", {}],
        ["COMBO", {"exo2ego_file": {"kind": "of a later version"}}],
        ["COMBO", {"exo2ego_file": 3}],
    ],
)
def test_a_server_that_does_not_say(declared):
    assert file_input("Exo2EgoLoadTake", "take", declared) == FileInput(FileKind.TAKE, "example room")
    assert file_input("KSampler", "seed", declared) is None
