"""Translations of the nodes' texts: none is missing, left over or stale, and ComfyUI serves them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locales.texts import faults

LOCALES = Path(__file__).resolve().parents[2] / "locales"
LANGUAGES = ("zh", "ja")
# What a text of the language has at least one of: Chinese characters, and kana or Chinese characters.
OWN_LETTERS = {"zh": r"[\u4e00-\u9fff]", "ja": r"[\u3040-\u30ff\u4e00-\u9fff]"}
HOW_TO = "see 'A node' in CONTRIBUTING.md"


def read(name: str) -> dict[str, Any]:
    return json.loads((LOCALES / name).read_text(encoding="utf-8"))


def flat(tree: dict[str, Any], *above: str) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, *above, name)
        else:
            yield ".".join((*above, name)), value


def translations(language: str) -> dict[str, str]:
    return dict(flat({"nodeDefs": read(f"{language}/nodeDefs.json"), **read(f"{language}/main.json")}))


@pytest.fixture
def schemas(comfy_client) -> dict[str, str]:
    """The English texts as the editor gets them, by its keys."""
    texts = {}
    for node, told in comfy_client.get("/object_info").items():
        if not node.startswith("Exo2Ego"):
            continue
        texts |= {f"nodeDefs.{node}.{name}": told[name] for name in ("display_name", "description")}
        texts |= {f"nodeCategories.{menu}": menu for menu in told["category"].split("/")}
        for name, (_, options) in {**told["input"].get("required", {}), **told["input"].get("optional", {})}.items():
            place = f"nodeDefs.{node}.inputs.{name.replace('.', '_')}"
            texts |= {f"{place}.name": options.get("display_name", name), f"{place}.tooltip": options["tooltip"]}
        for index, name in enumerate(told["output_name"]):
            texts[f"nodeDefs.{node}.outputs.{index}.name"] = name
            if tooltip := told["output_tooltips"][index]:
                texts[f"nodeDefs.{node}.outputs.{index}.tooltip"] = tooltip
    return texts


def test_english_is_what_the_schemas_say(schemas):
    assert read("english.json") == schemas, f"`python tools/run.py locales` writes it anew; {HOW_TO}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_none_is_missing_left_over_or_stale(schemas, language):
    assert sorted(translations(language)) == sorted(schemas), HOW_TO
    made_from = read(f"{language}/made_from.json")
    now = {key: hashlib.sha256(text.encode()).hexdigest()[:8] for key, text in schemas.items()}
    stale = sorted(key for key in now if made_from.get(key) != now[key])
    assert stale == [], f"their English text has changed since they were translated; {HOW_TO}"
    assert sorted(made_from) == sorted(now)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_the_same_in_every_language_is_there(language):
    english, translated = read("english.json"), translations(language)
    titles = {english[key]: text for key, text in translated.items() if key.endswith(".display_name")}
    wrong = {}
    for key, text in translated.items():
        told = key.endswith((".tooltip", ".description"))
        found = faults(english[key], text, titles) if told else []
        numbers = re.findall(r"\d+(?:\.\d+)?", english[key])
        found += [f"lacks {number}" for number in set(numbers) if text.count(number) < numbers.count(number)]
        found += [f"lacks {code}" for code in re.findall("`[^`]+`", english[key]) if code not in text]
        if told and not re.search(OWN_LETTERS[language], text):
            found.append("is not translated")
        if re.search(r"[{}@|$]|<\w", text):
            found.append("has what the editor takes for syntax")
        if found:
            wrong[key] = found
    assert wrong == {}


def test_every_node_has_a_title_of_its_own():
    for language in LANGUAGES:
        titles = [node["display_name"] for node in read(f"{language}/nodeDefs.json").values()]
        assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("language", LANGUAGES)
def test_comfyui_serves_them(comfy_client, language):
    served = comfy_client.get("/i18n")
    nodes = {node: told for node, told in served[language]["nodeDefs"].items() if node.startswith("Exo2Ego")}
    assert nodes == read(f"{language}/nodeDefs.json")
    assert served[language]["nodeCategories"] == read(f"{language}/main.json")["nodeCategories"]


def test_english_comes_from_the_schemas_alone(comfy_client):
    """A served copy would hide what tooltips say of this machine, such as folders that may not be read."""
    english = comfy_client.get("/i18n").get("en", {}).get("nodeDefs", {})
    assert [node for node in english if node.startswith("Exo2Ego")] == []
