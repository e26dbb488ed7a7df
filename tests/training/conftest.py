"""A real ComfyUI in the test process, beside the trainer."""

from __future__ import annotations

import pytest

from support.comfyui import import_comfyui
from support.egox_witness import Clip, made_up_clip
from support.tiny_wan import wan_state_dict

import_comfyui()


@pytest.fixture
def model():
    """A tiny Wan 2.1 I2V as ComfyUI loads it, fresh for every test."""
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(wan_state_dict())


@pytest.fixture(scope="session")
def clip() -> Clip:
    return made_up_clip()
