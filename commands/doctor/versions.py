"""Are Python, torch, ComfyUI, its frontend and the libraries new enough?"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...common.paths import is_file, is_there
from ..comfyui.state import Server
from .findings import Finding, Severity
from .installation import Installation

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_CHECK = "versions"

OLDEST_COMFYUI = "0.3.60"  # the first with optimized_attention_override
_OLDEST_PYTHON = "3.10"
_OLDEST_TORCH = "2.5"  # the first with FlexAttention
_OF_COMFYUI = ("comfyui-frontend-package", "transformers", "av", "safetensors")

_UPDATE = "Update ComfyUI: git pull in its folder, then pip install -r requirements.txt there; or ComfyUI-Manager."


def check_versions(installation: Installation | None, server: Server | None) -> list[Finding]:
    """Check the versions: the server's own where it is asked, and those of the Python that runs the doctor."""
    findings = [] if _can_compare() else [_NOT_COMPARED]
    if server is not None:
        findings += _check_server(server)
    elif installation is not None:
        findings += _check_comfyui(comfyui_version(installation))
        findings += _check_at_least("Python", python_version(), _OLDEST_PYTHON, "Install a newer ComfyUI and Python.")
    if installation is not None:
        findings += _check_this_python(installation)
    return findings


def comfyui_version(installation: Installation) -> str | None:
    """Return ComfyUI's version, None where its code is not known or too old to say."""
    text = None if installation.comfyui is None else _text_of(installation.comfyui / "comfyui_version.py")
    if text is None:
        return None
    match = re.search(r'__version__\s*=\s*["\']([^"\']+)', text)
    return None if match is None else match[1]


def _text_of(path: Path) -> str | None:
    """Return what a file says; None where it cannot be read. Letters that are no UTF-8 are none of those looked for."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if is_file(path) else None
    except OSError:
        return None


def python_version() -> str:
    """Return this Python's version."""
    return ".".join(map(str, sys.version_info[:3]))


def installed(name: str) -> str | None:
    """Return the version of a distribution in this Python, None if it is not there."""
    try:
        return version(name)
    except (PackageNotFoundError, KeyError, ValueError, OSError):  # its metadata may be damaged
        return None


def is_older(found: str, wanted: str) -> bool:
    """Whether a version is older than another; False where they cannot be compared. 2.11.0+cu128 is not older."""
    if not _can_compare():
        return False
    from packaging.version import InvalidVersion, Version

    try:
        return Version(found.rstrip("+")) < Version(wanted)  # a Python built from its repository is called 3.14.0a1+
    except InvalidVersion:
        return False


def _can_compare() -> bool:
    """Whether `packaging` is here; it comes with ComfyUI's requirements (transformers)."""
    try:
        import packaging  # noqa: F401
    except ImportError:
        return False
    return True


def _check_comfyui(found: str | None) -> list[Finding]:
    if found is None:
        return [
            _finding(
                Severity.WARNING,
                "the version of ComfyUI is not known",
                f"ComfyUI {OLDEST_COMFYUI} or newer",
                "Give ComfyUI's own folder with --comfyui, or a running one with --server.",
            )
        ]
    return _check_at_least("ComfyUI", found, OLDEST_COMFYUI, _UPDATE)


def _check_server(server: Server) -> list[Finding]:
    system = server.system
    findings = _check_comfyui(system["comfyui_version"])
    if python := system.get("python_version"):
        findings += _check_at_least("Python", python.split()[0], _OLDEST_PYTHON, "Install a newer ComfyUI and Python.")
    if torch := system.get("pytorch_version"):
        findings += _check_torch(torch)
    return findings


def _check_this_python(installation: Installation) -> list[Finding]:
    torch = installed("torch")
    if torch is None:
        return [
            _finding(
                Severity.WARNING,
                f"{sys.executable} has no torch, so it is not the Python that runs ComfyUI",
                "ComfyUI's own Python, whose libraries can be checked",
                f"Run the doctor with {_python_of(installation)}.",
            )
        ]
    findings = _check_torch(torch)
    for file, names in ((installation.pack / "requirements.txt", None), (_requirements(installation), _OF_COMFYUI)):
        findings += _check_requirements(file, names)
    return findings + _check_triton(torch)


