"""The command: what to look at, all checks, the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ...common.safe_text import for_terminal, visible
from ..comfyui.errors import ServerUnreachableError
from ..comfyui.state import Server, ask
from ..program import program
from .components import check_components
from .findings import DoctorError, Finding, failed_check
from .installation import Installation, find_installation
from .library import Library
from .lora_keys import check_lora
from .machine import Machine, machine_of, this_machine
from .memory import check_memory, needs
from .models import check_listed, check_models, is_here, unused_note, used_workflows
from .other_packs import check_packs
from .report import CANNOT_RUN, CHECK_FAILED, STOPPED, Report
from .server_nodes import check_nodes
from .versions import check_versions, comfyui_version, installed, python_version
from .workflows import Wanted, Workflows, shipped_workflows

# The pack's folder as it stands in custom_nodes: a link is not followed, for it leads away from ComfyUI.
PACK = Path(__file__).absolute().parents[2]

_DESCRIPTION = (
    "Checks a ComfyUI installation for ComfyUI-Exo2Ego: versions, models, LoRA, memory, other packs. Reads only. Exit "
    "code: 0 no errors, 1 errors, 2 could not run, 3 a check broke off by an error of its own, 130 stopped."
)

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None, pack: Path = PACK) -> int:
    """Run the doctor; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        report = examine(pack, options)
    except (DoctorError, ServerUnreachableError) as error:
        return _give_up(f"The doctor cannot run: {error}", CANNOT_RUN)
    except KeyboardInterrupt:
        return _give_up("Stopped.", STOPPED)
    except Exception as error:
        finding = failed_check("installation", error)
        return _give_up(f"The doctor failed: {finding.found}. {finding.remedy}", CHECK_FAILED)
    _show(report.to_json() if options.json else report.to_text())
    return report.exit_code


def _show(text: str) -> None:
    """Print, whatever letters the terminal lacks: paths may hold any."""
    print(visible(text, sys.stdout.encoding or "utf-8"))


def _give_up(text: str, code: int) -> int:
    print(for_terminal(text, sys.stderr.encoding or "utf-8"), file=sys.stderr)
    return code


class _Checks:
    """Runs checks: what one reports, and that it broke off, which ends none of the others."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.failed: list[str] = []

    def run(self, check: str, function: Callable[..., T], *arguments: Any, otherwise: T, **named: Any) -> T:
        """Return what a function does, `otherwise` where it breaks off, which becomes a finding.

        Raises:
            DoctorError: of the function, and ServerUnreachableError: then there is nothing to look at.
        """
        try:
            return function(*arguments, **named)
        except (DoctorError, ServerUnreachableError):
            raise
        except Exception as error:
            self.findings.append(failed_check(check, error))
            self.failed.append(check)
            return otherwise

    def add(self, check: str, function: Callable[..., Sequence[Finding]], *arguments: Any, **named: Any) -> None:
        """Keep what a check finds."""
        self.findings += self.run(check, function, *arguments, otherwise=[], **named)


def examine(pack: Path, options: argparse.Namespace) -> Report:
    """Run all checks.

    Raises:
        DoctorError: if there is nothing to look at.
        ServerUnreachableError: if the server does not answer as ComfyUI does.
    """
    checks = _Checks()
    workflows = shipped_workflows(pack)
    server = ask(options.server) if options.server else None
    installation = _installation(pack, options, server)
    library = None if installation is None else Library(installation)
    every = list(workflows.names)
    used = checks.run("models", _used, workflows, options.workflow, library, server, otherwise=every)
    wanted = workflows.only(used)
    machine = checks.run("memory", _machine, server, otherwise=Machine(None, None, None))

    checks.findings += workflows.findings + ([] if installation is None else installation.findings)
    checks.add("versions", check_versions, installation, server)
    chosen: dict[Wanted, Path] = {}
    if server is not None:
        checks.add("nodes", check_nodes, server, workflows, used)
    if library is not None:
        found, chosen = checks.run("models", check_models, library, wanted, otherwise=([], {}))
        checks.findings += found
        _check_contents(checks, library, used, chosen, options.lora)
    elif server is not None:
        checks.add("models", check_listed, server, wanted)
    if not options.workflow:
        checks.findings += unused_note(workflows, used)
    plans = checks.run("memory", needs, wanted, chosen, otherwise=[])
    checks.add("memory", check_memory, machine, plans)
    depth_pro = [model for model in wanted if model.folders == ("depth_pro",) and library is not None]
    needs_depth = any(model not in chosen for model in depth_pro)
    checks.add("other packs", check_packs, installation, server, needs_depth=needs_depth)
    facts = checks.run("versions", _facts, installation, server, machine, used, otherwise={})
    facts |= {f"memory {number}": plan.describe() for number, plan in enumerate(plans, 1)}
    return Report(facts, list(dict.fromkeys(checks.findings)), tuple(dict.fromkeys(checks.failed)))


def _machine(server: Server | None) -> Machine:
    return this_machine() if server is None else machine_of(server)


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
            shipped = ", ".join(workflows.names) or "all unreadable: put the pack's folder there anew"
            raise DoctorError(f"There is no workflow {unknown[0]} that can be read. The shipped ones are {shipped}.")
        return list(asked)
    if library is not None:
        return used_workflows(workflows, lambda wanted: is_here(library, wanted))
    assert server is not None
    return used_workflows(workflows, lambda wanted: wanted.file in (server.choices(wanted.node, wanted.name) or ()))


def _check_contents(
    checks: _Checks,
    library: Library,
    used: Sequence[str],
    chosen: Mapping[Wanted, Path],
    more_loras: Sequence[str] | None,
) -> None:
    """Look into LoRAs and components, together with the base model of their workflow.

    Several workflows load the same files: what is found twice the report has once.
    """
    bases = {name: path for wanted, path in chosen.items() if wanted.base for name in wanted.workflows}
    for workflow in used:
        models = {wanted: path for wanted, path in chosen.items() if workflow in wanted.workflows}
        base = bases.get(workflow)
        parts = {wanted.component: path for wanted, path in models.items() if wanted.component is not None}
        checks.add("components", check_components, library, parts, base)
        for wanted, path in models.items():
            if wanted.folders == ("loras",) and not wanted.is_stock_lora:
                checks.add("lora keys", check_lora, library, path, base)
    loras = library.installation.files(("loras",)) if more_loras else {}
    for name in more_loras or ():
        if name not in loras:
            raise DoctorError(f"There is no LoRA {name} in {library.installation.place('loras')}.")
        checks.add("lora keys", check_lora, library, loras[name], None)


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
