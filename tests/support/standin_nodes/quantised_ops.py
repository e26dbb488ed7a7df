"""Stand-ins for the layers of packs that quantise: int8 with a scale for each row, and ComfyUI-GGUF's Q8_0.

As those packs do, they keep the weights in a form of their own, unpack them at every use, and take a LoRA in their own
way. They share no code with them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import torch
from torch import Tensor, nn

_ROW = 32  # weights that share a scale in Q8_0


class QuantizationType(IntEnum):
    """As the gguf library names them."""

    F16 = 1
    Q8_0 = 8


class Int8Ops(comfy.ops.manual_cast):
    """Linear layers of more than one row hold int8 and `weight_scale` [outputs, 1]."""

    class Linear(comfy.ops.manual_cast.Linear):
        """A linear layer."""

        def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
            weight = state_dict[f"{prefix}weight"].float()
            self.weight_scale = weight.abs().amax(dim=1, keepdim=True) / 127
            self.weight = nn.Parameter((weight / self.weight_scale).round().to(torch.int8), requires_grad=False)
            if self.bias is not None:
                self.bias = nn.Parameter(state_dict[f"{prefix}bias"].clone(), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            """Unpack and multiply."""
            weight = self.convert_weight(self.weight).to(x)
            return nn.functional.linear(x, weight, None if self.bias is None else self.bias.to(x))

        def convert_weight(self, weight: Tensor, inplace: bool = False, **kwargs: Any) -> Tensor:
            """Return the weights in float32."""
            return weight.float() * self.weight_scale.to(weight.device)

        def set_weight(self, weight: Tensor, inplace_update: bool = False, seed: Any = None, **kwargs: Any) -> None:
            """Round merged weights anew."""
            self.weight = nn.Parameter((weight / self.weight_scale).round().clamp(-127, 127).to(torch.int8), False)


class PackedTensor(torch.Tensor):
    """Bytes of Q8_0, which say the shape of the weights they hold."""

    tensor_type: QuantizationType
    tensor_shape: torch.Size
    patches: list[Any]

    @staticmethod
    def packed(weight: Tensor) -> PackedTensor:
        """Pack [outputs, inputs]: for every 32 weights a scale in half precision and 32 bytes."""
        groups = weight.float().reshape(-1, _ROW)
        scale = (groups.abs().amax(dim=1, keepdim=True) / 127).half()
        values = (groups / scale.float().clamp(min=1e-12)).round().to(torch.int8)
        data = torch.cat([scale.view(torch.uint8).reshape(-1, 2), values.view(torch.uint8)], dim=1)
        return data.flatten().as_subclass(PackedTensor)._with(QuantizationType.Q8_0, weight.shape, [])

    def _with(self, tensor_type: QuantizationType, shape: torch.Size, patches: list[Any]) -> PackedTensor:
        self.tensor_type, self.tensor_shape, self.patches = tensor_type, shape, patches
        return self

    def unpacked(self) -> Tensor:
        """Return the weights, float32."""
        data = self.data.as_subclass(torch.Tensor).reshape(-1, 2 + _ROW)
        scale, values = data[:, :2].contiguous().view(torch.half), data[:, 2:].contiguous().view(torch.int8)
        return (scale.float() * values.float()).reshape(self.tensor_shape)

    def to(self, *args: Any, **kwargs: Any) -> PackedTensor:
        """Move; there is no other type."""
        new = super().to(*args, **kwargs)
        return new._with(self.tensor_type, self.tensor_shape, list(self.patches))

    def detach(self) -> PackedTensor:
        """Return itself: it is never trained."""
        return self

    clone = detach

    @property
    def shape(self) -> torch.Size:
        """Shape of the weights, not of the bytes."""
        return self.tensor_shape if hasattr(self, "tensor_shape") else self.size()


class GGUFOps(comfy.ops.manual_cast):
    """Linear layers hold Q8_0 and merge their LoRAs at every use, as ComfyUI-GGUF's."""

    class Linear(comfy.ops.manual_cast.Linear):
        """A linear layer."""

        comfy_cast_weights = True

        def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
            self.weight = nn.Parameter(PackedTensor.packed(state_dict[f"{prefix}weight"]), requires_grad=False)
            if self.bias is not None:
                self.bias = nn.Parameter(state_dict[f"{prefix}bias"].clone(), requires_grad=False)

        def forward_comfy_cast_weights(self, x: Tensor) -> Tensor:
            """Unpack, merge and multiply."""
            weight = self.weight.unpacked()
            for patches, key in self.weight.patches:
                weight = comfy.lora.calculate_weight(patches, weight, key)
            return nn.functional.linear(x, weight.to(x), None if self.bias is None else self.bias.to(x))


class GGUFPatcher(comfy.model_patcher.ModelPatcher):
    """Hands a LoRA to the packed tensor in the place of merging it, as ComfyUI-GGUF's."""

    def patch_weight_to_device(self, key: str, device_to: Any = None, inplace_update: bool = False) -> None:
        """Patch one weight."""
        weight = comfy.utils.get_attr(self.model, key)
        if not isinstance(weight, PackedTensor):
            super().patch_weight_to_device(key, device_to, inplace_update)
        elif key in self.patches:
            weight.patches = [(self.patches[key], key)]

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> Any:
        """Take the LoRAs off the packed tensors."""
        if unpatch_weights:
            for parameter in self.model.parameters():
                if isinstance(parameter, PackedTensor):
                    parameter.patches = []
        return super().unpatch_model(device_to, unpatch_weights)


def load_gguf(weights: dict[str, Tensor]) -> GGUFPatcher:
    """Return a MODEL of which the linear layers are packed."""
    model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={"custom_operations": GGUFOps})
    return GGUFPatcher(model.model, model.load_device, model.offload_device)
