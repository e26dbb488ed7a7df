"""Memory against the plan, versions, other packs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from exo2ego.commands.doctor import versions
from exo2ego.commands.doctor.machine import Machine, Memory, this_machine
from exo2ego.commands.doctor.memory import SIZES, activation_bytes, check_memory, copies_of_weights, needs
from exo2ego.commands.doctor.workflows import shipped_workflows
from exo2ego.networks.weights.wan_kinds import WAN21_I2V, WAN22_I2V
from support.comfyui import import_comfyui
from support.tiny_wan import DIM

from .conftest import BASE, ROOT

GB = 10**9

# What a pack's file looks like that replaces the self-attention, and what only seems to.
OBJECT_PATCH = 'model.add_object_patch(f"diffusion_model.blocks.{i}.self_attn.forward", wan_attention)\n'
ASSIGNMENT = "for block in wan.blocks:\n    block.self_attn.forward = types.MethodType(f, block.self_attn)\n"
LANGUAGE_MODEL = "layer.self_attn.forward = types.MethodType(f, layer.self_attn)\n"
COMPARISON = "if wan.self_attn.forward == original:\n    pass\n"


def plans(*workflows):
    return needs(shipped_workflows(ROOT).only(workflows), {})


def said(machine, *workflows):
    findings = check_memory(machine, plans(*workflows))
    assert all(finding.found and finding.expected and finding.remedy for finding in findings)
    return [(finding.severity.value, finding.found) for finding in findings]


# Memory -----------------------------------------------------------------------------------------------------------


def test_activations_are_comfyuis_own_estimate(tmp_path, monkeypatch):
    """Of a tiny model, in half precision and with the attention that a card has."""
    import_comfyui()
    import comfy.model_management
    import comfy.sd
    import torch
    from safetensors.torch import save_file

    from exo2ego.wan.shared.memory import TENSORS_PER_TOKEN
    from support.tiny_wan import wan_state_dict

    save_file(wan_state_dict(), tmp_path / "wan.safetensors")
    options = {"dtype": torch.bfloat16}
    model = comfy.sd.load_diffusion_model(str(tmp_path / "wan.safetensors"), model_options=options).model
    model.manual_cast_dtype = None
    monkeypatch.setattr(comfy.model_management, "xformers_enabled", lambda: True)
    size = SIZES[WAN21_I2V]
    latent = [1, 16, 13, 56, 98 + 56]
    assert size.cells == 13 * 56 * 154
    assert activation_bytes(size, DIM) == pytest.approx(model.memory_required(latent), rel=1e-6)
    exo = SIZES[WAN22_I2V]
    tokens = exo.exo_tokens * DIM * 2 * TENSORS_PER_TOKEN
    assert activation_bytes(exo, DIM) == pytest.approx(model.memory_required([1, 16, 3, 32, 32]) + tokens, rel=1e-6)


def test_the_plan_of_each_family():
    (egox,) = plans("egox_take", "attention_map")
    assert egox.weights == pytest.approx(18.7 * GB)
    assert egox.activations == pytest.approx(5.4 * GB, rel=0.01)
    assert egox.other_weights == pytest.approx(6.7 * GB)
    assert egox.copies == pytest.approx(8.4 * GB, rel=0.01)
    assert egox.ram + egox.copies == pytest.approx(35.5 * GB, rel=0.02)
    assert "estimate" in egox.describe()
    (syn,) = plans("exo2egosyn")
    assert syn.weights == pytest.approx((14 + 0.2 + 8.4 + 0.13 + 0.42) * GB)
    assert plans("ego_prior") == []


MIB = 1024**2


@pytest.mark.parametrize(
    ("total", "free", "expected"),
    [
        (80 * GB, 79 * GB, []),
        (24564 * MIB, 23 * GB, []),  # of a 24 GB card, with the LoRA beside the weights
        (
            16376 * MIB,
            16 * GB,
            [("note", "a card has 17.2 GB: ComfyUI will fetch about 8.1 GB from RAM at every model call")],
        ),
        (24 * GB, 3 * GB, [("warning", "only 3.0 GB of 24.0 GB on a card are free")]),
        (6 * GB, 6 * GB, [("warning", "a card has 6.0 GB")]),
    ],
)
def test_a_cards_memory(total, free, expected):
    machine = Machine("a card", Memory(total, free), Memory(64 * GB, 60 * GB))
    assert said(machine, "egox_take") == expected


@pytest.mark.parametrize(("ram", "severity"), [(24, "warning"), (32, "note"), (40, None)])
def test_ram_for_all_weights_and_for_copies_of_what_a_merged_lora_changes(ram, severity):
    machine = Machine("a card", Memory(80 * GB, None), Memory(ram * GB, None))
    expected = [] if severity is None else [(severity, f"the machine has {ram}.0 GB RAM")]
    assert said(machine, "egox_take") == expected


def test_the_readme_says_what_the_doctor_says():
    """Of the real files: base models of 16.4 GB (fp8) and 32.8 GB, the LoRA merged; cards as they report themselves."""
    (plan,) = plans("egox_take")
    fp8, bf16, lora = 16.4 * GB, 32.8 * GB, 1.7 * GB
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Memory")[1].split("\n## ")[0]
    beside_weights = plan.best - plan.weights
    assert bf16 + beside_weights < 49140 * MIB
    assert fp8 + lora + beside_weights < 24564 * MIB
    fetched = (fp8 + beside_weights - 16376 * MIB) / 1024**3
    assert f"about {fetched:.1f} GiB are fetched" in section
    assert f"{lora / 1024**3:.1f} GiB more" in section
    assert f"plans\nwith {plan.activations / 1024**3:.2f} GiB" in section
    assert f"| fp8 | {plan.copies / GB:.1f} GB |" in section
    assert f"| bf16 or fp16 | {2 * plan.copies / GB:.1f} GB |" in section
    in_all = fp8 + lora + plan.ram - plan.weights + plan.copies
    assert f"about {in_all / GB:.0f} GB" in section
    assert f"about {(in_all + bf16 - fp8 + plan.copies) / GB:.0f} GB" in section


def test_copies_have_the_size_of_the_bases_weights(tmp_path):
    (base,) = [model for model in shipped_workflows(ROOT).only(["egox_take"]) if model.base == WAN21_I2V]
    sizes = {"fp8.safetensors": 16.4, "bf16.safetensors": 32.8, "q4.gguf": 10.0}
    copies = {}
    for name, size in sizes.items():
        path = tmp_path / name
        with open(path, "wb") as file:
            file.truncate(int(size * GB))  # takes no room on the disk
        copies[name] = copies_of_weights(base, {base: path})
    assert copies["fp8.safetensors"] == pytest.approx(8.4 * GB, rel=0.01)
    assert copies["bf16.safetensors"] == pytest.approx(16.8 * GB, rel=0.01)
    assert copies["q4.gguf"] == 0


def test_no_card():
    ((severity, found),) = said(Machine(None, None, Memory(64 * GB, None)), "egox_take")
    assert (severity, found) == ("warning", "no graphics card was found")
    assert said(Machine(None, None, None), "ego_prior") == []


def test_files_that_are_there_count_by_their_size(complete):
    report = complete.visit("--workflow", "egox_take")
    size = sum((complete.root / "models" / name).stat().st_size for name in (f"diffusion_models/{BASE}",))
    assert f"{size / 1e6:.2g}" in report["facts"]["memory 1"].split("weights")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for the program")
def test_nvidia_smi_is_asked(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, Founders, 24564, 22000'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    machine = this_machine()
    assert machine.card == "NVIDIA GeForce RTX 4090, Founders"
    assert machine.vram == Memory(24564 * 1024**2, 22000 * 1024**2)
    program.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert this_machine().vram is None


# Versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "wanted", "older"),
    [
        ("0.3.59", "0.3.60", True),
        ("0.3.60", "0.3.60", False),
        ("0.10.1", "0.9", False),
        ("v0.3.75", "0.3.60", False),
        ("2.11.0+cu128", "2.5", False),
        ("2.5", "2.5.0", False),
        ("2.4.1rc1", "2.5", True),
        ("2.5rc1", "2.5", True),
        ("3.14.0a1+", "3.10", False),
        ("unknown", "2.5", False),
    ],
)
def test_comparing_versions(found, wanted, older):
    assert versions.is_older(found, wanted) is older


def test_an_old_comfyui(complete):
    (complete.root / "comfyui_version.py").write_text('__version__ = "0.3.59"\n')
    (finding,) = [found for found in complete.findings("versions") if "ComfyUI" in found["found"]]
    assert finding["severity"] == "error"
    assert finding["found"] == "ComfyUI 0.3.59"
    assert "git pull" in finding["remedy"]


def test_an_old_frontend_and_a_missing_library(complete):
    requirements = complete.root / "requirements.txt"
    requirements.write_text("comfyui-frontend-package==999.1\ntorch\nunrelated>=9\n")
    (finding,) = [found for found in complete.findings("versions") if "frontend" in found["found"]]
    assert finding["severity"] == "warning"
    assert str(requirements) in finding["remedy"]


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("safetensors>=0.4.2  # weights", False),
        ("safetensors>=999", True),
        ("safetensors==0.0.1", False),  # newer than pinned
        ("safetensors~=0.0.1", True),  # not newer than its series
        ('safetensors>=999; sys_platform == "amiga"', False),
        ("--extra-index-url https://example.org/safetensors", False),
        ("safetensors", False),
    ],
)
def test_a_line_of_comfyuis_requirements(complete, line, warned):
    (complete.root / "requirements.txt").write_text(f"# its own\n{line}\n")
    found = [found for found in complete.findings("versions") if "safetensors" in found["found"]]
    assert len(found) == warned


def test_without_packaging_it_says_that_nothing_was_compared(complete, monkeypatch):
    (complete.root / "comfyui_version.py").write_text('__version__ = "0.3.59"\n')
    monkeypatch.setitem(sys.modules, "packaging", None)
    (finding,) = complete.findings("versions")
    assert finding["severity"] == "warning"
    assert "has no packaging" in finding["found"]
    assert "pip install packaging" in finding["remedy"]


def test_a_library_that_the_pack_needs(complete, monkeypatch):
    real = versions.installed
    monkeypatch.setattr(versions, "installed", lambda name: None if name == "kornia" else real(name))
    (finding,) = complete.findings("versions")
    assert finding["severity"] == "error"
    assert finding["found"] == "kornia is not installed"
    assert "-m pip install -r" in finding["remedy"]
    assert complete.visit()["exit"] == 1


def test_a_python_without_torch(complete, monkeypatch):
    monkeypatch.setattr(versions, "installed", lambda name: None)
    (finding,) = complete.findings("versions")
    assert "is not the Python that runs ComfyUI" in finding["found"]
    (complete.root / "venv" / "bin").mkdir(parents=True)
    (complete.root / "venv" / "bin" / "python").touch()
    (finding,) = complete.findings("versions")
    assert str(complete.root / "venv" / "bin" / "python") in finding["remedy"]


def test_without_triton_the_slow_path_is_named(complete, monkeypatch):
    monkeypatch.setattr(versions, "find_spec", lambda name: None)
    (finding,) = complete.findings("versions")
    assert finding["severity"] == "warning"
    assert "plain torch" in finding["found"]
    assert "pip install triton" in finding["remedy"]


# Other packs ------------------------------------------------------------------------------------------------------


def add_pack(doctor, name, source="", file="nodes.py"):
    path = doctor.root / "custom_nodes" / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return path


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("ComfyUI-WanVideoWrapper", "Load Diffusion Model"),
        ("comfyui-kjnodes", "Leave that one node out"),
        ("ComfyUI-RadialAttn-main", "PatchRadialAttn"),
        ("RES4LYF", "Leave these nodes out"),
        ("ComfyUI-TeaCache", "EasyCache"),
        ("raylight", "one ComfyUI for each card"),
    ],
)
def test_packs_that_are_known(complete, folder, said):
    add_pack(complete, folder, ASSIGNMENT)
    (finding,) = complete.findings("other packs")
    assert finding["severity"] == "note"
    assert finding["found"].startswith(folder)
    assert said in finding["remedy"]


@pytest.mark.parametrize(
    ("source", "hint"), [(OBJECT_PATCH, True), (ASSIGNMENT, True), (LANGUAGE_MODEL, False), (COMPARISON, False)]
)
def test_files_that_look_like_it(complete, source, hint):
    add_pack(complete, "some-pack", source, "src/attention.py")
    findings = complete.findings("other packs")
    assert len(findings) == hint
    for finding in findings:
        assert str(Path("src/attention.py")) in finding["found"]
        assert "GGA reached the self-attention of only" in finding["remedy"]


def test_a_file_that_may_not_be_read_stops_nothing(complete, monkeypatch):
    add_pack(complete, "some-pack", ASSIGNMENT, "locked.py")
    add_pack(complete, "some-pack", ASSIGNMENT, "open.py")
    read = Path.read_bytes

    def refuse(path):
        if path.name == "locked.py":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (finding,) = complete.findings("other packs")
    assert "(open.py)" in finding["found"]


def test_packs_that_do_not_load_are_left_out(complete):
    for name in ("some-pack.disabled", ".disabled", "__pycache__"):
        add_pack(complete, name, ASSIGNMENT)
    assert complete.findings("other packs") == []


def test_a_depth_pack_will_do(complete):
    (complete.folder("depth_pro") / "DepthPro-hf" / "model.safetensors").unlink()
    assert len(complete.findings("other packs", "--workflow", "egox")) == 1
    add_pack(complete, "ComfyUI-DepthAnythingV2")
    assert complete.findings("other packs", "--workflow", "egox") == []
