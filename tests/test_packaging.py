"""What `pip install .` gives: the wheel, in a Python that has nothing else, runs the pack's commands."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from exo2ego.commands.main import COMMANDS
from exo2ego.networks.components.metadata import Component
from support.comfyui import comfyui_folder
from support.tiny_egosyn import tiny_component

tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml takes Python 3.11")

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Of the checkout alone: what developers run, and what builds and tests leave.
NOT_SHIPPED = {"tests", "tools", "output", "build"}

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_every_package_of_the_tree_is_listed():
    folders = {path.parent.relative_to(ROOT).parts for path in ROOT.rglob("*.py")}
    shipped = {parts for parts in folders if not parts or not (parts[0] in NOT_SHIPPED or parts[0].startswith("."))}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert listed == sorted(".".join(("exo2ego", *parts)) for parts in shipped)


def test_what_comfyui_installs_is_the_extra_of_that_name():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines == PROJECT["project"]["optional-dependencies"]["comfyui"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build in a copy: a build leaves folders behind."""
    pytest.importorskip("setuptools", minversion="77", reason="no setuptools here that builds the wheel")
    copy = tmp_path_factory.mktemp("checkout") / "pack"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", *NOT_SHIPPED))
    code = "import sys\nfrom setuptools import build_meta\nbuild_meta.build_wheel(sys.argv[1])"
    target = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", code, str(target)], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of a virtual environment that holds the wheel and nothing else, not even pip."""
    pip = _pip()
    if pip is None:
        pytest.skip("no Python here has pip 22.3 or newer, which installs into another environment")
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, symlinks=os.name != "nt")
    options = ("install", "--no-deps", "--no-index", "--quiet", str(wheel))
    done = subprocess.run([*pip, "--python", str(_python(folder)), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def bare(installed, tmp_path) -> Run:
    """Run the installed script, in a folder of its own, without any library."""
    return _runner(installed, tmp_path, {})


@pytest.fixture
def equipped(installed, tmp_path) -> Run:
    """Run the installed script with the libraries of the tests, as the extras would bring them."""
    return _runner(installed, tmp_path, {"PYTHONPATH": sysconfig.get_path("purelib")})


def _pip() -> list[str] | None:
    """Return the command of a pip that knows `--python`; the environment of the tests has none."""
    for python in (sys.executable, getattr(sys, "_base_executable", ""), shutil.which("python3")):
        command = [str(python), "-m", "pip"]
        if python and subprocess.run([*command, "--python", python, "--version"], capture_output=True).returncode == 0:
            return command
    return None


def _python(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _runner(folder: Path, cwd: Path, more: dict[str, str]) -> Run:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        script = _python(folder).with_name("exo2ego.exe" if os.name == "nt" else "exo2ego")
        command = [str(script), *map(str, words)]
        return subprocess.run(command, cwd=cwd, env=kept | more, capture_output=True, text=True, timeout=3600)

    return run


def package(installed: Path) -> Path:
    """Return the installed package's folder."""
    return next(installed.rglob("exo2ego/__init__.py")).parent


def test_the_licence_is_named_as_spdx_has_it(installed):
    metadata = next(installed.rglob("comfyui_exo2ego-*.dist-info/METADATA")).read_text(encoding="utf-8")
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nLicense-File: LICENSE\n" in metadata


def test_the_script_lists_the_commands(bare):
    done = bare("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: exo2ego ")
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs_or_names_the_extra_that_it_lacks(bare, name):
    done = bare(name, "--help")
    if done.returncode == 0:
        assert done.stdout.startswith(f"usage: exo2ego {name} ")
        return
    assert done.returncode == 2
    assert f"pip install 'comfyui-exo2ego[{name}]'" in done.stderr
    assert "Traceback" not in done.stderr
    lacking = done.stderr.split(" needs ")[1].split(",")[0]
    extra = PROJECT["project"]["optional-dependencies"][name]
    assert any(requirement.startswith(lacking) for requirement in extra)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps(equipped, name):
    done = equipped(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: exo2ego {name} ")


def test_the_doctor_knows_the_shipped_workflows(bare, installed):
    done = bare("doctor", "--comfyui", comfyui_folder(), "--workflow", "egox_take")
    assert done.returncode == 1, done.stderr
    assert "wan2.1_i2v_480p_14B" in done.stdout
    assert str(package(installed)) in done.stdout


def test_a_batch_is_checked(equipped, installed, tmp_path):
    manifest = tmp_path / "clips.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([["name", "take"], ["one", "example room"], ["two", "example room"]])
    workflow = package(installed) / "workflows" / "api" / "ego_prior.json"
    done = equipped("batch", "run", manifest, "--workflow", workflow, "--out", tmp_path / "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 clips" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_conversion_is_checked(equipped, tmp_path):
    source, out = tmp_path / "theirs.safetensors", tmp_path / "lora.safetensors"
    save_file(tiny_component(Component.LORA).tensors, source)
    done = equipped("convert", "lora", source, "--out", out, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"Dry run: {out} was not written." in done.stdout
