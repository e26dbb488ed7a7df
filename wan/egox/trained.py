"""What a LoRA was trained for beside what a run uses: its file says it, and whoever samples otherwise is told.

The file's header travels with the MODEL that carries the LoRA. Whatever the order of nodes, what is in force is known
when sampling starts, and compared then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...common.safe_text import safe_logger
from ...common.wan_grid import VAE_STRIDE, video_frames
from ...geometry.directions.clip import ClipGeometry
from ...networks.weights.egox_lora import NO_GGA, EgoXLoraHeader
from .apply import applied_egox
from .gga import applied_gga
from .gga_settings import Guidance

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

TRAINED_KEY = "exo2ego_lora_trained"

_log = safe_logger(__name__)


@dataclass(frozen=True)
class TrainedLora:
    """OUTER_SAMPLE wrapper that carries what a LoRA's file says of its training.

    Attributes:
        file: its name.
        header: what it says.
        report: called with the differences when sampling starts, where there are any; None for the log.
    """

    file: str
    header: EgoXLoraHeader
    report: Callable[[str], None] | None = None

    def __call__(self, executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compare, then sample."""
        if text := self.differences(executor.class_obj.model_patcher, noise.shape):
            if self.report is None:
                _log.warning("EgoX LoRA: %s", text)
            else:
                self.report(text)
        return executor(noise, *args, **kwargs)

    def differences(self, model: ModelPatcher, ego_shape: Sequence[int] | None = None) -> str:
        """Return how a MODEL runs otherwise than the LoRA was trained, in a sentence; "" where it does not.

        Args:
            model: with the LoRA. Where EgoX is not applied to it yet, nothing is known.
            ego_shape: of the sampled latent [B, 16, T, h, w]. None before sampling, when GGA may still be put on it.
        """
        egox = applied_egox(model)
        if egox is None:
            return ""
        frames, height, width = egox.exo_shape
        used = {
            "match": egox.settings.match.value,
            "exo_size": _pixels(height, width),
            "num_frames": str(video_frames(frames)),
        }
        if ego_shape is not None:
            used["ego_size"] = _pixels(*ego_shape[-2:])
        gga = applied_gga(model)
        if gga is not None:
            used |= _guided(gga.guidance[egox.settings.match])
        elif ego_shape is not None:
            used["gga"] = NO_GGA
        found = self.header.differences(used)
        if not found:
            return ""
        return f"{self.file} was trained with {', '.join(found)}. Results are best with what it was trained for."


def add_trained(
    patched: ModelPatcher, file: str, header: EgoXLoraHeader, report: Callable[[str], None] | None = None
) -> None:
    """Let a MODEL, in place, carry what a LoRA's file says; every LoRA on it says its own."""
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, TRAINED_KEY, TrainedLora(file, header, report))


def differences_of(model: ModelPatcher) -> str:
    """Return in which ways a MODEL is known, before it samples, to run otherwise than its LoRAs were trained."""
    carried = model.get_wrappers(WrappersMP.OUTER_SAMPLE, TRAINED_KEY)
    return " ".join(text for trained in carried if (text := trained.differences(model)))


def _guided(guidance: Guidance) -> dict[str, str]:
    settings, geometry = guidance.settings, guidance.geometry
    used = {"gga": settings.form.value, "gga_strength": f"{settings.strength:g}"}
    return used | ({"gga_geometry": geometry.kind.value} if isinstance(geometry, ClipGeometry) else {})


def _pixels(height: int, width: int) -> str:
    return f"{width * VAE_STRIDE}x{height * VAE_STRIDE}"
