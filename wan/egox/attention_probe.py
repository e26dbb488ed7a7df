"""One denoising step that records where one ego token's attention goes (paper, Fig. 7).

The step is ComfyUI's own, as KSampler (Advanced) makes it between two steps, without CFG and with euler, which calls
the model once. The recording hook lives on a clone of the MODEL for that call alone, inside of GGA and of what else is
applied, so that it sees the queries and keys that each block's self-attention gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.sample
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.guided_attention import PlainAttention
from ...attention.layout import TokenLayout
from ...attention.probe import AttentionMap, AttentionProbe, EgoToken, bias_of_token
from ...common.wan_grid import LATENT_CHANNELS, latent_frame_of, video_frames
from ..shared.base_model import require_wan21_i2v
from ..shared.wrappers import GGA_KEY, REUSE_KEY, WINDOWS_KEY, ModelCall, model_call_wrapper, remove_wrappers
from .apply import applied_egox
from .gga import GGARun
from .gga_hooks import HookCounts, SelfAttentionHooks
from .gga_settings import block_range

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_PROBE_KEY = "exo2ego_attention_probe"


@dataclass(frozen=True)
class ProbeStep:
    """Which denoising step is made, with KSampler's meanings.

    Attributes:
        step: from 0 on, of `steps`.
        steps: length of the schedule.
        scheduler: ComfyUI's name of the schedule.
        seed: of the noise.
    """

    step: int
    steps: int
    scheduler: str = "simple"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.step < self.steps:
            raise ValueError(
                f"A schedule of {self.steps} steps has the steps 0 to {self.steps - 1}, got {self.step}. Choose one of "
                "these."
            )


@dataclass(frozen=True, eq=False)
class RecordedAttention:
    """What a step showed of one ego token.

    Attributes:
        token: the token.
        plain: its attention without GGA's bias.
        guided: with it, from the same queries and keys; None where GGA is not on the model.
        plain_angle, guided_angle: mean angle in degrees between the token's direction and what it attends to in the
            exo view; None where GGA, which knows directions, is not on the model or has none for the token.
        blocks: the chosen blocks.
        recorded: how many of them were recorded.
        guided_blocks: in how many GGA acts at this step.
        sigma: noise level of the step, 0 to 1.
    """

    token: EgoToken
    plain: AttentionMap
    guided: AttentionMap | None
    plain_angle: float | None
    guided_angle: float | None
    blocks: range
    recorded: int
    guided_blocks: int
    sigma: float


def probed_layout(model: ModelPatcher, latent: dict[str, Any]) -> TokenLayout:
    """Return the tokens of a model's exo view and a sampled ego latent.

    Raises:
        ValueError: if EgoX is missing, context windows are on, or the latent is a batch or does not fit.
    """
    require_wan21_i2v(model)
    egox = applied_egox(model)
    if egox is None:
        raise ValueError(
            "Attention from the ego to the exo view needs both, but no exo view is applied to this model: put EgoX "
            "Apply on it."
        )
    if model.model_options.get("context_handler") is not None or model_call_wrapper(model, WINDOWS_KEY) is not None:
        raise ValueError(
            "With context windows the model never sees all frames at once, so there is no map over the whole clip: "
            "take the model before the node that makes windows, and a clip that fits."
        )
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    if samples.shape[0] != 1:
        raise ValueError(
            f"The attention map is of one clip, got a batch of {samples.shape[0]}: choose one with Latent From Batch."
        )
    return egox.layout(samples.shape)


def record_attention(
    model: ModelPatcher,
    positive: list,
    latent: dict[str, Any],
    at: ProbeStep,
    *,
    frame: int,
    x: float = 0.5,
    y: float = 0.5,
    first_block: int = 0,
    last_block: int = -1,
    progress: Callable[[int, int], None] | None = None,
) -> RecordedAttention:
    """Make one denoising step and record the attention of one ego token.

    Args:
        model: MODEL with EgoX, and with GGA for the comparison; left as it is.
        positive: CONDITIONING of EgoX. Several conditions are averaged.
        latent: LATENT of one ego clip; the empty one, or a sampled one, which is noised to the step's level.
        at: the step.
        frame: frame of the ego video.
        x: point of the ego picture, 0 (left) to 1.
        y: the same, 0 (top) to 1.
        first_block: first transformer block of those that are averaged.
        last_block: last one, included; -1 is the model's last.
        progress: called with (blocks done, blocks) and may raise to cancel.

    Raises:
        ValueError: if EgoX is missing, the latent is a batch or does not fit, context windows are on, the point or the
            blocks do not exist, or no self-attention could be recorded.
    """
    layout = probed_layout(model, latent)
    last_frame = video_frames(layout.frames) - 1
    if not 0 <= frame <= last_frame:
        raise ValueError(f"The ego clip has the frames 0 to {last_frame}, got frame {frame}. Choose one of these.")
    token = EgoToken.at(layout, latent_frame_of(frame), x, y)
    blocks = block_range(first_block, last_block, len(require_wan21_i2v(model).blocks))
    _check_clip(positive, layout.frames)
    recorder = _Recorder(layout, token, blocks, progress)
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    patched = model.clone()
    remove_wrappers(patched, REUSE_KEY)  # which would run the only step in full
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, _PROBE_KEY, recorder)
    comfy.sample.sample(
        patched,
        comfy.sample.prepare_noise(samples, at.seed, latent.get("batch_index")),
        at.steps,
        1.0,  # CFG 1: the negative is not run
        "euler",
        at.scheduler,
        positive,
        positive,
        samples,
        start_step=at.step,
        last_step=at.step + 1,
        noise_mask=latent.get("noise_mask"),
        disable_pbar=True,
        seed=at.seed,
    )
    return recorder.result()


def _check_clip(positive: list, n_frames: int) -> None:
    """Check that conditioning is of the latent's clip: ComfyUI joins the two as they are."""
    for _, extras in positive:
        prior = extras.get("concat_latent_image")
        if prior is not None and (prior.shape[1] != LATENT_CHANNELS or prior.shape[2] != n_frames):
            raise ValueError(
                f"The ego prior in 'positive' has {prior.shape[1]} channels and {prior.shape[2]} latent frames, "
                f"expected {LATENT_CHANNELS} channels and the latent's {n_frames} frames. Connect positive and latent "
                "of one EgoX Conditioning."
            )


