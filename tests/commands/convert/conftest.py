"""The command as the tests call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from exo2ego.commands.convert.cli import main


@dataclass(frozen=True)
class Outcome:
    code: int
    text: str
    error: str


@pytest.fixture
def convert(capsys) -> Callable[..., Outcome]:
    """Run the command in this process."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run
