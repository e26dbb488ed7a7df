"""A real ComfyUI in the test process, and tiny models loaded by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.comfyui import import_comfyui
from support.egosyn_witness import SynClip, made_up_syn_clip
from support.egox_witness import Clip, made_up_clip
from support.tiny_models import write_tiny_models, write_wrong_bases

import_comfyui()


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_files(models_dir) -> dict[str, Path]:
    """Paths of the tiny models by role."""
    from support.tiny_models import FILES

    names = write_tiny_models(models_dir)
    return {role: models_dir / FILES[role][0] / name for role, name in names.items()}


@pytest.fixture(scope="session")
def wrong_bases(models_dir) -> dict[str, Path]:
    names = write_wrong_bases(models_dir)
    return {kind: models_dir / "diffusion_models" / name for kind, name in names.items()}


@pytest.fixture
def model(tiny_files):
    """A tiny Wan 2.1 I2V as stock Load Diffusion Model gives it, fresh for every test."""
    import comfy.sd

    return comfy.sd.load_diffusion_model(str(tiny_files["unet"]))


@pytest.fixture(scope="session")
def clip() -> Clip:
    return made_up_clip()


@pytest.fixture
def wan22(wrong_bases):
    """A tiny Wan 2.2 I2V A14B, fresh for every test."""
    import comfy.sd

    return comfy.sd.load_diffusion_model(str(wrong_bases["i2v_2.2"]))


@pytest.fixture(scope="session")
def syn_clip() -> SynClip:
    return made_up_syn_clip()
