"""Find the ComfyUI that this pack belongs to, and the folders where it looks for models and packs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...common.paths import is_file, is_folder, is_there
from .findings import DoctorError, Finding, Severity

CUSTOM_NODES = "custom_nodes"
_PATHS_FILE = "extra_model_paths.yaml"

# ComfyUI's folders for what the shipped workflows load, below its models folder (folder_paths.py), in its order.
_CORE_FOLDERS = {
    "diffusion_models": ("unet", "diffusion_models"),
    "text_encoders": ("text_encoders", "clip"),
    "loras": ("loras",),
    "vae": ("vae",),
    "clip_vision": ("clip_vision",),
}
# ComfyUI adds these below its output folder (main.py): what its own Save nodes write.
_SAVED = ("clip", "vae", "diffusion_models", "loras")
# This pack adds its own after all others.
_OWN_FOLDERS = ("exo2egosyn", "depth_pro", "people", "vlm")
# folder_paths.map_legacy: older names in extra_model_paths.yaml.
_LEGACY = {"unet": "diffusion_models", "clip": "text_encoders"}


@dataclass(frozen=True)
class Installation:
    """A ComfyUI on this machine.

    Attributes:
        pack: this pack's folder.
        comfyui: ComfyUI's code, or None where only its base directory is known.
        base: its base directory, with models and custom_nodes.
        folders: folders by kind (`loras`, `custom_nodes`, ...), in the order in which ComfyUI searches them.
        findings: what is wrong with the files that name more folders.
    """

    pack: Path
    comfyui: Path | None
    base: Path
    folders: dict[str, list[Path]]
    findings: list[Finding] = field(default_factory=list)

    def files(self, kinds: Sequence[str]) -> dict[str, Path]:
        """Return the files of kinds of models, by the name that ComfyUI lists them under; the first folder wins."""
        found: dict[str, Path] = {}
        for kind in kinds:
            for folder in self.folders.get(kind, []):
                for path in _walk(folder):
                    found.setdefault(path.relative_to(folder).as_posix(), path)
        return found

    def place(self, kind: str) -> Path:
        """Return the folder into which a model of a kind is best put: ComfyUI's own."""
        return self.base / "models" / kind


def find_installation(
    pack: Path, comfyui: Path | None = None, base: Path | None = None, configs: Sequence[Path] = ()
) -> Installation:
    """Find ComfyUI by the place of this pack in its `custom_nodes`, or where it is said to be.

    Args:
        pack: this pack's folder, as it is linked, not resolved.
        comfyui: ComfyUI's own folder.
        base: what ComfyUI gets as --base-directory.
        configs: what ComfyUI gets as --extra-model-paths-config.

    Raises:
        DoctorError: if there is none.
    """
    around = pack.parent.parent if pack.parent.name == CUSTOM_NODES else None
    if comfyui is not None and (missing := _lacks(comfyui)):
        raise DoctorError(
            f"{comfyui} is not a ComfyUI folder: it lacks {', '.join(missing)}. Give the folder of its main.py."
        )
    if comfyui is None and around is not None and not _lacks(around):
        comfyui = around
    base = base or (around if comfyui is None else comfyui)
    if base is None:
        raise DoctorError(
            f"This pack is in {pack}, which is not a custom_nodes folder of a ComfyUI. Say where ComfyUI is: --comfyui "
            "FOLDER (with main.py), or --server http://127.0.0.1:8188 for one that runs."
        )
    if not is_folder(base):
        raise DoctorError(f"There is no folder {base}. Give ComfyUI's base directory, with models and custom_nodes.")
    base = base.absolute()
    folders = {kind: [base / "models" / name for name in names] for kind, names in _CORE_FOLDERS.items()}
    folders[CUSTOM_NODES] = [base / CUSTOM_NODES]
    findings = []
    for config in _configs(comfyui, configs):
        findings += _add_folders(folders, config)
    for kind in _SAVED:
        _add(folders, kind, base / "output" / kind)
    for kind in _OWN_FOLDERS:
        _add(folders, kind, base / "models" / kind)
    return Installation(pack, None if comfyui is None else comfyui.absolute(), base, folders, findings)


def _lacks(folder: Path) -> list[str]:
    return [name for name in ("main.py", "folder_paths.py", "comfy") if not is_there(folder / name)]


def _configs(comfyui: Path | None, given: Sequence[Path]) -> list[Path]:
    own = [] if comfyui is None else [comfyui / _PATHS_FILE]
    for config in given:
        if not is_file(config):
            raise DoctorError(f"There is no file {config}. Give the file that ComfyUI gets by the same option.")
    return [path for path in own if is_file(path)] + list(given)


def _add_folders(folders: dict[str, list[Path]], config: Path) -> list[Finding]:
    """Add the folders that a file names, as ComfyUI's utils/extra_config.py does."""
    try:
        import yaml
    except ImportError:
        return [_bad(config, "this Python has no PyYAML to read it", "run the doctor with ComfyUI's own Python")]
    try:
        sections = yaml.safe_load(config.read_text(encoding="utf-8"))
        for section in sections.values():
            _add_section(folders, section, config.absolute().parent)
    except (AttributeError, TypeError) as error:
        return [_bad(config, f"it is not of the expected form ({error})", f"write it as {config.name}.example shows")]
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        return [_bad(config, f"it cannot be read ({why})", "fix it or move it away")]
    return []


def _add_section(folders: dict[str, list[Path]], section: dict[str, Any] | None, beside: Path) -> None:
    if section is None:
        return
    base = section.get("base_path")
    root = beside if base is None else beside / os.path.expandvars(os.path.expanduser(base))
    for kind, lines in section.items():
        if kind in ("base_path", "is_default"):
            continue
        for line in lines.split("\n"):
            if "\0" in line:
                raise ValueError(f"a path in {kind} holds a null byte")
            if line:
                path = Path(os.path.normpath(root / line))
                _add(folders, kind, path, first=bool(section.get("is_default")))


def _add(folders: dict[str, list[Path]], kind: str, path: Path, first: bool = False) -> None:
    there = folders.setdefault(_LEGACY.get(kind, kind), [])
    if first and path in there:
        there.remove(path)
    if path not in there:
        there.insert(0 if first else len(there), path)


def _bad(config: Path, found: str, remedy: str) -> Finding:
    return Finding(
        "installation",
        Severity.ERROR,
        f"{config}: {found}",
        "a YAML file of sections, each with folders by kind of model",
        f"{remedy[0].upper()}{remedy[1:]}; ComfyUI itself does not start with a file that it cannot read.",
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and those below, through links, as ComfyUI does."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(root)) in seen:  # a link back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name != ".git")
        yield from (Path(root) / name for name in sorted(files))
