"""The house's rules that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMFYUI = frozenset(
    {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "node_helpers", "nodes", "server"}
)
TORCH = frozenset({"torch", "torchvision", "torchaudio"})
# What lies on the path of developers' tools and of tests; the pack knows none of it.
OUTSIDE = frozenset({"pack", "environment", "demo", "support", "exo2ego"})
HEAVY = {"kornia", "matplotlib", "transformers", "av", "PIL", "diffusers", "pytorch3d", "ray", "triton", "numba"}
HEAVY |= {"accelerate", "peft", "tensorboard"}  # the trainer's
HEAVY |= {"cv2", "lpips", "stlpips_pytorch", "skimage"}  # the evaluation's


@dataclass(frozen=True)
class Floor:
    """What a floor may import of the pack, and what it must not import at all.

    Attributes:
        may: folders and modules below it.
        never: libraries, by their top name.
    """

    may: tuple[str, ...] = ()
    never: frozenset[str] = COMFYUI


_COMMANDS = ("commands/comfyui", "commands/program")  # what commands share
_BELOW_NODES = ("common", "geometry", "attention", "networks", "takes", "evaluation", "wan")
# Part of the takes' floor that the batch command reads without torch.
TORCH_FREE_TAKES = ("takes/files", "takes/listing", "takes/egox/layout", "takes/ego_exo4d/layout")
# Part of wan that knows no ComfyUI: how EgoX runs, for nodes and trainer alike.
PURE_WAN = ("wan/egox/match", "wan/egox/model_input", "wan/egox/prompt", "wan/egox/prompt_sections")

# From the ground up. The longest name that fits a file is its floor.
FLOORS = {
    "common": Floor(never=COMFYUI | TORCH),
    "geometry": Floor(may=("common",)),
    "attention": Floor(may=("common",)),
    "networks": Floor(may=("common",)),
    "takes": Floor(may=("common", "geometry", *TORCH_FREE_TAKES)),
    "takes/files": Floor(may=("common",), never=COMFYUI | TORCH),
    "takes/listing": Floor(may=("common", "takes/files"), never=COMFYUI | TORCH),
    "takes/egox/layout": Floor(may=("common", "takes/files"), never=COMFYUI | TORCH),
    "takes/ego_exo4d/layout": Floor(may=("common", "takes/files", "takes/listing"), never=COMFYUI | TORCH),
    **{name: Floor(may=("common", "geometry", "attention")) for name in PURE_WAN},
    "wan": Floor(may=("common", "geometry", "attention", "networks", *PURE_WAN), never=frozenset()),
    "measure": Floor(may=("common", "geometry", "attention", "takes", "wan", *PURE_WAN), never=frozenset()),
    "training": Floor(
        may=("common", "geometry", "attention", "networks", "takes", "evaluation", "nodes/drawings", *PURE_WAN)
    ),
    "evaluation": Floor(may=("common", "geometry", "takes", *TORCH_FREE_TAKES)),
    "nodes/drawings": Floor(may=("common", "geometry")),
    "nodes": Floor(may=(*_BELOW_NODES, "nodes/drawings"), never=frozenset()),
    "commands/comfyui": Floor(may=("common",), never=COMFYUI | TORCH),
    "commands/batch": Floor(may=("common", *_COMMANDS, *TORCH_FREE_TAKES), never=COMFYUI | TORCH),
    "commands/convert": Floor(may=("common", "commands/program", "networks")),
    "commands/doctor": Floor(may=("common", *_COMMANDS, "networks")),
    "commands/evaluate": Floor(may=("common", "commands/program", "evaluation")),
    "commands/gpu": Floor(may=("common", "commands/program", "measure")),
    "commands/training": Floor(may=("common", "commands/program", "training")),
    "commands/main": Floor(may=("commands/program",), never=COMFYUI | TORCH),
    "commands/program": Floor(never=COMFYUI | TORCH),
    "commands/__init__": Floor(never=COMFYUI | TORCH),
}
# Walls that are planned and do not stand yet: a file, and what it imports.
NOT_YET: set[tuple[str, str]] = set()
CIRCLES_TODAY: set[frozenset[str]] = set()
# Imported only where Triton runs: kernels cannot be written without it.
# Compiled files, which only those import who compile.
COMMON_USES = {("common/memory", "psutil")}  # how much memory is free; ComfyUI requires it
KERNELS = {
    *(ROOT / "attention" / "backends").glob("triton_*kernel.py"),
    *(ROOT / "takes" / "rooms").glob("compiled_*.py"),
    *(ROOT / "geometry" / "points").glob("compiled_*.py"),
}
TOP_FOLDERS = sorted({floor.partition("/")[0] for floor in FLOORS})
FILES = sorted(path for folder in TOP_FOLDERS for path in (ROOT / folder).rglob("*.py"))


def place_of(path: Path) -> str:
    """Return a file's place in the pack, such as `geometry/cameras/camera`."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def floor_of(place: str) -> str:
    """Return the floor that a place belongs to, or "" if it belongs to none."""
    return max((floor for floor in FLOORS if _within(place, floor)), key=len, default="")


