"""Clips of any length: the model sees windows of latent frames, which are blended at every step of one sampling run.

What goes along with the sampled latent is divided as it is: conditioning that is joined by channels, the exo view,
masks and directions, by the same means as with ComfyUI's own context windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...common.windows import Windows
from .memory import MemoryEstimate
from .steps_of_run import StepsOfRun
from .wrappers import SYN_KEY, WINDOWS_KEY, ModelCall, model_call_wrapper, set_wrappers, window_frames

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


@dataclass(frozen=True)
class FramesOfClip:
    """What `window_frames` reads, as of a window of ComfyUI's.

    Attributes:
        index_list: latent frames that the model sees.
        dim: of the latent that counts them.
    """

    index_list: Sequence[int]
    dim: int = 2


def sample_in_windows(model: ModelPatcher, windows: Windows) -> ModelPatcher:
    """Return a clone of a MODEL that samples clips longer than a window in windows; shorter ones as before.

    ComfyUI's own context windows go before it where they are set. It goes in any order with EgoX, GGA, Exo2EgoSyn and
    caches.

    Args:
        model: MODEL.
        windows: in latent frames.
    """
    patched = model.clone()
    memory = WindowMemoryEstimate(windows, model.get_model_object("memory_required"))
    progress = WindowProgress()
    wrappers = {
        WrappersMP.OUTER_SAMPLE: progress.outer_sample,
        WrappersMP.PREPARE_SAMPLING: memory.prepare_sampling,
        WrappersMP.DIFFUSION_MODEL: InWindows(windows, progress),
    }
    set_wrappers(patched, WINDOWS_KEY, wrappers)
    exo2egosyn = model_call_wrapper(patched, SYN_KEY)
    if exo2egosyn is not None:  # it belongs inside: it gives each window its views and poses
        set_wrappers(patched, SYN_KEY, {WrappersMP.DIFFUSION_MODEL: exo2egosyn})
    patched.add_object_patch("memory_required", memory.memory_required)
    return patched


class WindowProgress:
    """Moves the sampler's progress bar within a step: by a part of a step at every window.

    A step of a long clip takes minutes. With several model calls a step (CFG, some samplers) the first one moves it.
    """

    def __init__(self) -> None:
        self._steps: StepsOfRun | None = None
        self._reached = 0.0

    def outer_sample(
        self,
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """OUTER_SAMPLE wrapper: know the run's steps."""
        self._steps, self._reached = StepsOfRun(sigmas.tolist()), 0.0
        try:
            return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
        finally:
            self._steps = None

    def tell(self, options: dict, done: int, windows: int) -> None:
        """Show that some of a model call's windows are done; a bar never goes back."""
        if self._steps is None or not len(self._steps):
            return
        place = self._steps.at(float(options["sigmas"][0])) + done / windows
        if place > self._reached:
            self._reached = place
            # Rounded, for it is shown as a number too.
            comfy.utils.ProgressBar(len(self._steps)).update_absolute(round(place, 2), len(self._steps))


@dataclass(frozen=True)
class InWindows:
    """DIFFUSION_MODEL wrapper that calls the model once a window.

    Attributes:
        windows: in latent frames.
        progress: told of every window.
    """

    windows: Windows
    progress: WindowProgress

    @torch.compiler.disable(recursive=False)
    def __call__(self, executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Run the model on windows; the result [B, C, T, h, w] is their blend."""
        call = ModelCall.of(executor, *args, **kwargs)
        n_frames = call.x.shape[2]
        if n_frames <= self.windows.length or window_frames(call.options) is not None:
            return call.run(call.options)
        blended = None
        parts = list(self.windows.weighted(n_frames))
        for number, (frames, weights) in enumerate(parts):
            comfy.model_management.throw_exception_if_processing_interrupted()
            part = replace(call, x=call.x[:, :, frames.start : frames.stop])
            out = part.run({**call.options, "context_window": FramesOfClip(frames)})
            if blended is None:
                blended = torch.zeros(*out.shape[:2], n_frames, *out.shape[3:], dtype=torch.float32, device=out.device)
            weight = torch.tensor(weights, device=out.device).view(-1, 1, 1)
            blended[:, :, frames.start : frames.stop] += weight * out.float()
            if number + 1 < len(parts):  # of the last one the sampler tells
                self.progress.tell(call.options, number + 1, len(parts))
        assert blended is not None
        return blended.to(call.x.dtype)


class WindowMemoryEstimate(MemoryEstimate):
    """Of a long clip the model sees a window at a time.

    Args:
        windows: in latent frames.
        memory_required: the model's own estimate, or another patch of it.
    """

    def __init__(self, windows: Windows, memory_required: Callable[..., float]) -> None:
        super().__init__(memory_required)
        self._length = windows.length

    def enlarged(self, shape: list[int]) -> list[int]:
        """Shorten the shape."""
        return [*shape[:2], min(shape[2], self._length), *shape[3:]] if len(shape) == 5 else shape
