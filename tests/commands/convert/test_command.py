"""What is common to all components: the command line, the files, what is never overwritten."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from exo2ego.commands.convert import cli
from exo2ego.networks.components import files as component_files
from exo2ego.networks.components.files import read_component
from exo2ego.networks.components.metadata import Component
from support.tiny_egosyn import tiny_component

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def source(tmp_path) -> Path:
    """A LoRA as ComfyUI's names have it."""
    path = tmp_path / "theirs.safetensors"
    save_file(tiny_component(Component.LORA).tensors, path)
    return path


def test_as_a_module_of_the_packs_folder(tmp_path, source):
    """From custom_nodes, by the folder's own name, with neither ComfyUI nor another pack in sight."""
    nodes = tmp_path / "custom_nodes"
    nodes.mkdir()
    (nodes / "ComfyUI-Exo2Ego").symlink_to(ROOT)
    out = tmp_path / "lora.safetensors"
    command = [sys.executable, "-m", "ComfyUI-Exo2Ego", "convert", "lora", str(source), "--out", str(out)]
    done = subprocess.run(command, cwd=nodes, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Written: lora.safetensors\n")
    read_component(out, Component.LORA)
    wrong = subprocess.run([*command[:4], "lora"], cwd=nodes, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "required: source, --out" in wrong.stderr


def test_a_dry_run_writes_nothing_and_checks_everything(convert, tmp_path, source):
    out = tmp_path / "lora.safetensors"
    done = convert("lora", source, "--out", out, "--dry-run")
    assert done.code == 0
    assert f"Dry run: {out} was not written." in done.text
    assert not out.exists()
    assert convert("lora", source, "--out", out, "--dry-run", "--num-views", "0").code == 1
    tensors = tiny_component(Component.LORA).tensors
    tensors["diffusion_model.blocks.1.self_attn.v.lora_B.weight"][2, 1] = torch.nan
    save_file(tensors, source)
    done = convert("lora", source, "--out", out, "--dry-run")
    assert "blocks.1.self_attn.v.lora_B.weight holds values that are not finite" in done.error


def test_nothing_is_overwritten_unasked(convert, tmp_path, source):
    out = tmp_path / "lora.safetensors"
    out.write_bytes(b"precious")
    done = convert("lora", source, "--out", out)
    assert done.code == 1
    assert "lora.safetensors is there already" in done.error
    assert out.read_bytes() == b"precious"
    assert convert("lora", source, "--out", out, "--force", "--stage", "1").code == 0
    assert read_component(out).metadata.stage == 1


def test_shards_of_what_was_there(convert, tmp_path, source, monkeypatch):
    """A forced run leaves one version: no shard of the earlier one, nothing of another name."""
    monkeypatch.setattr(component_files.write_component, "__defaults__", (12_000, None, None))
    out = tmp_path / "lora.safetensors"
    assert convert("lora", source, "--out", out).code == 0
    many = sorted(file.name for file in tmp_path.glob("lora-*"))
    assert len(many) > 3
    (tmp_path / "lora-b-00001-of-00009.safetensors").write_bytes(b"precious")
    refused = convert("lora", source, "--out", out)
    assert "lora.safetensors.index.json is there already" in refused.error
    monkeypatch.setattr(component_files.write_component, "__defaults__", (30_000, None, None))
    assert convert("lora", source, "--out", out, "--force").code == 0
    few = sorted(file.name for file in tmp_path.glob("lora-0*"))
    assert 1 < len(few) < len(many)
    assert not set(few) & set(many)
    assert (tmp_path / "lora-b-00001-of-00009.safetensors").read_bytes() == b"precious"
    read_component(out, Component.LORA)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("lora.pt", "--out is NAME.safetensors"),
        ("lora-00001-of-00002.safetensors", "not a shard's name"),
        ("nowhere/lora.safetensors", "There is no folder"),
    ],
)
def test_names_that_no_component_has(convert, tmp_path, source, out, message):
    done = convert("lora", source, "--out", tmp_path / out)
    assert done.code == 1
    assert message in done.error


def test_sources_that_are_none(convert, tmp_path, source):
    out = tmp_path / "lora.safetensors"

    def error(path):
        done = convert("lora", path, "--out", out)
        assert done.code == 1
        assert not out.exists()
        return done.error

    assert "There is no file absent.safetensors" in error(tmp_path / "absent.safetensors")
    pickled = tmp_path / "model.pt"
    pickled.write_bytes(pickle.dumps({}))
    assert "can run code and are not opened" in error(pickled)
    (tmp_path / "empty").mkdir()
    assert "holds 0 checkpoints" in error(tmp_path / "empty")
    (tmp_path / "another.safetensors").write_bytes(source.read_bytes())
    assert "holds 2 checkpoints in safetensors: another.safetensors, theirs.safetensors" in error(tmp_path)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(source.read_bytes()[:-50])
    assert "torn.safetensors" in error(torn)
    component = tiny_component(Component.LORA).write(tmp_path / "component.safetensors")
    assert "is a component of Exo2EgoSyn already" in error(component)


def test_a_full_disk_is_known_before(convert, tmp_path, source, monkeypatch):
    monkeypatch.setattr(cli.shutil, "disk_usage", lambda folder: cli.shutil._ntuple_diskusage(10**9, 10**9, 1000))
    done = convert("lora", source, "--out", tmp_path / "lora.safetensors")
    assert done.code == 1
    assert "has 1e-06 GB left" in done.error
