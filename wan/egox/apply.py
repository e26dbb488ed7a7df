"""EgoX as a MODEL patch: the clean exo latent beside the noisy ego latent, at every step.

The artist samples an ego-sized latent with any sampler; inside the model call the exo view is joined on the left and
cut off again, so previews, LATENT and VAE see the ego view alone. `model_input` says what its 36 channels are.

The ego columns come from ordinary CONDITIONING: `concat_latent_image` is the ego prior's latent and `concat_mask` ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from comfy.patcher_extension import WrappersMP
from einops import repeat
from torch import Tensor

from ...attention.layout import TokenLayout
from ...common.wan_grid import LATENT_CHANNELS, PATCH
from ..shared.base_model import require_wan21_i2v
from ..shared.finite_steps import FiniteSteps
from ..shared.memory import WideMemoryEstimate
from ..shared.wrappers import (
    EGOX_KEY,
    GGA_KEY,
    REUSE_KEY,
    WINDOWS_KEY,
    model_call_wrapper,
    prepared,
    refuse_appended_frames,
    set_wrappers,
    transformer_options_of_run,
    window_frames,
)
from .cache_warning import warn_of_cache
from .match import Match, matched
from .model_input import exo_columns

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

# Key of the exo view's noise in the transformer_options of a run.
_NOISE_KEY = "exo2ego_exo_noise"


@dataclass(frozen=True)
class ExoSettings:
    """How the exo view stands in the model's input.

    Attributes:
        match: whose settings the run follows; GGA asks for it.
        last_frame_mask: whether the mask marks the clip's last exo frame as given; None as matched.
        noisy: whether the exo latent carries the noise of the step (the paper's ablation "w/o clean latent", section
            4.4). The condition channels stay clean.
    """

    match: Match = Match.INFERENCE
    last_frame_mask: bool | None = None
    noisy: bool = False

    @property
    def masks_last_frame(self) -> bool:
        """Whether the last exo frame is marked, the choice resolved."""
        return matched(self.match).last_frame_mask if self.last_frame_mask is None else self.last_frame_mask

    def describe(self) -> str:
        """Return what is in force as one line."""
        frames = "first and the last" if self.masks_last_frame else "first"
        latent = "NOISY exo latent (ablation)" if self.noisy else "clean exo latent"
        return f"{self.match.value}: {latent}, mask on the {frames} exo frame."


def apply_egox(model: ModelPatcher, exo_latent: Tensor, settings: ExoSettings | None = None) -> ModelPatcher:
    """Return a clone of a Wan 2.1 I2V MODEL that sees the exo view on the left of what is sampled.

    Applied again, it replaces the exo view. It goes in any order with LoRA, shift, GGA, caches and torch.compile.

    Args:
        model: MODEL, with the EgoX LoRA for meaningful results.
        exo_latent: [1 or N, 16, T, h, w_exo], as the VAE encodes it; h and w_exo even. One serves any batch.
        settings: defaults to the release's inference.

    Raises:
        ValueError: for another model, or a latent of another kind. Whether it fits the sampled latent is checked before
            the first step.
    """
    require_wan21_i2v(model)
    _check_exo_latent(exo_latent)
    normalised = model.get_model_object("latent_format").process_in(exo_latent.detach().float().cpu())
    patched = model.clone()
    settings = settings or ExoSettings()
    joined = ExoBesideEgo(exo_columns(normalised, settings.masks_last_frame), settings)
    memory = WideMemoryEstimate(exo_latent.shape[-1], model.get_model_object("memory_required"))
    wrappers = {
        WrappersMP.OUTER_SAMPLE: joined.outer_sample,
        WrappersMP.PREPARE_SAMPLING: memory.prepare_sampling,
        WrappersMP.DIFFUSION_MODEL: joined,
    }
    set_wrappers(patched, EGOX_KEY, wrappers)
    patched.add_object_patch("memory_required", memory.memory_required)
    return patched


def applied_egox(model: ModelPatcher) -> ExoBesideEgo | None:
    """Return EgoX's wrapper where it is applied to a MODEL."""
    return model_call_wrapper(model, EGOX_KEY)


