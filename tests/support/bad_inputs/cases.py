"""Bad inputs for every input of every node, from what `/object_info` tells of them."""

from __future__ import annotations

import copy
import math
import random
import re
from dataclasses import dataclass
from typing import Any

from demo.graph import Graph

from support.graphs import needed

from .graphs import LOOK, NODE, NodeGraph

_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
SPOIL = "spoil"

NUMBERS = [
    math.nan, math.inf, -math.inf, -1, 0, 1, 7, 0.5, 1e300, -1e300, 2**31, 2**63, -(2**63), 10**30, 1e-300, "text", "",
    "7", "nan", None, True, {}, {"__value__": [1, 2, 3]}, {"__value__": None}, "0x10", "1e999", "9" * 5000,
]  # fmt: skip
TEXTS = [
    "", " ", "\ud800", "a\0b", "x" * 1_000_000, "\x1b[31mred\x1b[0m", "\u202eevil", "[" * 100_000, "{" * 5000,
    "null", "[]",
    "{}", "NaN", "1e999", "[1, 2", '{"version": 1}', '{"version": NaN}', "[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]",
    "[[[NaN, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]]", "1, 2, 3", "nan, inf", "1e999 0 0", "-1", "../../x",
    "/etc/passwd",
    None, 5, True, [], {}, {"__value__": ["a", "b", "c"]}, "<script>alert(1)</script>", "%s %n {0}",
    "\U0001f600" * 2000,
    '{"format": "exo2ego.trajectory", "version": 1, "keyframes": [{"frame": -1}]}',
    '{"format": "exo2ego.trajectory", "version": 1, "keyframes": [{}]}',
    '{"format": "exo2ego.trajectory", "version": 1, "keyframes": null}',
    "C:\\Windows\\x", "nul", "%date:yyyy%/%width%", "a" * 300, "./.", "//host/share",
]  # fmt: skip
OPTIONS = [
    "no such option", "", "../x", "/etc/passwd", "..", ".", "\ud800", "a\0b", "x" * 100_000, None, 5, 1.5, True, [], {},
    {"__value__": ["a", "b", "c"]}, {"__value__": {}}, "none#x", "#", "example room#x", "x" * 300, "a/" * 200, "nul",
    "~", "\\\\host\\x", "http://127.0.0.1:1/x", "*", "%2e%2e/x", " example room", "none ",
]  # fmt: skip

# What messages call the payloads of sockets.
_CALLED = {
    "IMAGE": ["frames"],
    "MASK": ["mask"],
    "POSE_KEYPOINT": ["people"],
    "MHR_POSE_DATA": ["keypoints", "people", "image"],
    "FACE_LANDMARKS": ["keypoints", "people", "image"],
    "KIMODO_POSE_DATA": ["keypoints", "people", "image"],
    "CONDITIONING": ["prompt"],
    "EXO2EGO_PLUCKER": ["pluecker"],
    "LATENT": ["images of"],
}


@dataclass(frozen=True)
class Case:
    """A graph with one bad input.

    Attributes:
        node: the type of the node that gets it.
        name: the input.
        label: what is bad, in words.
        graph: for the server.
        words: what a message may call the input.
    """

    node: str
    name: str
    label: str
    graph: Graph
    words: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """An input of a node, with the graph that the node runs in."""

    node: str
    graph: Graph
    name: str
    kind: str
    options: dict[str, Any]
    required: bool
    files: tuple[str, ...] = ()


def places(info: dict[str, Any], graphs: list[NodeGraph], files: dict[str, list[str]]) -> list[Place]:
    """List all inputs of the nodes in `graphs`; `files` has names of wrong files for each mark of an input."""
    found = []
    for own in graphs:
        node = own.node
        for category in ("required", "optional"):
            for name, (kind, *more) in info[node]["input"].get(category, {}).items():
                options = more[0] if more else {}
                kind = "COMBO" if isinstance(kind, list) else kind
                mark = options.get("exo2ego_file", {}).get("kind") or f"{node}.{name}"
                names = tuple(files.get(mark, files.get(node, ()))) if kind == "COMBO" else ()
                found.append(Place(node, own.graph, name, kind, options, category == "required", names))
    return found


def missing_cases(all_places: list[Place]) -> list[Case]:
    """Return a case for each required input: it is not there."""
    cases = []
    for place in all_places:
        if place.required:
            graph = _copy(place.graph)
            graph[NODE]["inputs"].pop(place.name, None)
            cases.append(_case(place, "missing", graph))
    return cases