def _check_torch(found: str) -> list[Finding]:
    if not is_older(found, _OLDEST_TORCH):
        return []
    return [
        _finding(
            Severity.WARNING,
            f"torch {found}",
            f"torch {_OLDEST_TORCH} or newer, which has FlexAttention, one of GGA's back ends",
            "Update torch as ComfyUI's page for your system says; until then GGA does without it.",
        )
    ]


def _check_triton(torch: str) -> list[Finding]:
    """GGA's fast path is a Triton kernel; Triton needs an NVIDIA or AMD card, and torch for CPUs has no use for it."""
    if find_spec("triton") is not None or "+cpu" in torch or sys.platform == "darwin":
        return []
    command = "pip install triton-windows" if sys.platform == "win32" else "pip install triton"
    return [
        _finding(
            Severity.WARNING,
            "Triton is not installed: GGA leaves out its fast back ends and runs on plain torch",
            "Triton in the version that belongs to torch; the result is the same, the sampling faster",
            f"{command} with {sys.executable}, in the version that torch {torch} asks for.",
        )
    ]


def _check_requirements(file: Path | None, names: tuple[str, ...] | None) -> list[Finding]:
    if file is None or not is_file(file) or not _can_compare():
        return []
    text = _text_of(file)
    if text is None:
        return [
            _finding(
                Severity.WARNING,
                f"{file} cannot be read, so the libraries that it asks for were not checked",
                "a text file that this user may read",
                "Check the file's rights, or put its folder there anew.",
            )
        ]
    findings = []
    for line in text.splitlines():
        asked = _asked(line)
        if asked is None or (names is not None and asked[0].lower() not in names):
            continue
        name, versions = asked
        found = installed(name)
        if found is None or not versions.contains(found, prereleases=True):
            findings.append(
                _finding(
                    Severity.ERROR if names is None else Severity.WARNING,
                    f"{name} {found or 'is not installed'}",
                    f"{name} {versions}, as {file} asks",
                    f'"{sys.executable}" -m pip install -r "{file}"',
                )
            )
    return findings


def _asked(line: str) -> tuple[str, SpecifierSet] | None:
    """Return the library of a line and the versions that do; None where the line asks for none on this system.

    A pinned version (`==`) is the oldest that does: ComfyUI pins its frontend, and newer ones are installed on purpose.
    """
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import SpecifierSet

    try:
        requirement = Requirement(line.partition("#")[0].strip())
        if not requirement.specifier or (requirement.marker is not None and not requirement.marker.evaluate()):
            return None
    except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):  # an empty line, an option of pip's
        return None
    oldest = (
        f">={one.version.removesuffix('.*')}" if one.operator == "==" else str(one) for one in requirement.specifier
    )
    return requirement.name, SpecifierSet(",".join(oldest))


def _requirements(installation: Installation) -> Path | None:
    return None if installation.comfyui is None else installation.comfyui / "requirements.txt"


def _python_of(installation: Installation) -> str:
    """Return the path of ComfyUI's Python where it lies in a usual place."""
    root = installation.comfyui or installation.base
    for place in (
        root / "venv" / "bin" / "python",
        root / ".venv" / "bin" / "python",
        root / "venv" / "Scripts" / "python.exe",
        root / ".venv" / "Scripts" / "python.exe",
        root.parent / "python_embeded" / "python.exe",  # the portable build, which spells it so
    ):
        if is_there(place):
            return str(place)
    return "the Python that starts ComfyUI's main.py"


def _check_at_least(what: str, found: str, wanted: str, remedy: str) -> list[Finding]:
    if not is_older(found, wanted):
        return []
    return [_finding(Severity.ERROR, f"{what} {found}", f"{what} {wanted} or newer", remedy)]


def _finding(severity: Severity, found: str, expected: str, remedy: str) -> Finding:
    return Finding(_CHECK, severity, found, expected, remedy)


_NOT_COMPARED = _finding(
    Severity.WARNING,
    f"{sys.executable} has no packaging, so no versions were compared",
    "ComfyUI's own Python, whose libraries include packaging",
    "Run the doctor with the Python that starts ComfyUI's main.py, or: pip install packaging",
)
