"""The pack's command: hands the line to a sub-command, which alone is imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from .program import program

# Each is a package with a module `cli`, whose `main(arguments)` returns the exit code.
COMMANDS: dict[str, str] = {
    "batch": "many clips through ComfyUI's API, resumably",
    "convert": "makes Exo2EgoSyn's component files of what trainers write",
    "doctor": "checks a ComfyUI installation for this pack",
    "evaluate": "scores ego videos against the true ones, by the papers' protocols",
    "gpu": "measures what GGA and EgoX cost on this machine's NVIDIA card",
    "training": "trains EgoX's LoRA, or a small Wan from nothing",
}

UNUSABLE = 2  # the exit code of a command that is wrong, as argparse has it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        command = import_module(f".{options.command}.cli", __package__)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __name__.partition(".")[0]:
            raise
        print(
            f"error: {options.command} needs {error.name}, which {sys.executable} does not have. Use the Python that "
            f"runs ComfyUI, or install it: pip install 'comfyui-exo2ego[{options.command}]'",
            file=sys.stderr,
        )
        return UNUSABLE
    return command.main(options.arguments)


def _parser() -> argparse.ArgumentParser:
    words = "\n".join(f"  {name:10}{what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=program(),
        description=f"commands:\n{words}",
        epilog="COMMAND --help shows its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands above")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the command's own")
    return parser
