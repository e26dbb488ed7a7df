"""Which ComfyUI is looked at, and how: as ComfyUI itself does, fast, and without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exo2ego.commands.doctor.cli import main
from exo2ego.commands.doctor.findings import DoctorError
from exo2ego.commands.doctor.installation import find_installation
from exo2ego.commands.doctor.workflows import shipped_workflows
from support.comfyui import comfyui_folder

from .conftest import BASE, ROOT

PATHS = """
mine:
    base_path: ~/more
    is_default: true
    loras: loras
    unet: |
        unet
        checkpoints/wan
shared:
    text_encoders: {absolute}/encoders
    clip: {absolute}/clip
    loras: relative/loras
    custom_nodes: packs
empty:
"""

# ComfyUI's own search paths, asked in a process of its own: they are global there.
ASK = """
import json, sys
sys.path.insert(0, {comfyui!r})
sys.argv = ["main.py", "--cpu", "--base-directory", {base!r}]
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths, utils.extra_config
utils.extra_config.load_extra_path_config({config!r})
print(json.dumps({{kind: folder_paths.get_folder_paths(kind) for kind in {kinds!r}}}))
"""


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=3600
    )


def test_folders_are_comfyuis_own(empty, tmp_path):
    config = tmp_path / "paths.yaml"
    config.write_text(PATHS.format(absolute=tmp_path))
    kinds = ["loras", "diffusion_models", "text_encoders", "vae", "clip_vision", "custom_nodes"]
    code = ASK.format(comfyui=str(comfyui_folder()), base=str(empty.root), config=str(config), kinds=kinds)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = json.loads(result.stdout.splitlines()[-1])
    found = find_installation(empty.pack, configs=[config])
    output = str(empty.root / "output")  # main.py adds these after that
    assert {
        kind: [str(folder) for folder in found.folders[kind] if not str(folder).startswith(output)] for kind in kinds
    } == expected


def test_models_in_extra_folders_are_found(complete, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (complete.folder("diffusion_models") / BASE).rename(elsewhere / BASE)
    assert complete.visit("--workflow", "egox_take")["exit"] == 1
    text = f"mine:\n  diffusion_models: {elsewhere}\n"
    (tmp_path / "paths.yaml").write_text(text)
    found = complete.visit("--workflow", "egox_take", "--extra-model-paths-config", str(tmp_path / "paths.yaml"))
    assert found["exit"] == 0
    (complete.root / "extra_model_paths.yaml").write_text(text)
    assert complete.visit("--workflow", "egox_take")["exit"] == 0


@pytest.mark.parametrize("text", ["mine: [", "mine: text", "- a\n- b", "mine:\n  loras: [a, b]\n"])
def test_a_damaged_list_of_folders(complete, text):
    (complete.root / "extra_model_paths.yaml").write_text(text)
    (finding,) = complete.findings("installation")
    assert finding["severity"] == "error"
    assert "extra_model_paths.yaml" in finding["found"]
    assert finding["remedy"]
    assert complete.visit()["exit"] == 1


def test_links_that_lead_back_up_end(complete):
    (complete.folder("diffusion_models") / "again").symlink_to(complete.root / "models")
    assert complete.visit()["exit"] == 0
    names = find_installation(complete.pack).files(["diffusion_models"])
    assert "again/vae/wan_2.1_vae.safetensors" in names
    assert not [name for name in names if name.count("again") > 1]


def test_where_comfyui_is_said_to_be(complete, tmp_path, capsys):
    aside = tmp_path / "checkout"
    aside.symlink_to(ROOT)
    assert main([], pack=aside) == 2
    assert "--comfyui" in capsys.readouterr().err
    assert main(["--comfyui", str(complete.root)], pack=aside) == 0
    assert main(["--comfyui", str(tmp_path)], pack=aside) == 2
    assert "main.py, folder_paths.py, comfy" in capsys.readouterr().err


def test_a_base_directory_apart_from_the_code(complete, tmp_path):
    code = tmp_path / "code"
    (code / "comfy").mkdir(parents=True)
    for file in ("main.py", "folder_paths.py", "comfyui_version.py"):
        (complete.root / file).rename(code / file)
    installation = find_installation(complete.pack)
    assert (installation.comfyui, installation.base) == (None, complete.root)
    report = complete.visit()
    assert [found["remedy"] for found in report["findings"] if "version of ComfyUI is not known" in found["found"]]
    report = complete.visit("--comfyui", str(code), "--base-directory", str(complete.root))
    assert report["exit"] == 0
    assert report["facts"]["ComfyUI"].startswith("0.3.75")
    with pytest.raises(DoctorError, match="no folder"):
        find_installation(complete.pack, base=tmp_path / "nothing")


def test_the_command_in_custom_nodes(complete):
    """As the README says it: the pack's folder is the package. It needs neither torch nor ComfyUI to be imported."""
    code = "import runpy, sys\ntry:\n runpy.run_module('ComfyUI-Exo2Ego', run_name='__main__')\nfinally:\n"
    code += " print(sorted({'torch', 'comfy', 'transformers', 'nodes'} & set(sys.modules)), file=sys.stderr)"
    arguments = ["doctor", "--workflow", "egox_take", "--json"]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=complete.pack.parent, capture_output=True, text=True, timeout=3600
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["facts"]["ComfyUI"] == f"0.3.75 in {complete.root}"
    assert result.stderr.strip() == "[]"


