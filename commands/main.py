"""The pack's command: hands the line to a sub-command, which alone is imported."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

# Each is a package with a module `cli`, whose `main(arguments)` returns the exit code.
COMMANDS = {
    "batch": "many clips through ComfyUI's API, resumably",
    "convert": "makes Exo2EgoSyn's component files of what trainers write",
    "doctor": "checks a ComfyUI installation for this pack",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return import_module(f".{options.command}.cli", __package__).main(options.arguments)


def _parser() -> argparse.ArgumentParser:
    words = "\n".join(f"  {name:10}{what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=f"python -m {__name__.partition('.')[0]}",
        description=f"commands:\n{words}",
        epilog="COMMAND --help tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands above")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the command's own")
    return parser
