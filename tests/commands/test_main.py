"""The pack's command, and the names that it had before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exo2ego.commands.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def custom_nodes(tmp_path):
    (tmp_path / "ComfyUI-Exo2Ego").symlink_to(ROOT)
    return tmp_path


def run(*words, cwd):
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=3600)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_under_each_of_its_names(custom_nodes, name):
    before = [("-m", f"ComfyUI-Exo2Ego.{name}")] if (ROOT / f"{name}.py").exists() else []
    for words in (("-m", "ComfyUI-Exo2Ego", name), *before, (ROOT, name)):
        result = run(*words, "--help", cwd=custom_nodes)
        assert result.returncode == 0, result.stderr
        package = "exo2ego" if words[0] == ROOT else "ComfyUI-Exo2Ego"
        assert result.stdout.startswith(f"usage: python -m {package} {name} ")


def test_the_commands_are_listed(custom_nodes):
    result = run("-m", "ComfyUI-Exo2Ego", "--help", cwd=custom_nodes)
    assert result.returncode == 0
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("words", [[], ["bach"]])
def test_no_command_or_an_unknown_one(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
