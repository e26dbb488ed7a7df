"""Bad inputs of every kind for every input of every node, on the real server: told clearly, or worked out rightly.

They are drawn anew from a seed, which a failure names: EXO2EGO_SEED=N runs the same ones again, and EXO2EGO_BAD_INPUTS
says how many. A node is covered once it is in a shipped workflow.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.bad_inputs.advice import says_what_to_do
from support.bad_inputs.cases import Case, Place, missing_cases, mutated_workflows, places, random_cases
from support.bad_inputs.files import write_wrong_files
from support.bad_inputs.graphs import NodeGraph, graphs_of_nodes, small_graph, write_files
from support.bad_inputs.outcome import Outcome, complaint
from support.bad_inputs.run import AHEAD, Server

SEED = int(os.environ.get("EXO2EGO_SEED", "12"))
COUNT = int(os.environ.get("EXO2EGO_BAD_INPUTS", "1000"))
MEMORY = 1.5e9  # bytes that a bad input may take beside what the server has
# Bytes by which the server may grow over a soak: caches fill, and what is freed is not all given back at once.
GROWTH = 300e6
ROUNDS = 3
GOOD = 1e6  # seconds: good graphs are never stopped, however slow the machine is
WORKFLOWS = ("ego_prior", "ego_camera", "egox_take")


@dataclass(frozen=True)
class Broken:
    """The server, its nodes as they are told, and what may go wrong."""

    server: Server
    info: dict[str, Any]
    graphs: list[NodeGraph]
    places: list[Place]

    def complaints(self, cases: Iterable[Case]) -> list[str]:
        """Run cases; returns what is wrong with their outcomes."""
        before = self.server.memory()
        found, suspects = [], {}
        cases = list(cases)
        for number, (case, outcome, peak) in enumerate(self.server.outcomes((case, case.graph) for case in cases)):
            if text := complaint(outcome, case.node, list(case.words)):
                found.append(told(case, outcome, text))
            if outcome.kind == "refused":
                suspects.pop(number, None)
            elif before is not None and peak - before > MEMORY:
                # Its own, or of one that had begun when it was over.
                suspects.update(enumerate(cases[number : number + AHEAD + 1], start=number))
        for case in suspects.values():
            outcome, rise = self.server.alone(case.graph)
            if rise > MEMORY:
                found.append(told(case, outcome, f"{rise / 1e9:.1f} GB of memory"))
        return found


@pytest.fixture(scope="module")
def broken(comfy_server) -> Iterator[Broken]:
    """Wrong files lie in the server's folders, and the nodes' good inputs are made. What was written goes again."""
    before = files_of(comfy_server.base)
    try:
        yield prepared(comfy_server)
    finally:  # also where the good inputs could not be made: other tests' lists of models are not to hold these
        for path in sorted(files_of(comfy_server.base) - before, reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        Server(comfy_server.url, comfy_server.pid).post("/history", {"clear": True})  # NaN, which no editor can read


def prepared(comfy_server) -> Broken:
    """Write the files and run what makes the good inputs."""
    write_files(comfy_server.base)
    files = write_wrong_files(comfy_server.base, SEED)
    server = Server(comfy_server.url, comfy_server.pid)
    info = server.get("/object_info")
    # What has no inputs gets no bad ones.
    ours = {name: entry for name, entry in info.items() if name.startswith("Exo2Ego") and inputs_of(entry)}
    nodes = {name: len(entry["output"]) for name, entry in ours.items()}
    keeping, graphs = graphs_of_nodes(nodes)
    for _, outcome, _ in server.outcomes(((None, graph) for graph in keeping), GOOD):
        assert outcome.kind == "done", outcome
    return Broken(server, info, graphs, places(info, graphs, files))


def told(case: Case, outcome: Outcome, text: str) -> str:
    """A line on an outcome that is not allowed."""
    return f"{case.node}.{case.name} | {case.label} | {outcome.spoilt} | {text[:400]}"


def inputs_of(entry: dict[str, Any]) -> list[str]:
    """The inputs of a node, as `/object_info` tells of it."""
    return [name for category in ("required", "optional") for name in entry["input"].get(category, {})]


def files_of(base: Path) -> set[Path]:
    """Everything in the folders that others read: input and models."""
    return {path for folder in ("input", "models") for path in (base / folder).rglob("*")}


def report(found: list[str]) -> str:
    return f"EXO2EGO_SEED={SEED}: {len(found)} outcomes are not allowed\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("The input 'camera' takes a camera; got nothing (None). Connect Camera or Load Take.", True),
        ("a.npz is truncated, corrupt or not a NumPy file. Copy it again.", True),
        ("x.safetensors cannot be read (it is empty): download it again.", True),
        ("Depth and camera are of two clips; cut the longer one.", True),
        ("The file is not whole, or of another model. It was not opened, or choose another one.", True),
        ("The input 'form' takes one of 'paper', 'release'; got 5.", True),
        ("The width of a take is a multiple of 16 pixels, got 7.", True),
        ("GGA's strength lies between 0 and 10, got 11.", True),
        ("Expected the keypoints of at least one frame, got none.", False),
        ("The exo video has 5 frames, the ego prior 6: both must be one clip.", False),
        ("near and far belong to normalised inverse depth, not to metric depth.", False),
        ("Width, set by the file, and height do not fit the write order or load of this clip.", False),
        ("a.json contains no camera that this pack can read: it is not glTF 2.0.", False),
        ("The matrices hold NaN or infinity: every entry is a finite number.", False),
    ],
)
def test_what_counts_as_saying_what_to_do(text, tells):
    assert says_what_to_do(text) is tells


def test_memory_is_that_of_the_graph_alone(comfy_server):
    """A large picture is counted each time, and not with the small one that comes after it."""
    server = Server(comfy_server.url, comfy_server.pid)
    if server.memory() is None:
        pytest.skip("no /proc on this system tells a process' memory")
    for side in (4096, 16, 4096, 16):
        inputs = {"width": side, "height": side, "batch_size": 2, "color": 0}
        graph = {"1": {"class_type": "EmptyImage", "inputs": inputs}}
        graph["2"] = {"class_type": "StandInLook", "inputs": {"value_0": ["1", 0]}}
        outcome, rise = server.alone(graph, GOOD)
        assert outcome.kind == "done", outcome
        size = 2 * side * side * 3 * 4  # bytes
        least = 0.9 * size if size > 50e6 else -50e6  # what is small may lie in memory that was freed before
        assert least < rise < 5 * size + 50e6, f"{side}: {rise / 1e6:.0f} MB"


def test_good_inputs_run(broken):
    """So that what fails below fails for what is bad."""
    for graph, outcome, _ in broken.server.outcomes(((own, own.graph) for own in broken.graphs), GOOD):
        assert (outcome.kind, outcome.not_finite) == ("done", ()), f"{graph.node}: {outcome}"


def test_missing_inputs(broken):
    found = broken.complaints(missing_cases(broken.places))
    assert not found, report(found)


def test_bad_inputs(broken):
    cases = sorted(random_cases(broken.places, SEED, COUNT), key=lambda case: case.node)
    found = broken.complaints(cases)
    assert not found, report(found)


def test_workflows_with_one_value_changed(broken):
    graphs = {name: small_graph(name) for name in WORKFLOWS}
    found = broken.complaints(mutated_workflows(graphs, broken.info, SEED, COUNT // 25))
    assert not found, report(found)


def test_soak(broken):
    """The same prompts in a row give the same results, and the server does not grow."""
    results: dict[str, tuple[str, ...]] = {}
    sizes = []
    for _ in range(ROUNDS):
        for own, outcome, _ in broken.server.outcomes(((own, own.graph) for own in broken.graphs), GOOD):
            assert outcome.kind == "done", f"{own.node}: {outcome}"
            assert results.setdefault(own.node, outcome.digests) == outcome.digests, own.node
        sizes.append(broken.server.memory())
    assert None in sizes or sizes[-1] - sizes[0] < GROWTH, sizes


def test_interrupts_at_any_moment(broken):
    """After an interrupt, whenever it comes, the queue is empty and the next prompt runs."""
    rng = random.Random(SEED)
    for own in broken.graphs:
        _, answer = broken.server.post("/prompt", {"prompt": own.graph})
        time.sleep(rng.choice([0, 0.01, 0.05, 0.2]))
        broken.server.post("/interrupt", {})
        ended = broken.server.wait(answer["prompt_id"], GOOD)
        assert ended.kind in ("done", "stopped"), f"EXO2EGO_SEED={SEED}: {own.node}: {ended}"
    assert broken.server.get("/queue") == {"queue_running": [], "queue_pending": []}
    test_good_inputs_run(broken)