def _within(place: str, folder: str) -> bool:
    return place == folder or place.startswith(f"{folder}/")


def imports_of(text: str, place: str) -> Iterator[tuple[int, str]]:
    """Give (level, what) of every import: a module's dotted name at level 0, else a place in the pack."""
    folder = PurePosixPath(place).parent
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield 0, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = PurePosixPath(*folder.parts[: len(folder.parts) - node.level + 1])
            base = base / (node.module or "").replace(".", "/")
            for alias in node.names:
                inner = base / alias.name
                is_module = (ROOT / inner).with_suffix(".py").is_file() or (ROOT / inner).is_dir()
                yield node.level, (inner if is_module else base).as_posix()


def faults(text: str, place: str) -> list[str]:
    """Return what a file at a place imports against its floor's rules."""
    name = floor_of(place)
    floor = FLOORS[name]
    found = []
    for level, what in imports_of(text, place):
        top = what.split(".")[0]
        if level == 0 and (top in floor.never or top in OUTSIDE):
            found.append(what)
        if level == 0 and name == "common" and top not in sys.stdlib_module_names and (place, top) not in COMMON_USES:
            found.append(what)
        if level and not (floor_of(what) == name or any(_within(what, folder) for folder in floor.may)):
            found.append(what)
    return found


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_imports_point_downward(path):
    place = place_of(path)
    against = {(place, what) for what in faults(path.read_text(), place)}
    known = {pair for pair in NOT_YET if pair[0] == place}
    assert against == known, "a wall of NOT_YET that stands now is taken out of the list"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("common/made_up", "import numpy"),
        ("common/made_up", "from ..geometry.cameras.camera import Camera"),
        ("geometry/cameras/made_up", "import comfy.utils"),
        ("geometry/cameras/made_up", "from ...takes.take import Take"),
        ("attention/made_up", "from ..geometry.plucker import ray_model"),
        ("networks/weights/made_up", "if TYPE_CHECKING:\n    import comfy.model_patcher"),
        ("networks/made_up", "from ..wan.egox import lora"),
        ("takes/files", "def read():\n    import torch"),
        ("takes/egox/layout", "from .meta import read_meta"),
        ("takes/ego_exo4d/layout", "from .poses import CameraPoses"),
        ("takes/made_up", "from ..wan.shared.vae import encode"),
        ("wan/egox/made_up", "from ...nodes.common.schema import node"),
        ("wan/egox/made_up", "from ...takes.take import Take"),
        ("nodes/drawings/made_up", "from comfy_api.latest import io"),
        ("nodes/drawings/made_up", "from ..common.schema import node"),
        ("nodes/egox/made_up", "from ...commands.batch.cli import main"),
        ("commands/comfyui/made_up", "from ..batch.journal import Journal"),
        ("commands/comfyui/made_up", "import torch"),
        ("commands/batch/made_up", "from ...takes.egox import read"),
        ("commands/batch/made_up", "import comfy"),
        ("commands/doctor/made_up", "from ...wan.egox.lora import read_lora"),
        ("commands/doctor/made_up", "import folder_paths"),
        ("wan/egox/match", "from ..shared.vae import encode"),
        ("wan/egox/match", "import comfy.utils"),
        ("evaluation/made_up", "import comfy.utils"),
        ("evaluation/made_up", "from ..wan.egox.match import Match"),
        ("evaluation/made_up", "from ..nodes.drawings.plots import coverage_chart"),
        ("measure/made_up", "from ..nodes.common.schema import node"),
        ("commands/gpu/made_up", "import comfy.utils"),
        ("training/made_up", "import comfy.utils"),
        ("training/made_up", "from ..wan.egox.apply import apply_egox"),
        ("nodes/egox/made_up", "from ...training.settings import Settings"),
        ("wan/shared/made_up", "import environment"),
        ("wan/shared/made_up", "import exo2ego.wan.shared.vae"),
    ],
)
def test_a_wall_is_seen(place, text):
    assert faults(text, place)


