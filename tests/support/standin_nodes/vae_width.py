"""Wan's VAE in the width of its file, for versions of ComfyUI that build the real width alone (up to 0.3.75)."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import comfy.ldm.wan.vae
import comfy.sd

_WIDTH = "decoder.head.0.gamma"  # a tensor as long as the VAE is wide


def read_vae_width() -> None:
    """Have ComfyUI's loader build a VAE as wide as its file, where it does not so by itself; once or more often."""
    loaded = comfy.sd.VAE.__init__
    if _WIDTH in loaded.__code__.co_consts or hasattr(loaded, "__wrapped__"):
        return

    @wraps(loaded)
    def load(self: Any, sd: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> None:
        network = comfy.ldm.wan.vae.WanVAE
        if sd is not None and _WIDTH in sd:
            comfy.ldm.wan.vae.WanVAE = partial(_network, network, len(sd[_WIDTH]))
        try:
            loaded(self, sd, *args, **kwargs)
        finally:
            comfy.ldm.wan.vae.WanVAE = network

    comfy.sd.VAE.__init__ = load


def _network(network: Any, width: int, **config: Any) -> Any:
    return network(**{**config, "dim": width})
