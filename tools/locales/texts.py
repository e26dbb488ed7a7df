"""Texts of the nodes by the editor's keys, and the files of `locales/` that hold their translations.

A key is the editor's own: `nodeDefs.<node>.inputs.<input>.tooltip`, `nodeDefs.<node>.outputs.0.name`,
`nodeCategories.<menu>`; a dot in an input's name is an underscore there. ComfyUI serves `nodeDefs.json` and `main.json`
of a language's folder. English is what the schemas say, and is not served: the editor would show the copy where a
tooltip tells of this machine. `english.json` is for translators, and for the history.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LANGUAGES = ("ja", "zh")
_NODES = "nodeDefs"
_DIGITS = 8  # of a hash; enough to tell one text's versions apart

# The editor's translations have a syntax of their own: interpolation, links to other messages, plurals.
_SYNTAX = "{}@|$"
_LITERALS = re.compile(
    r"`[^`]+`"  # code
    r"|[\w./*-]*[/_#*][\w./#%*-]*\w"  # paths, names of inputs and files
    r"|\.[a-z][a-z0-9]+\b"  # endings of files
    r"|(?:[A-Za-z]-)?\d+(?:[.,]\d+)*"  # numbers
    r"|\b\w*[A-Z]\w*[A-Z]\w*?(?=s?\b)"  # EgoX, GGA, LoRAs
    r"|(?:(?<=^)|(?<=\. ))[a-z][a-z0-9 ()-]*(?=: )"  # options, explained one after the other
)
_TRANSLATED = {"KSampler"}  # names that ComfyUI itself translates


def texts_of(info: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the English text of every key.

    Args:
        info: nodes by their id, as `/object_info` gives them.
    """
    found: dict[str, str | None] = {}
    for node, told in info.items():
        place = f"{_NODES}.{_key(node)}"
        found |= {f"{place}.display_name": told["display_name"], f"{place}.description": told["description"]}
        for section in ("required", "optional"):
            for name, (_, *rest) in told["input"].get(section, {}).items():
                options = rest[0] if rest else {}
                found[f"{place}.inputs.{_key(name)}.name"] = options.get("display_name") or name
                found[f"{place}.inputs.{_key(name)}.tooltip"] = options.get("tooltip")
        for index, (name, tooltip) in enumerate(zip(told["output_name"], told["output_tooltips"])):
            found[f"{place}.outputs.{index}.name"] = name
            found[f"{place}.outputs.{index}.tooltip"] = tooltip
        found |= {f"nodeCategories.{_key(menu)}": menu for menu in told["category"].split("/")}
    return {key: text for key, text in found.items() if text}


def faults(english: str, translation: str, titles: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with a translation by rules that need no knowledge of its language.

    Args:
        english: what it translates.
        translation: the text.
        titles: nodes' translated titles by the English ones, where such are checked.
    """
    if not translation.strip():
        return ["is empty"]
    found = [f"has '{sign}', which the editor takes for syntax" for sign in _SYNTAX if sign in translation]
    for literal in _missing(literals(english), translation):
        found.append(f"lacks '{literal}'")
    for title, translated in (titles or {}).items():
        if " " in title and re.search(rf"\b{re.escape(title)}\b", english) and translated not in translation:
            found.append(f"names the node {title} otherwise than '{translated}'")
    return found


def literals(english: str) -> list[str]:
    """Return what stays as it is in every language: numbers, code, paths, options, names such as EgoX.

    A text that is one word with an underscore is an input's name, which is translated.
    """
    is_name = "_" in english and english.isidentifier()
    return [] if is_name else [word for word in _LITERALS.findall(english) if word not in _TRANSLATED]


def digest(english: str) -> str:
    """Return what is kept of a text, to know whether a translation was made from it."""
    return hashlib.sha256(english.encode()).hexdigest()[:_DIGITS]


def load(path: Path) -> dict[str, Any]:
    """Read a JSON file, or return nothing where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file with sorted keys, a line each, so that two people's changes merge."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


class Language:
    """The translations of one language, in its folder.

    Args:
        folder: it; its name is the language's code.

    Attributes:
        texts: translations by key.
        made_from: what is kept of the English text behind each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        nodes = load(folder / "nodeDefs.json")
        self.texts = dict(_flat({_NODES: nodes} | load(folder / "main.json")))
        self.made_from: dict[str, str] = load(folder / "made_from.json")

    def missing(self, english: Mapping[str, str]) -> list[str]:
        """Return the keys without a translation."""
        return [key for key in english if key not in self.texts]

    def stale(self, english: Mapping[str, str]) -> list[str]:
        """Return the keys whose English text is another than the one that was translated."""
        return [key for key in english if key in self.texts and self.made_from.get(key) != digest(english[key])]

    def left_over(self, english: Mapping[str, str]) -> list[str]:
        """Return the translated keys that no node has."""
        return [key for key in sorted(self.texts.keys() | self.made_from.keys()) if key not in english]

    def accept(self, key: str, english: str, translation: str) -> None:
        """Take a translation of a text."""
        self.texts[key], self.made_from[key] = translation, digest(english)

    def drop(self, keys: Iterable[str]) -> None:
        """Forget keys."""
        for key in keys:
            self.texts.pop(key, None)
            self.made_from.pop(key, None)

    def write(self) -> None:
        """Write the files of the folder."""
        tree = _nested(self.texts)
        save(self._folder / "nodeDefs.json", tree.pop(_NODES, {}))
        save(self._folder / "main.json", tree)
        save(self._folder / "made_from.json", self.made_from)


def titles(english: Mapping[str, str], language: Language) -> dict[str, str]:
    """Return the nodes' titles in a language by the English ones."""
    keys = [key for key in english if key.endswith(".display_name") and key in language.texts]
    return {english[key]: language.texts[key] for key in keys}


def _key(name: str) -> str:
    """Return a name as the editor has it in keys (`normalizeI18nKey` of its source)."""
    return name.replace(".", "_")


def _missing(wanted: list[str], text: str) -> list[str]:
    """Return what a text lacks, the longest first: a number counts once for every time that it stands there."""
    lacking = []
    for word in sorted(wanted, key=len, reverse=True):
        if word in text:
            text = text.replace(word, "\0", 1)
        else:
            lacking.append(word)
    return lacking


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _nested(texts: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, text in texts.items():
        *path, last = key.split(".")
        at = tree
        for name in path:
            at = at.setdefault(name, {})
        at[last] = text
    return tree