class _Recorder:
    """DIFFUSION_MODEL wrapper that shows every chosen block's queries and keys to a probe."""

    def __init__(
        self, layout: TokenLayout, token: EgoToken, blocks: range, progress: Callable[[int, int], None] | None
    ) -> None:
        self._layout = layout
        self._token = token
        self._blocks = blocks
        self._progress = progress
        self._counts = HookCounts()
        self._gga: GGARun | None = None
        self._sigmas: Tensor | None = None
        self._probe: AttentionProbe | None = None

    # torch.compile traces what it calls, not this.
    @torch.compiler.disable(recursive=False)
    def __call__(self, executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Run the model with recorded self-attention."""
        call = ModelCall.of(executor, *args, **kwargs)
        return call.run(self._hooked(call.options))

    @torch.compiler.disable
    def _hooked(self, options: dict) -> dict:
        if self._probe is None:
            self._sigmas = options["sigmas"]
            self._gga = options.get(GGA_KEY)
            self._probe = AttentionProbe(self._layout, self._token, self._bias())
        return _RecordingHooks(self._probe, self._blocks, self._counts, self._progress).installed(options)

    def _bias(self) -> Tensor | None:
        if self._gga is None:
            return None
        return bias_of_token(self._layout, self._token, self._gga.directions, self._gga.bias)

    def result(self) -> RecordedAttention:
        """Return what was recorded.

        Raises:
            ValueError: if that is nothing.
        """
        if self._probe is None or self._sigmas is None:
            raise ValueError(
                "The model was not called: the schedule is shorter than its steps. Choose an earlier step."
            )
        if not self._counts.hits:
            raise ValueError(
                "No self-attention was recorded: another node replaces Wan's self-attention, runs its blocks on its "
                "own or skips the step, and bypasses ComfyUI's attention override. Take the model without that node."
            )
        plain, *guided = self._probe.maps()
        angles: list[float | None] = [None, None]
        acting = 0
        if self._gga is not None:
            angles = [found.mean_angle(self._token, self._gga.directions) for found in (plain, *guided)]
            acting = len(set(self._blocks) & set(self._gga.blocks)) if self._gga.is_active(self._sigmas) else 0
        return RecordedAttention(
            self._token,
            plain,
            guided[0] if guided else None,
            *angles,
            blocks=self._blocks,
            recorded=self._counts.hits // self._counts.calls,
            guided_blocks=acting,
            sigma=float(self._sigmas[0]),
        )


class _RecordingHooks(SelfAttentionHooks):
    """Shows the self-attention of one model call to a probe and leaves it as it is."""

    def __init__(
        self,
        probe: AttentionProbe,
        blocks: range,
        counts: HookCounts,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        super().__init__(blocks, counts)
        self._probe = probe
        self._progress = progress
        self._done = 0

    def self_attention(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, layout: TokenLayout, plain: PlainAttention
    ) -> Tensor:
        """Record, then run the attention that was in force."""
        self._probe.add(q, k, heads)
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, len(self._blocks))
        return plain(q, k, v, heads)
