"""The shipped workflows, as files."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from templates.files import BLUEPRINTS, SHIPPED_BLUEPRINTS, all_nodes, blueprint, read

from exo2ego.commands.doctor.known_models import KNOWN
from support.graphs import TEMPLATES, WORKFLOWS, api_graph, node_id, template

EGOX = ("attention_map", "egox", "egox_fast", "egox_take")
SAMPLED = ("1_pocket", "egox", "egox_fast", "egox_take", "exo2egosyn", "pocket_exo2egosyn", "vawan")


ROOT = Path(__file__).resolve().parents[2]


def ui_graph(name: str) -> dict:
    return template(name)


def ui_nodes(name: str) -> list[dict]:
    return all_nodes(template(name))


def test_there_are_workflows():
    names = "1_pocket attention_map ego_camera ego_prior egox egox_fast egox_take exo2egosyn people pocket_exo2egosyn"
    assert [*names.split(), "vawan"] == WORKFLOWS


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_has_notes_groups_thumbnail_and_twin(name):
    graph = ui_graph(name)
    assert graph["groups"]
    assert any(entry["type"] == "MarkdownNote" for entry in graph["nodes"])
    assert TEMPLATES[name].with_suffix(".jpg").stat().st_size > 10_000
    twins = {str(entry["id"]): entry for entry in ui_nodes(name) if entry["type"] != "MarkdownNote"}
    assert {key.split(":")[-1]: entry["class_type"] for key, entry in api_graph(name).items()} == {
        key: entry["type"] for key, entry in twins.items()
    }


@pytest.mark.parametrize("name", SAMPLED)
def test_the_thumbnail_says_who_made_the_result(name):
    """In a white tag at its lower right, dark letters on it: the models have 14 billion weights, or none in public."""
    with Image.open(TEMPLATES[name].with_suffix(".jpg")) as picture:
        tag = np.asarray(picture.convert("L").resize((640, 640)))[610:622, 520:615]
    assert (tag > 225).mean() > 0.4
    assert 0.2 < (tag < 110).mean() < 0.5


@pytest.mark.parametrize("name", WORKFLOWS)
def test_an_unchanged_graph_keeps_its_seed(name):
    """A seed that changes after each run would sample again where nothing was changed."""
    kept = [entry["widgets_values"] for entry in ui_nodes(name) if entry["type"] == "KSampler"]
    assert [values[1] for values in kept] == ["fixed"] * (name in SAMPLED)
    assert "randomize" not in TEMPLATES[name].read_text()


@pytest.mark.parametrize(
    ("name", "shift", "sampling"),
    [
        ("egox", 3, {"sampler_name": "uni_pc_bh2", "scheduler": "simple", "steps": 50, "cfg": 5}),
        ("egox_take", 3, {"sampler_name": "uni_pc_bh2", "scheduler": "simple", "steps": 50, "cfg": 5}),
        ("egox_fast", 5, {"sampler_name": "euler", "scheduler": "simple", "steps": 4, "cfg": 1}),
        ("exo2egosyn", 5, {"sampler_name": "uni_pc", "scheduler": "simple", "steps": 40, "cfg": 3.5}),
        ("vawan", 5, {"sampler_name": "uni_pc", "scheduler": "simple", "steps": 40, "cfg": 3.5}),
    ],
)
def test_each_samples_as_its_authors_did(name, shift, sampling):
    graph = api_graph(name)
    inputs = graph[node_id(graph, "Sampler")]["inputs"]
    assert {key: inputs[key] for key in sampling} == sampling
    assert inputs["denoise"] == 1
    assert graph[node_id(graph, "Shift")]["inputs"]["shift"] == shift


@pytest.mark.parametrize("name", EGOX)
def test_egox_takes_an_empty_negative_prompt_and_plain_text(name):
    graph = api_graph(name)
    conditioning = graph[node_id(graph, "EgoX conditioning")]["inputs"]
    positive, negative = (graph[conditioning[key][0]] for key in ("positive", "negative"))
    assert {positive["class_type"], negative["class_type"]} == {"Exo2EgoEncodePrompt"}
    assert negative["inputs"]["text"] == ""
    assert positive["inputs"]["fit"] == "keep both views"


@pytest.mark.parametrize("name", EGOX)
def test_egox_follows_one_choice(name):
    graph = api_graph(name)
    assert graph[node_id(graph, "EgoX conditioning")]["inputs"]["match"] == "released inference"
    assert graph[node_id(graph, "Geometry-guided attention")]["inputs"]["geometry"] == "as matched"


def test_the_fast_one_is_the_takes_with_a_second_lora():
    take, fast = api_graph("egox_take"), api_graph("egox_fast")
    lora, shift = node_id(fast, "Distillation LoRA"), node_id(fast, "Shift")
    assert fast[lora]["class_type"] == "LoraLoaderModelOnly"
    assert fast[lora]["inputs"]["strength_model"] == 1
    assert fast[lora]["inputs"]["model"] == take[shift]["inputs"]["model"]
    assert fast[shift]["inputs"]["model"] == [lora, 0]
    changed = {key for key in take if take[key] != fast[key]}
    assert {take[key]["_meta"]["title"] for key in changed} == {
        *("Shift", "Sampler", "Save ego video", "Save side by side", "Save contact sheet")
    }
    assert set(fast) - set(take) == {lora}


def test_every_node_stands_in_a_workflow(comfy_client):
    used = {entry["class_type"] for name in WORKFLOWS for entry in api_graph(name).values()}
    ours = {name for name in comfy_client.get("/object_info") if name.startswith("Exo2Ego")}
    assert ours <= used


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_workflow_needs_another_pack(comfy_client, name):
    known = comfy_client.get("/object_info")
    for entry in api_graph(name).values():
        info = known[entry["class_type"]]
        assert info["python_module"] == "custom_nodes.ComfyUI-Exo2Ego" or not info["python_module"].startswith(
            "custom_nodes"
        )
        inputs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        assert set(entry["inputs"]) <= set(inputs)
        assert set(info["input"].get("required", {})) <= set(entry["inputs"])


_FOLDERS = {
    "UNETLoader": "diffusion_models",
    "VAELoader": "vae",
    "CLIPLoader": "text_encoders",
    "CLIPVisionLoader": "clip_vision",
    "LoraLoaderModelOnly": "loras",
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_loaders_carry_the_addresses_of_public_files(name):
    """The editor offers them for download; the doctor names the same addresses."""
    for entry in ui_nodes(name):
        if entry["type"] in _FOLDERS:
            file = entry["widgets_values"][0]
            (model,) = entry["properties"]["models"]
            assert (model["name"], model["directory"]) == (file, _FOLDERS[entry["type"]])
            assert model["url"] == KNOWN[file].source
            assert model["url"].startswith("https://huggingface.co/")
            assert model["url"].endswith(f"/{file}")
        else:
            assert "models" not in entry["properties"]


def test_each_has_an_id_of_its_own():
    ids = [uuid.UUID(ui_graph(name)["id"]) for name in WORKFLOWS]
    assert all(each.int for each in ids)
    assert len(set(ids)) == len(WORKFLOWS)


MOST_IN_VIEW = 12
GREEN = "#353"


def test_the_own_clip_template_has_twelve_nodes_in_view_and_what_is_to_be_touched_is_green():
    nodes = ui_graph("egox")["nodes"]
    assert len(nodes) <= MOST_IN_VIEW
    green = [entry["type"] for entry in nodes if entry.get("bgcolor") == GREEN]
    assert green == ["Exo2EgoLoadClip", "Exo2EgoCameraEditor", "Exo2EgoCaption"]
    graph = api_graph("egox")
    assert graph[node_id(graph, "Ego prior")]["inputs"]["near"] == 0.25
    assert not any(
        value
        for title in ("Describe clip", "Prompt")
        for name, value in graph[node_id(graph, title)]["inputs"].items()
        if name.startswith(("exo_", "ego_")) and not isinstance(value, list)
    )


def test_numbers_of_nodes_differ_within_a_template():
    """The newest frontends number nodes in subgraphs anew where they do not, and a script's numbers would be others."""
    for name in WORKFLOWS:
        graph = ui_graph(name)
        inside = [entry["id"] for one in graph.get("definitions", {}).get("subgraphs", []) for entry in one["nodes"]]
        numbers = [entry["id"] for entry in graph["nodes"]] + inside
        assert len(set(numbers)) == len(numbers), name