class ExoBesideEgo:
    """DIFFUSION_MODEL wrapper that joins the exo view on the left, and its checks.

    Args:
        block: [1 or N, 36, T, h, w_exo] exo columns of the model's input, in the model's scale, without noise.
        settings: what they were made by, and whether they get noise.
    """

    def __init__(self, block: Tensor, settings: ExoSettings) -> None:
        self.settings = settings
        self._block = block

    @property
    def exo_shape(self) -> tuple[int, int, int]:
        """Latent frames, height and width of the exo view."""
        return tuple(self._block.shape[2:])

    @property
    def is_one_clip(self) -> bool:
        """Whether the exo latent is one clip, or the same one for every item of the batch."""
        return bool((self._block == self._block[:1]).all())

    def layout(self, noise_shape: Sequence[int]) -> TokenLayout:
        """Return the tokens of a sampled latent [B, 16, T, h, w] joined with the exo view.

        Raises:
            ValueError: if the two do not fit.
        """
        self._check_sampled_latent(noise_shape)
        frames, height, width = noise_shape[2:]
        return TokenLayout(frames, height // PATCH, self._block.shape[-1] // PATCH, width // PATCH)

    def outer_sample(
        self,
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """OUTER_SAMPLE wrapper: refuse latents that do not fit before anything is loaded, become the innermost."""
        self.layout(noise.shape)
        guider = executor.class_obj
        warn_of_cache(guider.model_options["transformer_options"], len(sigmas) - 1)
        options = {"wrappers": _with_egox_innermost(guider.model_options["transformer_options"]["wrappers"])}
        if self.settings.noisy:
            options[_NOISE_KEY] = self._noise(noise.shape, seed or 0)
        finite = FiniteSteps("EgoX", callback)
        with transformer_options_of_run(guider, **options):
            return finite.check(
                executor(noise, latent_image, sampler, sigmas, denoise_mask, finite, disable_pbar, seed, **kwargs)
            )

    def __call__(
        self,
        executor: Callable[..., Tensor],
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None = None,
        time_dim_concat: Tensor | None = None,
        transformer_options: dict | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Run the model on exo and ego; `x` and the result are [B, 36 or 16, T, h, w_ego]."""
        refuse_appended_frames("EgoX", time_dim_concat)
        options = dict(transformer_options or {})
        window = window_frames(options)
        block = self._noised(options) if self.settings.noisy else self._block
        if window is not None:
            block = block[:, :, list(window)]
        joined = torch.cat([_repeated(block.to(x), x.shape[0]), x], dim=-1)
        frames, height, width = x.shape[2:]
        exo_width = block.shape[-1]
        options[EGOX_KEY] = TokenLayout(frames, height // PATCH, exo_width // PATCH, width // PATCH)
        out = executor(joined, timestep, context, clip_fea, time_dim_concat, options, **kwargs)
        return out[..., exo_width:]

    def _noise(self, ego_shape: Sequence[int], seed: int) -> Tensor:
        """Return the exo view's noise of a run [B, 16, T, h, w_exo]: what the seed gives after the ego view's."""
        generator = torch.Generator().manual_seed(seed)
        torch.randn(tuple(ego_shape), generator=generator)  # drawn apart, the two would begin alike
        return torch.randn(ego_shape[0], *self._block[:, :LATENT_CHANNELS].shape[1:], generator=generator)

    def _noised(self, options: dict) -> Tensor:
        """Return the exo columns [B, 36, T, h, w_exo] with their latent at the noise level of the step."""
        noise = prepared(options, _NOISE_KEY, "The noise of the exo latent", instead=", or a clean exo latent")
        block = _repeated(self._block, len(noise))
        sigma = options["sigmas"][0].to(noise)
        noisy = (1 - sigma) * block[:, :LATENT_CHANNELS] + sigma * noise
        return torch.cat([noisy, block[:, LATENT_CHANNELS:]], dim=1)

    def _check_sampled_latent(self, shape: Sequence[int]) -> None:
        clips, _, exo_frames, exo_height, _ = self._block.shape
        expected = f"[batch, {LATENT_CHANNELS}, {exo_frames}, {exo_height}, even width]"
        got = _text(shape)
        advice = "Sample the latent that EgoX Conditioning makes from the same clip."
        if len(shape) != 5 or shape[1] != LATENT_CHANNELS:
            raise ValueError(f"EgoX samples a Wan video latent {expected}, got {got}. {advice}")
        batch, _, frames, height, width = shape
        if height % PATCH or width % PATCH:
            raise ValueError(
                f"EgoX samples latents of even height and width (video sizes divisible by 16), got {got}. {advice}"
            )
        if frames != exo_frames:
            raise ValueError(f"The exo latent has {exo_frames} frames and the sampled ego latent {frames}. {advice}")
        if height != exo_height:
            raise ValueError(
                f"Exo and ego latent must have the same height, got {exo_height} and {height}: encode both videos "
                f"at one height. {advice}"
            )
        if clips not in (1, batch):
            raise ValueError(
                f"The exo latent holds a batch of {clips} and the sampled latent one of {batch}: give one exo "
                "clip, or as many as are sampled."
            )


def _check_exo_latent(latent: Tensor) -> None:
    got = _text(latent.shape)
    if latent.ndim != 5 or latent.shape[1] != LATENT_CHANNELS:
        raise ValueError(
            f"The exo latent is a Wan 2.1 video latent [batch, {LATENT_CHANNELS}, frames, height, width], got {got}: "
            "encode the exo video with the Wan 2.1 VAE."
        )
    if latent.shape[3] % PATCH or latent.shape[4] % PATCH:
        raise ValueError(
            f"The exo latent has an odd height or width ({got}), so that a token would straddle the border of exo and "
            "ego: bring the exo video to a width and height divisible by 16."
        )
    if not latent.isfinite().all():
        raise ValueError("The exo latent holds values that are not finite: check the exo video and the VAE.")


def _text(shape: Sequence[int]) -> str:
    return f"[{', '.join(str(size) for size in shape)}]"


def _with_egox_innermost(wrappers: dict[str, dict]) -> dict[str, dict]:
    """Return wrappers in an order in which caches and others see the ego view alone, wherever their node stands.

    Caches see all of a long clip, GGA a window of it. Exo reuse meets self-attention before GGA does.
    """
    model_calls = dict(wrappers[WrappersMP.DIFFUSION_MODEL])
    inside = WINDOWS_KEY in model_calls or REUSE_KEY in model_calls
    for key in (WINDOWS_KEY, GGA_KEY, REUSE_KEY, EGOX_KEY) if inside else (EGOX_KEY,):
        if key in model_calls:
            model_calls[key] = model_calls.pop(key)
    return {**wrappers, WrappersMP.DIFFUSION_MODEL: model_calls}


def _repeated(block: Tensor, batch: int) -> Tensor:
    """Repeat clips for positive and negative, which ComfyUI joins as whole batches one after the other."""
    return repeat(block, "clip c t h w -> (copy clip) c t h w", copy=batch // block.shape[0])
