"""Made-up ComfyUI installations: a tree as ComfyUI has it, with tiny real models under the names of the workflows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from exo2ego.commands.doctor.cli import main
from exo2ego.networks.components.files import MAX_SHARD_BYTES, write_component
from exo2ego.networks.components.metadata import Component
from support.tiny_components import tiny_component
from support.tiny_distilled_lora import distilled_lora_state_dict
from support.tiny_encoders import clip_vision_state_dict, umt5_state_dict
from support.tiny_vae import vae_state_dict
from support.tiny_wan import egox_lora_state_dict, wan_state_dict

ROOT = Path(__file__).resolve().parents[3]
BASE = "wan2.1_i2v_480p_14B_fp8_scaled.safetensors"
BASE_22 = "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors"
LORA = "egox_lora_rank256.safetensors"
DISTILLED = "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors"
SHARD_BYTES = 800_000  # three shards, as the workflow names them
DEPTH_PRO = ("config.json", "preprocessor_config.json")
# Models that are folders in Hugging Face's layout: what lies in each beside the weights, and what config.json says.
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
FOLDERS = {
    ("depth_pro", "DepthPro-hf"): (DEPTH_PRO, "depth_pro"),
    ("people", "rtdetr_r50vd_coco_o365"): (DEPTH_PRO, "rt_detr"),
    ("people", "vitpose-base-simple"): (DEPTH_PRO, "vitpose"),
    ("people", "sam2.1-hiera-tiny"): (
        (*DEPTH_PRO, "processor_config.json", "video_preprocessor_config.json"),
        "sam2_video",
    ),
    ("vlm", "Qwen3-VL-2B-Instruct"): ((*DEPTH_PRO, *_TOKENIZER), "qwen3_vl"),
}


@dataclass
class Doctor:
    """A made-up installation, and the doctor's visits to it.

    Attributes:
        root: ComfyUI's folder.
        pack: this pack in its custom_nodes.
    """

    root: Path
    pack: Path
    capture: Any

    def folder(self, kind: str) -> Path:
        folder = self.root / "models" / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, kind: str, name: str, tensors: Mapping[str, Any], metadata: Any = None) -> Path:
        """Put a model in its place."""
        path = self.folder(kind) / name
        path.unlink(missing_ok=True)
        save_file(dict(tensors), path, metadata)
        return path

    def visit(self, *arguments: str) -> dict[str, Any]:
        """Run the doctor; returns its JSON with the exit code as `exit`."""
        self.capture.readouterr()
        code = main([*arguments, "--json"], pack=self.pack)
        return {**json.loads(self.capture.readouterr().out), "exit": code}

    def findings(self, check: str, *arguments: str) -> list[dict[str, str]]:
        """Run the doctor; returns the findings of one check."""
        return [finding for finding in self.visit(*arguments)["findings"] if finding["check"] == check]


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> dict[tuple[str, str], Path]:
    """A tiny real file for every model that the workflows name, by folder and name."""
    folder = tmp_path_factory.mktemp("tiny_files")
    made = {
        ("diffusion_models", BASE): wan_state_dict(),
        ("diffusion_models", BASE_22): wan_state_dict("i2v_2.2"),
        ("loras", LORA): egox_lora_state_dict(),
        ("loras", DISTILLED): distilled_lora_state_dict(),
        ("vae", "wan_2.1_vae.safetensors"): vae_state_dict(),
        ("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"): umt5_state_dict(),
        ("clip_vision", "clip_vision_h.safetensors"): clip_vision_state_dict(),
        # Of folders only their being whole is looked at.
        **{(kind, f"{name}/model.safetensors"): vae_state_dict() for kind, name in FOLDERS},
    }
    files = {}
    for (kind, name), tensors in made.items():
        files[kind, name] = folder / name.replace("/", "_")
        save_file(tensors, files[kind, name])
    for component in Component:
        part = tiny_component(component)
        target = folder / f"exo2egosyn_{component.value}.safetensors"
        shard_bytes = SHARD_BYTES if component is Component.MULTIEXOCON else MAX_SHARD_BYTES
        write_component(target, part.metadata, part.state_dict, shard_bytes)
    return files | {("exo2egosyn", path.name): path for path in folder.glob("exo2egosyn_*")}


@pytest.fixture
def empty(tmp_path, capsys) -> Doctor:
    """An installation with this pack and no model."""
    root = tmp_path / "ComfyUI"
    for folder in ("comfy", "custom_nodes", "models"):
        (root / folder).mkdir(parents=True)
    for file in ("main.py", "folder_paths.py"):
        (root / file).touch()
    (root / "comfyui_version.py").write_text('__version__ = "0.3.75"\n')
    pack = root / "custom_nodes" / "ComfyUI-Exo2Ego"
    pack.symlink_to(ROOT)
    return Doctor(root, pack, capsys)


@pytest.fixture
def complete(empty, tiny_files) -> Doctor:
    """An installation with every model."""
    for (kind, name), source in tiny_files.items():
        path = empty.folder(kind) / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(source)
    for (kind, name), (files, model_type) in FOLDERS.items():
        for file in files:
            (empty.folder(kind) / name / file).write_text(json.dumps({"model_type": model_type}))
    return empty


@pytest.fixture
def cut(tiny_files) -> Callable[[Path, float], None]:
    """Return a function that leaves only the first part of a file."""

    def shorten(path: Path, share: float) -> None:
        whole = path.read_bytes()
        path.unlink()
        path.write_bytes(whole[: int(share * len(whole))])

    return shorten
