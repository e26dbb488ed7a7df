"""Import a real ComfyUI into the test process, on the CPU."""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@cache
def import_comfyui() -> Path:
    """Put ComfyUI's folder on `sys.path`, start it for the CPU and return the folder.

    COMFYUI_PATH may name the folder; otherwise it is the one that `tools/environment.py` prepared.
    """
    folder = comfyui_folder()
    sys.path.insert(0, str(folder))
    arguments, sys.argv = sys.argv, ["comfyui", "--cpu"]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.cli_args  # reads sys.argv
    finally:
        sys.argv = arguments
    from .standin_nodes.vae_width import read_vae_width

    read_vae_width()
    # ComfyUI collects garbage whenever it loads a model; what the imports made stays and need not be walked each time.
    gc.freeze()
    return folder


@cache
def comfyui_folder() -> Path:
    """Return the ComfyUI that the tests use: COMFYUI_PATH, or the one that `tools/environment.py` prepared."""
    command = [sys.executable, str(ROOT / "tools" / "environment.py"), "--comfyui"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(result.stdout.strip())


def run_node(node: Any, hidden: dict[str, Any] | None = None, **values: Any) -> Any:
    """Run a V3 node as ComfyUI does, on a locked clone of its class; `hidden` are its hidden inputs by name."""
    from comfy_api.internal import make_locked_method_func

    (of_hidden,) = list(inspect.signature(node.PREPARE_CLASS_CLONE).parameters)
    wrapped = hidden is not None and of_hidden == "v3_data"  # newer ones hand out more than the hidden inputs
    clone = node.PREPARE_CLASS_CLONE({"hidden_inputs": hidden} if wrapped else hidden)
    return make_locked_method_func(node, "EXECUTE_NORMALIZED", clone)(**values)


def k_sampler(model: Any, positive: list, negative: list, latent: Any, **settings: Any) -> Any:
    """Run the stock KSampler node as a prompt does, in inference mode; returns the samples, [B, 16, T, h, w]."""
    import torch

    import nodes

    defaults = {
        "seed": 5,
        "steps": 3,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "positive": positive,
        "negative": negative,
        "latent_image": {"samples": latent},
    }
    with torch.inference_mode():
        (result,) = nodes.KSampler().sample(model, **{**defaults, **settings})
    return result["samples"]