def test_text_and_exit_codes(complete):
    whole = run("ComfyUI-Exo2Ego", "doctor", cwd=complete.pack.parent)
    assert whole.returncode == 0, whole.stderr
    (complete.folder("diffusion_models") / BASE).unlink()
    torn = run("ComfyUI-Exo2Ego", "doctor", "--workflow", "egox_take", cwd=complete.pack.parent)
    assert torn.returncode == 1
    assert f"ERROR (models): {BASE} is missing" in torn.stdout
    assert "to do:" in torn.stdout
    assert "1 error(s)" in torn.stdout
    help_text = run("ComfyUI-Exo2Ego", "doctor", "--help", cwd=complete.pack.parent)
    assert "usage: python -m ComfyUI-Exo2Ego doctor" in help_text.stdout


def test_a_terminal_without_the_letters_of_a_path(complete, tmp_path):
    root = complete.root.rename(tmp_path / "K\u00fcche \u53f0\u6240")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run(
        [sys.executable, "-m", "ComfyUI-Exo2Ego", "doctor", "--workflow", "egox"],
        cwd=root / "custom_nodes",
        env=environment,
        capture_output=True,
        timeout=3600,
    )
    assert result.returncode == 0, result.stderr
    assert "K\u00fcche \\u53f0".encode("cp1252") in result.stdout


def test_nothing_is_written(complete):
    def everything():
        return {path: path.lstat().st_mtime_ns for path in complete.root.rglob("*")}

    before = everything()
    complete.visit()
    complete.visit("--workflow", "exo2egosyn")
    assert everything() == before


def test_the_real_comfyui(tmp_path):
    """The environment's ComfyUI, with models in a base directory of its own."""
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "ComfyUI-Exo2Ego").symlink_to(ROOT)
    (tmp_path / "models").mkdir()
    result = run(
        *("ComfyUI-Exo2Ego", "doctor", "--comfyui", str(comfyui_folder()), "--base-directory", str(tmp_path), "--json"),
        cwd=tmp_path / "custom_nodes",
    )
    assert result.returncode == 1, result.stderr
    report = json.loads(result.stdout)
    assert not [found for found in report["findings"] if found["check"] in ("versions", "installation")]
    wanted = [model for model in shipped_workflows(ROOT).of("egox_take") if not model.known.optional]
    assert report["counts"]["error"] == len(wanted)
    assert Path(report["facts"]["pack"]) == tmp_path / "custom_nodes" / "ComfyUI-Exo2Ego"