@pytest.mark.parametrize("name", SHIPPED_BLUEPRINTS)
def test_blueprints_are_the_templates_subgraphs(name):
    template_name, description = SHIPPED_BLUEPRINTS[name]
    path = BLUEPRINTS / f"{name}.json"
    assert read(path) == blueprint(template(template_name), name, description)
    assert path.read_bytes().isascii(), "ComfyUI reads it in the system's own encoding"


def test_no_other_blueprints_lie_about():
    assert {path.stem for path in BLUEPRINTS.iterdir()} == set(SHIPPED_BLUEPRINTS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nodes_leave_room_for_footers_and_groups_hold_their_nodes(name):
    """60 pixels from a node's end to the next one's title: footers that tell of missing models take 40."""
    graph = ui_graph(name)
    for nodes in [graph["nodes"], *(one["nodes"] for one in graph.get("definitions", {}).get("subgraphs", []))]:
        boxes = [(entry.get("title"), *entry["pos"], *shown_size(entry)) for entry in nodes]
        for a, ax, ay, aw, ah in boxes:
            for b, bx, by, bw, _ in boxes:
                if (a, ax, ay) != (b, bx, by) and ax < bx + bw and bx < ax + aw and by >= ay:
                    assert by - 30 - (ay + ah) >= 60, f"{a} and {b}"
    for group in graph["groups"]:
        x, y, width, height = group["bounding"]
        for entry in graph["nodes"]:
            left, top = entry["pos"]
            if x <= left <= x + width and y <= top <= y + height:
                assert left + shown_size(entry)[0] <= x + width, entry.get("title")
                assert top + shown_size(entry)[1] <= y + height, entry.get("title")


def shown_size(entry):
    return (200, 0) if entry["flags"].get("collapsed") else tuple(entry["size"])


def test_the_template_browser_shows_titles_in_order():
    titles = [path.stem for path in TEMPLATES.values()]
    assert titles == sorted(titles)
    assert [int(title[:2]) for title in titles] == [1, *range(1, len(titles))], "the pocket model has two"
    assert not any("_" in title for title in titles)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_first_view_shows_the_note_at_a_size_to_read(name):
    graph = ui_graph(name)
    view = graph["extra"]["ds"]
    (note,) = [entry for entry in graph["nodes"] if entry.get("title") == "Start here"]
    left, top = (view["scale"] * (note["pos"][axis] + view["offset"][axis]) for axis in (0, 1))
    assert view["scale"] >= 0.8
    assert 60 <= left < 200, "the side bar covers it"
    assert 0 <= top < 300


@pytest.mark.parametrize(
    "name", [name for name in WORKFLOWS if "Exo2EgoCompare" in {e["type"] for e in ui_nodes(name)}]
)
def test_the_side_by_side_video_is_shown_and_no_picture_twice(name):
    graph = api_graph(name)
    saved = graph[node_id(graph, "Save side by side")]
    assert graph[saved["inputs"]["video"][0]]["inputs"]["images"] == [node_id(graph, "Compare views"), 0]
    (sheet,) = [entry for entry in ui_nodes(name) if entry.get("title") == "Save contact sheet"]
    if sheet in ui_graph(name)["nodes"]:
        assert sheet["flags"]["collapsed"], "Compare views shows the sheet itself"
