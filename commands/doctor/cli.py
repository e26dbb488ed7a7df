"""The command: what to look at, all checks, the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..comfyui.errors import ServerUnreachableError
from ..comfyui.state import Server, ask
from ..program import program
from .components import check_components
from .findings import DoctorError, Finding
from .installation import Installation, find_installation
from .library import Library
from .lora_keys import check_lora
from .machine import Machine, machine_of, this_machine
from .memory import check_memory, needs
from .models import check_listed, check_models, is_here, unused_note, used_workflows
from .other_packs import check_packs
from .report import Report
from .server_nodes import check_nodes
from .versions import check_versions, comfyui_version, installed, python_version
from .workflows import Wanted, Workflows, shipped_workflows

# The pack's folder as it stands in custom_nodes: a link is not followed, for it leads away from ComfyUI.
PACK = Path(__file__).absolute().parents[2]

_DESCRIPTION = (
    "Checks a ComfyUI installation for ComfyUI-Exo2Ego: versions, models, LoRA, memory, other packs. Reads only. Exit "
    "code: 0 no errors, 1 errors, 2 could not run."
)


def main(arguments: Sequence[str] | None = None, pack: Path = PACK) -> int:
    """Run the doctor; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        report = examine(pack, options)
    except (DoctorError, ServerUnreachableError) as error:
        print(f"The doctor cannot run: {error}", file=sys.stderr)
        return 2
    _show(report.to_json() if options.json else report.to_text())
    return report.exit_code


def _show(text: str) -> None:
    """Print, whatever letters the terminal lacks: paths may hold any."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def examine(pack: Path, options: argparse.Namespace) -> Report:
    """Run all checks.

    Raises:
        DoctorError: if there is nothing to look at.
        ServerUnreachableError: if the server does not answer as ComfyUI does.
    """
    workflows = shipped_workflows(pack)
    server = ask(options.server) if options.server else None
    installation = _installation(pack, options, server)
    library = None if installation is None else Library(installation)
    used = _used(workflows, options.workflow, library, server)
    wanted = workflows.only(used)
    machine = this_machine() if server is None else machine_of(server)

    findings = [] if installation is None else list(installation.findings)
    findings += check_versions(installation, server)
    chosen: dict[Wanted, Path] = {}
    if server is not None:
        findings += check_nodes(server, workflows, used)
    if library is not None:
        found, chosen = check_models(library, wanted)
        findings += found + _check_contents(library, used, chosen, options.lora)
    elif server is not None:
        findings += check_listed(server, wanted)
    if not options.workflow:
        findings += unused_note(workflows, used)
    plans = needs(wanted, chosen)
    findings += check_memory(machine, plans)
    depth_pro = [model for model in wanted if model.folders == ("depth_pro",) and library is not None]
    findings += check_packs(installation, server, needs_depth=any(model not in chosen for model in depth_pro))
    facts = _facts(installation, server, machine, used)
    return Report(facts | {f"memory {number}": plan.describe() for number, plan in enumerate(plans, 1)}, findings)


def _installation(pack: Path, options: argparse.Namespace, server: Server | None) -> Installation | None:
    try:
        return find_installation(pack, options.comfyui, options.base_directory, options.extra_model_paths_config or ())
    except DoctorError:
        if server is not None and options.comfyui is None and options.base_directory is None:
            return None  # the server is all there is to look at
        raise


def _used(
    workflows: Workflows, asked: Sequence[str] | None, library: Library | None, server: Server | None
) -> list[str]:
    if asked:
        if unknown := [name for name in asked if name not in workflows.names]:
            raise DoctorError(f"There is no workflow {unknown[0]}. The shipped ones are {', '.join(workflows.names)}.")
        return list(asked)
    if library is not None:
        return used_workflows(workflows, lambda wanted: is_here(library, wanted))
    assert server is not None
    return used_workflows(workflows, lambda wanted: wanted.file in (server.choices(wanted.node, wanted.name) or ()))


def _check_contents(
    library: Library, used: Sequence[str], chosen: Mapping[Wanted, Path], more_loras: Sequence[str] | None
) -> list[Finding]:
    """Look into LoRAs and components, together with the base model of their workflow."""
    findings: dict[Finding, None] = {}  # several workflows load the same files
    bases = {name: path for wanted, path in chosen.items() if wanted.base for name in wanted.workflows}
    for workflow in used:
        models = {wanted: path for wanted, path in chosen.items() if workflow in wanted.workflows}
        base = bases.get(workflow)
        parts = {wanted.component: path for wanted, path in models.items() if wanted.component is not None}
        findings |= dict.fromkeys(check_components(library, parts, base))
        for wanted, path in models.items():
            if wanted.folders == ("loras",) and not wanted.is_stock_lora:
                findings |= dict.fromkeys(check_lora(library, path, base))
    loras = library.installation.files(("loras",))
    for name in more_loras or ():
        if name not in loras:
            raise DoctorError(f"There is no LoRA {name} in {library.installation.place('loras')}.")
        findings |= dict.fromkeys(check_lora(library, loras[name], None))
    return list(findings)


def _facts(
    installation: Installation | None, server: Server | None, machine: Machine, used: Sequence[str]
) -> dict[str, str]:
    facts = {"pack": str(PACK if installation is None else installation.pack), "workflows": ", ".join(used)}
    if installation is not None:
        facts["ComfyUI"] = f"{comfyui_version(installation) or 'of unknown version'} in {installation.base}"
    if server is not None:
        facts["server"] = f"ComfyUI {server.system['comfyui_version']} at {server.url}"
        facts["Python, torch"] = f"{server.system.get('python_version')}, {server.system.get('pytorch_version')}"
    else:
        facts["Python, torch"] = f"{python_version()}, {installed('torch')} ({sys.executable})"
    facts["card"] = "none" if machine.vram is None else f"{machine.card}, {machine.vram.total / 1e9:.1f} GB"
    facts["RAM"] = "unknown" if machine.ram is None else f"{machine.ram.total / 1e9:.1f} GB"
    return facts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{program()} doctor", description=_DESCRIPTION)
    add = parser.add_argument
    add("--comfyui", type=Path, metavar="DIR", help="ComfyUI's folder, with main.py; else the one this pack lies in")
    add("--base-directory", type=Path, metavar="DIR", help="as ComfyUI's option: where models and custom_nodes are")
    add(
        "--extra-model-paths-config", type=Path, metavar="FILE", action="append", help="as ComfyUI's option; repeatable"
    )
    add("--server", metavar="URL", help="a running ComfyUI: its versions, devices, nodes and lists of models")
    add("--workflow", metavar="NAME", action="append", help="check for this shipped workflow; repeatable")
    add(
        "--lora", metavar="NAME", action="append", help="check this LoRA, too, named as the loader lists it; repeatable"
    )
    add("--json", action="store_true", help="print JSON")
    return parser
