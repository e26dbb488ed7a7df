"""The tool for translations: what it calls missing, stale, left over and wrong, and what it takes in."""

from __future__ import annotations

import json

import pytest
from locales.run import take, todo
from locales.texts import Language, faults, texts_of

INFO = {
    "Some.Node": {
        "display_name": "Some Node",
        "description": "Does something.",
        "category": "Pack/menu",
        "input": {
            "required": {"cut.frames": ["INT", {"tooltip": "Frames: 49."}], "plain": ["IMAGE"]},
            "optional": {"exo_1": ["IMAGE", {"display_name": "exo 1", "tooltip": "A video."}]},
        },
        "output_name": ["out"],
        "output_tooltips": [None],
    }
}
KEY = "nodeDefs.Some_Node.inputs.cut_frames.tooltip"


@pytest.fixture
def english() -> dict[str, str]:
    return texts_of(INFO)


@pytest.fixture
def folder(tmp_path, english):
    """A language in which everything is translated."""
    language = Language(tmp_path / "xx")
    filled = {key: task | {"translation": f"*{task['english']}*"} for key, task in todo(english, language).items()}
    assert take(filled, english, language) == []
    language.write()
    return tmp_path / "xx"


def state(folder, english) -> tuple[list[str], list[str], list[str]]:
    language = Language(folder)
    return language.missing(english), language.stale(english), language.left_over(english)


def test_the_keys_are_the_editor_s(english):
    place = "nodeDefs.Some_Node"
    assert english == {
        f"{place}.display_name": "Some Node",
        f"{place}.description": "Does something.",
        f"{place}.inputs.cut_frames.name": "cut.frames",
        f"{place}.inputs.cut_frames.tooltip": "Frames: 49.",
        f"{place}.inputs.plain.name": "plain",
        f"{place}.inputs.exo_1.name": "exo 1",
        f"{place}.inputs.exo_1.tooltip": "A video.",
        f"{place}.outputs.0.name": "out",
        "nodeCategories.Pack": "Pack",
        "nodeCategories.menu": "menu",
    }


def test_the_files_are_as_comfyui_reads_them(folder, english):
    nodes = json.loads((folder / "nodeDefs.json").read_text(encoding="utf-8"))
    assert nodes["Some_Node"]["inputs"]["cut_frames"] == {"name": "*cut.frames*", "tooltip": "*Frames: 49.*"}
    assert json.loads((folder / "main.json").read_text(encoding="utf-8"))["nodeCategories"]["menu"] == "*menu*"
    assert state(folder, english) == ([], [], [])


def test_what_changes_is_found(folder, english):
    changed = english | {KEY: "Frames: 50.", "nodeDefs.New.display_name": "New"}
    del changed["nodeCategories.menu"]
    assert state(folder, changed) == (["nodeDefs.New.display_name"], [KEY], ["nodeCategories.menu"])
    tasks = todo(changed, Language(folder))
    assert tasks == {
        KEY: {"english": "Frames: 50.", "was": "*Frames: 49.*", "translation": ""},
        "nodeDefs.New.display_name": {"english": "New", "translation": ""},
    }


def test_what_another_node_says_too_is_filled_in(folder, english):
    changed = english | {"nodeDefs.New.inputs.exo_1.tooltip": "A video."}
    (task,) = todo(changed, Language(folder)).values()
    assert task == {"english": "A video.", "translation": "*A video.*"}


def test_what_was_filled_in_is_taken_and_the_rest_stays_to_do(folder, english):
    changed = english | {KEY: "Frames: 50.", "nodeDefs.New.display_name": "New"}
    language = Language(folder)
    tasks = todo(changed, language)
    tasks[KEY]["translation"] = "50!"
    assert take(tasks, changed, language) == []
    language.write()
    assert state(folder, changed) == (["nodeDefs.New.display_name"], [], [])
    assert Language(folder).texts[KEY] == "50!"


def test_what_is_left_over_is_dropped(folder, english):
    language = Language(folder)
    kept = {key: text for key, text in english.items() if not key.startswith("nodeDefs.")}
    language.drop(language.left_over(kept))
    language.write()
    assert state(folder, kept) == ([], [], [])
    assert json.loads((folder / "nodeDefs.json").read_text(encoding="utf-8")) == {}


def test_a_translation_of_another_text_is_refused(folder, english):
    language = Language(folder)
    changed = english | {KEY: "Frames: 50."}
    tasks = todo(changed, language)
    tasks[KEY]["translation"] = "50!"
    later = english | {KEY: "Frames: 50 or 51."}
    assert take(tasks, later, language) == [f"{KEY}: the English text is another one now"]
    tasks[KEY]["translation"] = "49!"
    (refused,) = take(tasks, changed, language)
    assert "lacks '50'" in refused
    assert language.texts[KEY] == "*Frames: 49.*"


@pytest.mark.parametrize(
    ("english", "translation", "expected"),
    [
        ("4n+1 frames, 0.25 each.", "4n+1 x 0.25", []),
        ("16, or 16 and 8.", "16 8", ["lacks '16'"]),
        ("0.25 here", "0,25", ["lacks '0.25'"]),
        ("Press `make pocket`.", "make pocket", ["lacks '`make pocket`'"]),
        ("Below models/depth_pro: a .npy file.", ".npy", ["lacks 'models/depth_pro'"]),
        ("crop: cuts. squeeze: scales.", "crop: x. y: z.", ["lacks 'squeeze'"]),
        ("EgoX's LoRAs in the KSampler", "EgoX LoRA", []),
        ("EgoX's LoRAs", "EgoX", ["lacks 'LoRA'"]),
        ("For Point Cloud.", "x", ["names the node Point Cloud otherwise than 'Wolke'"]),
        ("For Point Cloud.", "Wolke", []),
        ("A point cloud.", "x", []),
        ("a or b", "a | b", ["has '|', which the editor takes for syntax"]),
        ("text", " ", ["is empty"]),
    ],
)
def test_faults(english, translation, expected):
    assert faults(english, translation, {"Point Cloud": "Wolke"}) == expected
