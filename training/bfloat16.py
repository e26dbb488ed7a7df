"""Whether a device computes with bfloat16, or emulates it."""

from __future__ import annotations

import torch


def is_fast_in_bfloat16(device: torch.device | str) -> bool:
    """Whether products of bfloat16 matrices are faster than those of float32.

    GPUs multiply them five times as fast, and so do processors with instructions for it; others emulate them and are
    many times slower.
    """
    if torch.device(device).type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