@cache
def imports_by_place() -> dict[str, set[str]]:
    """Return what each file imports of the pack, type-only imports included."""
    found = {}
    for path in FILES:
        targets = {what for level, what in imports_of(path.read_text(), place_of(path)) if level}
        found[place_of(path)] = {what for what in targets if (ROOT / what).with_suffix(".py").is_file()}
    return found


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the groups of files that import each other, directly or by way of others."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, left = set(), [start]
        while left:
            for target in graph.get(left.pop(), set()) - seen:
                seen.add(target)
                left.append(target)
        reached[start] = seen
    return {frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in graph if a in reached[a]}


def test_no_circle_of_imports():
    assert circles(imports_by_place()) == CIRCLES_TODAY


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}
    assert circles({"a": {"b"}, "b": set()}) == set()


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_heavy_libraries_are_imported_where_they_are_used(path):
    if path in KERNELS:
        return
    for node in ast.parse(path.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        assert not {name.split(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_files_are_short_and_plain(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    text.encode("cp1252")  # the registry's checks read files so


def test_folders_are_seen_at_a_glance():
    files = Counter(path.parent for folder in (*TOP_FOLDERS, "tools") for path in (ROOT / folder).rglob("*.py"))
    assert {place_of(folder): count for folder, count in files.items() if count > 17} == {}
    deep = {place_of(folder) for folder in files if len(folder.relative_to(ROOT).parts) > 2}
    assert deep <= {"commands/doctor/checks", "commands/doctor/reading"}  # these go, and then this exception


def loaded_by(places: list[str], of: set[str]) -> str:
    """Import places in an interpreter of its own; returns which libraries that loaded, as text."""
    modules = [f"exo2ego.{place.replace('/', '.').removesuffix('.__init__')}" for place in places]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import pack; pack.register()\n"
        f"import importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted({of!r} & set(sys.modules)))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_pure_floors_load_no_heavy_library():
    """What everything but `wan` and `nodes` imports beside torch and numpy; drawings belong to the pure."""
    pure = [
        place_of(path) for path in FILES if "comfy" in FLOORS[floor_of(place_of(path))].never and path not in KERNELS
    ]
    assert loaded_by(pure, HEAVY | COMFYUI) == "[]"


def test_the_commands_and_what_they_read_of_takes_load_no_torch():
    free = [
        place_of(path)
        for path in FILES
        if "torch" in FLOORS[floor_of(place_of(path))].never or _within(place_of(path), "commands/doctor")
    ]
    assert len(free) > 30
    assert loaded_by(free, {"torch", "numpy", *COMFYUI}) == "[]"