def random_cases(all_places: list[Place], seed: int, count: int) -> list[Case]:
    """Return `count` cases, as many for each input as for any other."""
    cases = []
    for number in range(count):
        place = all_places[number % len(all_places)]
        rng = random.Random(f"{seed} {number} {place.node} {place.name}")
        is_widget = place.kind in _WIDGETS
        if place.files and rng.random() < 0.6:
            cases.append(_set(place, rng.choice(place.files)))
        elif is_widget and rng.random() < 0.75:
            cases.append(_set(place, _bad_value(place, rng)))
        else:
            cases.append(_spoilt(place, rng.randrange(2**31)))
    return cases


def _bad_value(place: Place, rng: random.Random) -> Any:
    if place.kind in ("INT", "FLOAT"):
        low, high = place.options.get("min", -1), place.options.get("max", 1)
        return rng.choice([*NUMBERS, low, low - 1, high + 1, 2 * high, rng.uniform(low, min(high, low + 300))])
    if place.kind == "BOOLEAN":
        return rng.choice(["", "false", 0, 2, math.nan, {}, "x", 10**30, {"__value__": [0, 0, 0]}])
    return rng.choice(TEXTS if place.kind == "STRING" else OPTIONS)


def _set(place: Place, value: Any) -> Case:
    graph = _copy(place.graph)
    graph[NODE]["inputs"][place.name] = value
    shown = repr(value)
    return _case(place, f"= {shown[:60]}{'...' if len(shown) > 60 else ''}", graph, value)


def _spoilt(place: Place, seed: int) -> Case:
    """Return the case of a stand-in node between the input and what gives its value, or an example of its socket."""
    graph = _copy(place.graph)
    inputs = {"seed": seed, "socket": place.kind}
    now = graph[NODE]["inputs"].get(place.name)
    source = now if isinstance(now, list) else _output_of(graph, place)
    if source is not None:
        inputs["of"] = source
    graph[SPOIL] = {"class_type": "StandInSpoil", "inputs": inputs, "_meta": {"title": "Spoil"}}
    graph[NODE]["inputs"][place.name] = [SPOIL, 0]
    return _case(place, f"spoilt by {seed}", graph)


def _output_of(graph: Graph, place: Place) -> list[Any] | None:
    """Return what another input of the node of the same kind is linked to."""
    like = re.sub(r"_?\d+", "", place.name).split("_")[-1]
    links = {name: value for name, value in graph[NODE]["inputs"].items() if isinstance(value, list)}
    return next((value for name, value in links.items() if name.split("_")[-1] == like), None)


def _case(place: Place, label: str, graph: Graph, value: Any = None) -> Case:
    plain = place.name.replace("_", " ")
    words = [place.name, plain, str(place.options.get("display_name") or plain), *_CALLED.get(place.kind, ())]
    words += [word for word in plain.split() if len(word) > 3]
    if isinstance(value, str):  # a file, or what else was chosen or written
        words += [part for part in [value[:40], *re.split("[/#]", value)] if 3 < len(part) < 60]
    return Case(place.node, place.name, label, graph, tuple(words))


def _copy(graph: Graph) -> Graph:
    return copy.deepcopy(graph)


def mutated_workflows(graphs: dict[str, Graph], kinds: dict[str, dict[str, Any]], seed: int, count: int) -> list[Case]:
    """Return whole workflows with one value of one of the pack's nodes changed, dropped or linked elsewhere.

    Args:
        graphs: small workflows by name, each with an output.
        kinds: what `/object_info` tells.
        seed: of the draw.
        count: how many.
    """
    cases = []
    for number in range(count):
        rng = random.Random(f"workflow {seed} {number}")
        name = rng.choice(sorted(graphs))
        graph = _copy(graphs[name])
        key = rng.choice([key for key, node in graph.items() if node["class_type"].startswith("Exo2Ego")])
        inputs, node = graph[key]["inputs"], graph[key]["class_type"]
        changed = rng.choice(list(inputs))
        # A circle of links is ComfyUI's own to refuse.
        links = [other for other in graph if other != LOOK and key not in needed(graph, [other])]
        if isinstance(inputs[changed], list):
            other = rng.choice(links)
            value = [other, rng.randrange(max(1, len(kinds[graph[other]["class_type"]]["output"])))]
            ways = [value, value, None, "text", [inputs[changed][0], 0]]
        else:
            ways = [rng.choice(NUMBERS), rng.choice(TEXTS), rng.choice(OPTIONS)]
        value = rng.choice(ways)
        inputs[changed] = value
        shown = repr(value)[:60]
        cases.append(Case(node, changed, f"{name}: = {shown}", graph, (changed, changed.replace("_", " "))))
    return cases
