"""The nodes where folders cannot be read and where names hold markup: their lists and texts, in a real ComfyUI."""

from __future__ import annotations

import logging
import os

import pytest

from support.comfyui import import_comfyui
from support.unreadable import as_stranger, make_unreadable, open_folder

import_comfyui()

MARKUP = "<img src=x onerror=alert(1)>\x1b[2J\u202e"
SHOWN = "\u2039img src=x onerror=alert(1)\u203a\\x1b[2J\\u202e"


@pytest.fixture
def unreadable():
    with open_folder() as folder:
        make_unreadable(folder)
        (folder / "good").mkdir()
        (folder / "good" / "meta.json").write_text('{"ego_extrinsics": []}')
        yield folder


@pytest.fixture
def folders(monkeypatch, unreadable):
    """ComfyUI's folders of input and models, in one that can be read in part."""
    import folder_paths

    for node in all_nodes():
        node.define_schema()  # imports what it must, and adds kinds of models
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "input_directory", str(unreadable))
    for kind in ("loras", "exo2egosyn", "depth_pro"):
        _, suffixes = folder_paths.folder_names_and_paths[kind]
        places = [str(unreadable / "lost+found"), str(unreadable / "blind"), str(unreadable)]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, (places, suffixes))
    return unreadable


def all_nodes():
    from exo2ego.nodes import extension

    return [node for theme in extension._THEMES for node in theme.NODES]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_every_node_loads_where_folders_cannot_be_read(folders):
    with as_stranger():
        schemas = {node.__name__: node.define_schema() for node in all_nodes()}
        for node in all_nodes():
            node.GET_SCHEMA()
    (take, *_) = schemas["Exo2EgoLoadTake"].inputs
    assert take.options == ["example room", "good"]
    assert "may not read it: lost+found" in take.tooltip


def test_models_that_can_be_read_are_listed_beside_those_that_cannot(folders, caplog):
    import folder_paths

    from exo2ego.nodes.common import model_files

    for place in (folders, folders / "good", folders / "lost+found"):
        (place / "lora.safetensors").touch()
    (folders / "good" / "<svg onload=alert(1)>.safetensors").touch()
    model_files._said.clear()
    with as_stranger(), caplog.at_level(logging.WARNING):
        with pytest.raises(PermissionError):
            folder_paths.get_filename_list("loras")
        listed = [model_files.model_names("loras") for _ in range(2)]
    assert listed == [[os.path.join("good", "lora.safetensors"), "lora.safetensors"]] * 2
    assert len([text for text in caplog.messages if "Not all of models/loras" in text]) == 1


def test_texts_of_a_node_are_safe_on_the_page():
    """Errors, those behind them, refusals, texts of outputs and blocked outputs; values stay what they are."""
    from comfy_api.latest import io
    from comfy_execution.graph import ExecutionBlocker

    from exo2ego.nodes.common.texts import with_safe_texts

    @with_safe_texts
    class Node(io.ComfyNode):
        @classmethod
        def validate_inputs(cls, take):
            return True if take == "good" else f"No {take}."

        @classmethod
        def execute(cls, take):
            if take == "good":
                shown = {"text": [MARKUP], "images": [{"filename": MARKUP}], "numbers": [1.5]}
                return io.NodeOutput(MARKUP, ExecutionBlocker(MARKUP), ui=shown)
            try:
                raise OSError(2, "absent", take)
            except OSError as error:
                raise ValueError(f"No {take}.") from error

    assert Node.validate_inputs("good") is True
    assert Node.validate_inputs(MARKUP) == f"No {SHOWN}."
    output = Node.execute(take="good")
    assert output.args[0] == MARKUP
    assert output.args[1].message == SHOWN
    assert output.ui == {"text": [SHOWN], "images": [{"filename": MARKUP}], "numbers": [1.5]}
    with pytest.raises(ValueError, match="No") as error:
        Node.execute(take=MARKUP)
    assert str(error.value) == f"No {SHOWN}."
    assert "<" not in str(error.value.__cause__)


def test_every_node_speaks_through_one_place():
    import asyncio

    from exo2ego.nodes.extension import Exo2EgoExtension

    for node in asyncio.run(Exo2EgoExtension().get_node_list()):
        assert node.execute.__func__.__code__.co_name == "safe_execute", node
        if "validate_inputs" in node.__dict__:
            assert node.validate_inputs.__func__.__code__.co_name == "safe_validation", node
