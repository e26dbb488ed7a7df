"""The nodes' texts in other languages: what is missing or stale, and taking in what a translator wrote.

    python tools/run.py locales > todo.json       says what is to do; the file holds it, to be filled
    python tools/run.py locales --accept todo.json

The first writes `locales/english.json` from the nodes' schemas. In its output every text has the English one, the
former translation (`was`) where there is one, and a `translation` to be filled. The second takes in what was
filled in and drops what no node has any more. A stale translation that is still right is filled in as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locales.texts import LANGUAGES, Language, digest, faults, save, texts_of, titles

ROOT = Path(__file__).resolve().parents[2]
LOCALES = ROOT / "locales"


def main() -> None:
    """Say what is to do, or take in what was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accept", type=Path, metavar="FILE", help="a filled output of this tool")
    given = parser.parse_args()
    english = schema_texts()
    save(LOCALES / "english.json", english)
    languages = {code: Language(LOCALES / code) for code in LANGUAGES}
    if given.accept:
        filled = json.loads(given.accept.read_text(encoding="utf-8"))
        for code, language in languages.items():
            say(*(f"{code} {refused}" for refused in take(filled.get(code, {}), english, language)))
            language.drop(language.left_over(english))
            language.write()
    found = {code: todo(english, language) for code, language in languages.items()}
    for code, language in languages.items():
        lacking, old, left = language.missing(english), language.stale(english), language.left_over(english)
        counts = f"{len(lacking)} missing, {len(old)} stale, {len(left)} left over"
        say(f"{code}: {len(english)} texts, {counts}", *(f"  left over: {key}" for key in left))
    if any(found.values()) and not given.accept:
        print(json.dumps(found, ensure_ascii=False, indent=1))


def schema_texts() -> dict[str, str]:
    """Return the English text of every key, from the schemas of this checkout's nodes in the prepared ComfyUI."""
    import environment
    import torch

    import pack

    pack.register()
    from exo2ego.measure import random_wan

    random_wan.start(torch.device("cpu"), environment.prepare().comfyui)
    from exo2ego.nodes.extension import NODES

    return texts_of({node.define_schema().node_id: node.GET_NODE_INFO_V1() for node in NODES})


def todo(english: Mapping[str, str], language: Language) -> dict[str, dict[str, str]]:
    """Return what a translator has to fill, by key. What another node says in the same words is filled in already."""
    keys = {*language.missing(english), *language.stale(english)}
    known = {english[key]: text for key, text in language.texts.items() if key in english and key not in keys}
    return {key: _task(english[key], language.texts.get(key), known) for key in english if key in keys}


def take(filled: Mapping[str, Mapping[str, Any]], english: Mapping[str, str], language: Language) -> list[str]:
    """Take in the translations that were filled in; return what was refused, and why."""
    refused = []
    for key, told in filled.items():
        translation = told["translation"]
        if not translation:
            continue
        if key not in english or digest(told["english"]) != digest(english[key]):
            refused.append(f"{key}: the English text is another one now")
        elif wrong := faults(english[key], translation, titles(english, language)):
            refused.append(f"{key}: {'; '.join(wrong)}: {translation}")
        else:
            language.accept(key, english[key], translation)
    return refused


def say(*lines: str) -> None:
    """Print to standard error: standard output carries the JSON alone."""
    for line in lines:
        print(line, file=sys.stderr)


def _task(english: str, was: str | None, known: Mapping[str, str]) -> dict[str, str]:
    return {"english": english, **({"was": was} if was else {}), "translation": known.get(english, "")}


if __name__ == "__main__":
    main()
