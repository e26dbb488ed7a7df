"""A recipe is checked whole before anything runs."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.training.recipe import Recipe
from exo2ego.training.toml_file import read_recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
BASE = '[model]\nbase = "wan.safetensors"\n'


def written(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((DOCS / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_the_documented_recipes_are_valid(path):
    recipe = read_recipe(path)
    assert f"recipes/{path.name}" in (DOCS / "training.md").read_text()
    if path.name == "egox_continued.toml":
        assert recipe.egox.black_picture
        assert recipe.egox.masks_last_frame
        assert recipe.egox.resolved_geometry is GGAGeometry.AS_TRAINED


def test_every_setting_is_documented():
    text = (DOCS / "training.md").read_text().split("## The recipe")[1].split("\n## ")[0]
    told = set(re.findall(r"`(\w+)`", text))
    for table, kind in get_type_hints(Recipe).items():
        assert f"`[{table}]`" in text
        assert {item.name for item in fields(kind)} <= told


def test_paths_are_taken_from_the_recipe_s_folder(tmp_path):
    recipe = read_recipe(written(tmp_path, BASE + '[data]\ncache = "/elsewhere"\n'))
    assert recipe.model.base == tmp_path / "wan.safetensors"
    assert recipe.data.cache == Path("/elsewhere")
    assert recipe.run.out == tmp_path / "run"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "[lora]\nrnak = 4", r"\[lora\] has no key rnak; did you mean rank\?"),
        (BASE + "[optimiser]\nlr = 1", r"there is no table \[optimiser\]; did you mean optimizer\?"),
        (BASE + "[run]\nlr = 1e-4", r"\[run\] has no key lr; lr belongs under \[optimizer\]"),
        (BASE + "[run]\nxyz = 1", r"\[run\] has no key xyz. There are method, out"),
        (BASE + '[lora]\nrank = "4"', r"\[lora\] rank is a whole number, got '4'"),
        (BASE + "[lora]\nrank = true", r"\[lora\] rank is a whole number, got True"),
        (BASE + "[lora]\nrank = 0", r"\[lora\]: A LoRA has a rank from 1 up"),
        (BASE + '[egox]\ngga = "relaese"', r"\[egox\]: gga is one of off, paper, release, got 'relaese'"),
        (BASE + '[egox]\ngga = "paper"\nstrength = 0', r"\[egox\]: .*lambda above 0"),
        (BASE + "[data]\nexo_size = [784]", r"exo_size is a list of 2, got \[784\]"),
        (BASE + "[data]\nframes = 48", r"\[data\]: frames are 4n\+1, got 48"),
        (BASE + "[data]\nexo_size = [780, 448]", r"multiples of 16"),
        (BASE + "[run]\nbatch = 3\naccumulate = 2", r"batch is a multiple of accumulate"),
        ("[run]\nsteps = 1", r"\[model\]: a LoRA is trained on a base model"),
        ("run = 1", r"\[run\] is a table of settings"),
        ("[run", r"is not a TOML file"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_recipe(written(tmp_path, text))
    assert "recipe.toml" in str(caught.value)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"nothing.toml cannot be read"):
        read_recipe(tmp_path / "nothing.toml")
