"""A tensor of another device, for machines without one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_VIEWS = {"alias", "detach", "expand", "permute", "select", "slice", "squeeze", "unsqueeze", "view"}


class Elsewhere(Tensor):
    """Holds values that can be looked at in parts (views) and copied to the CPU, but not computed with.

    What should bring its input to the CPU before any other step does not get past one of these otherwise.
    """

    @staticmethod
    def __new__(cls, values: Tensor) -> Elsewhere:
        return Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), dtype=values.dtype, device="meta"
        )

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = dict(options or {})
        name = function.overloadpacket.__name__
        if name == "_to_copy" and options.get("device") == torch.device("cpu"):
            return function(arguments[0].values, **options)
        if name in _VIEWS:
            return cls(function(arguments[0].values, *arguments[1:], **options))
        raise RuntimeError(f"{name} computes on another device")
