"""The house's rules that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "node_helpers", "nodes", "server"}

# Each layer and the layers it may import.
LAYERS = {
    "geometry": set(),
    "attention": set(),
    "networks": set(),
    "media": {"geometry"},
    "takes": {"geometry", "media"},
    "wan": {"attention", "geometry", "networks"},
    # Runs beside ComfyUI, not in it, and without torch.
    "batch": {"takes"},
    "nodes": {"attention", "geometry", "media", "networks", "takes", "wan"},
    "doctor": {"networks", "wan"},
    # Runs beside ComfyUI, not in it.
    "convert": {"networks"},
}
PURE = {"geometry", "attention", "networks", "media", "takes", "doctor", "batch", "convert"}
HEAVY = {"kornia", "matplotlib", "transformers", "av", "PIL", "diffusers", "pytorch3d", "ray", "triton"}
# Imported only where Triton runs: kernels cannot be written without it.
KERNELS = {ROOT / "attention" / "triton_kernel.py"}
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import of a file; level counts the dots of a relative one."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, node.module or alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downward(path):
    layer = path.relative_to(ROOT).parts[0]
    for level, module in imports_of(path):
        top = module.split(".")[0]
        if level == 0 and layer in PURE:
            assert top not in COMFYUI, f"{layer}/ is pure torch but imports {module}"
        if level == 0:
            assert top not in LAYERS or top == "nodes", f"import {module} relatively"
        if level == 2:
            assert top in LAYERS[layer], f"{layer}/ must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_are_imported_where_they_are_used(path):
    if path in KERNELS:
        return
    for node in ast.parse(path.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        assert not {name.split(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_plain(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    text.encode("cp1252")  # the registry's checks read files so


def test_the_pure_layers_load_no_heavy_library():
    """In an interpreter of its own: what geometry, attention, media and takes import beside torch and numpy."""
    modules = [
        f"exo2ego.{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] in PURE and path not in KERNELS
    ]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import pack; pack.register()\n"
        f"import importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
