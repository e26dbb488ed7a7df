"""What this pack's wrappers of sampling runs (OUTER_SAMPLE) and model calls (DIFFUSION_MODEL) have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

# Key of EgoX's wrappers; during a model call, key of the `TokenLayout` of its joined tokens in transformer_options.
EGOX_KEY = "exo2ego"
GGA_KEY = "exo2ego_gga"
WINDOWS_KEY = "exo2ego_windows"
REUSE_KEY = "exo2ego_reuse"
SYN_KEY = "exo2egosyn"


def set_wrappers(patched: ModelPatcher, key: str, wrappers: Mapping[str, Callable]) -> None:
    """Give a MODEL wrappers by their kind, in place, instead of those that the key had."""
    for kind, wrapper in wrappers.items():
        patched.remove_wrappers_with_key(kind, key)
        patched.add_wrapper_with_key(kind, key, wrapper)


def remove_wrappers(patched: ModelPatcher, key: str) -> None:
    """Take all wrappers of a key from a MODEL, in place."""
    for kind in (WrappersMP.OUTER_SAMPLE, WrappersMP.PREPARE_SAMPLING, WrappersMP.DIFFUSION_MODEL):
        patched.remove_wrappers_with_key(kind, key)


def model_call_wrapper(model: ModelPatcher, key: str) -> Any:
    """Return the DIFFUSION_MODEL wrapper of a key, or None where a MODEL has none."""
    wrappers = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, key)
    return wrappers[-1] if wrappers else None


@contextmanager
def transformer_options_of_run(guider: Any, **changes: Any) -> Iterator[None]:
    """Change transformer_options for the run of a guider, from within an OUTER_SAMPLE wrapper."""
    options = guider.model_options
    guider.model_options = {**options, "transformer_options": {**options["transformer_options"], **changes}}
    try:
        yield
    finally:
        guider.model_options = options


def prepared(options: dict, key: str, what: str, instead: str = "") -> Any:
    """Return what an OUTER_SAMPLE wrapper left in the transformer_options of its run.

    Args:
        options: of a model call.
        key: under which it was left.
        what: was prepared, for people: "GGA".
        instead: what else can be done than to take another sampler.

    Raises:
        ValueError: if the wrapper never ran.
    """
    if key not in options:
        raise ValueError(
            f"{what} was not prepared: this sampler bypasses ComfyUI's guider (OUTER_SAMPLE). Use KSampler or "
            f"SamplerCustomAdvanced{instead}."
        )
    return options[key]


def refuse_appended_frames(what: str, time_dim_concat: Tensor | None) -> None:
    """Raise ValueError where conditioning appends frames to the model's input."""
    if time_dim_concat is not None:
        raise ValueError(f"{what} cannot run with conditioning that appends frames (time_dim_concat): remove it.")


def window_frames(transformer_options: dict) -> tuple[int, ...] | None:
    """Return the latent frames that the model sees of ComfyUI's current context window, in order, or None."""
    window = transformer_options.get("context_window")
    index_list = getattr(window, "index_list", None)
    if index_list is None or getattr(window, "dim", 2) != 2:
        return None
    # Newer versions of ComfyUI put the frame before a window in front of it and drop its output (causal_window_fix).
    anchor = getattr(window, "causal_anchor_index", None)
    before = () if anchor is None or anchor < 0 else (int(anchor),)
    return (*before, *(int(index) for index in index_list))


@dataclass(frozen=True, eq=False)
class ModelCall:
    """One call of the model, as a DIFFUSION_MODEL wrapper that changes its options alone gets it.

    torch.compile does not trace this, for it would guard every argument of every call, but what it calls.

    Attributes:
        executor: runs the model and the wrappers further inside.
        x: [B, channels, T, h, w].
        options: transformer_options.
        time_dim_concat: frames that conditioning appends, or None.
    """

    executor: Callable[..., Tensor]
    x: Tensor
    options: dict
    time_dim_concat: Tensor | None
    _others: tuple[Any, Any, Any]
    _keywords: dict[str, Any]

    @classmethod
    @torch.compiler.disable
    def of(
        cls,
        executor: Callable[..., Tensor],
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None = None,
        time_dim_concat: Tensor | None = None,
        transformer_options: dict | None = None,
        **kwargs: Any,
    ) -> ModelCall:
        """Take the arguments of Wan's forward pass apart."""
        return cls(executor, x, transformer_options or {}, time_dim_concat, (timestep, context, clip_fea), kwargs)

    @torch.compiler.disable
    def prepared(self, key: str, what: str) -> Any:
        """Return what an OUTER_SAMPLE wrapper left for this call's run; see `prepared`."""
        return prepared(self.options, key, what)

    @torch.compiler.disable
    def refuse_appended_frames(self, what: str) -> None:
        """Raise ValueError where conditioning appends frames to the model's input."""
        refuse_appended_frames(what, self.time_dim_concat)

    @torch.compiler.disable(recursive=False)
    def run(self, options: dict) -> Tensor:
        """Run the model with other transformer_options."""
        return self.executor(self.x, *self._others, self.time_dim_concat, options, **self._keywords)
