"""Sections on the rest of a run: the ego prior, the VAE, and whole runs of EgoX on the random Wan."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..attention.layout import TokenLayout
from ..common.wan_grid import SPATIAL_STRIDE, TEXT_WIDTH, WAN_BLOCKS, WAN_DIM, video_frames
from ..geometry.points.point_cloud import Background, build_point_cloud
from ..geometry.points.renderer import RenderBackend, render_points
from . import clip, memory, paired, random_wan
from .compare import Row, guarded
from .context import Context, Watch
from .model import release, start
from .problem import described, random_directions
from .steps import KnownDirections

_VAE_WIDTH = 96  # of Wan's own


def prior(context: Context, watch: Watch) -> Iterator[Row]:
    """Time the ego prior of a clip of EgoX's size: points, then pictures, on the CPU and on the card."""
    made = clip.make_clip(context.plan.frames)
    clouds: dict[Background, Any] = {}

    def build(background: Background) -> object:
        clouds[background] = build_point_cloud(made.images, made.depth, made.exo_camera, background=background)
        return clouds[background]

    def render(backend: RenderBackend, background: Background, device: str) -> object:
        return render_points(clouds[background], made.ego_camera, backend=backend, device=device)

    devices = dict.fromkeys(("cpu", context.device.type))
    has_pytorch3d = importlib.util.find_spec("pytorch3d") is not None
    for background in (Background.PER_FRAME, Background.MEAN):
        told = background.value.replace("_", " ")
        yield _timed(f"points, {told}", partial(build, background), context, watch, size=f"{len(made.images)} frames")
        for device in devices:
            for backend in (RenderBackend.TORCH, *([RenderBackend.PYTORCH3D] if has_pytorch3d else [])):
                name = f"render, {told}, {device}{', PyTorch3D' if backend is RenderBackend.PYTORCH3D else ''}"
                run = partial(render, backend, background, device)
                yield _timed(name, run, context, watch, size=f"{len(made.images)} frames")


@torch.inference_mode()
def vae(context: Context, watch: Watch) -> Iterator[Row]:
    """Time Wan's VAE with random weights, and its peak beside ComfyUI's estimate."""
    start(context)
    release(context.device)
    coder = random_vae(context)
    exo, ego, latent = _videos(context)
    for name, frames in (("encode exo", exo), ("encode ego prior", ego)):
        estimate = coder.memory_used_encode(_pixels(frames).shape, coder.vae_dtype)
        yield _timed(name, partial(coder.encode, frames), context, watch, estimate, _size_of(frames))
    estimate = coder.memory_used_decode(latent.shape, coder.vae_dtype)
    yield _timed("decode ego", partial(coder.decode, latent), context, watch, estimate, _size_of(ego))


@torch.inference_mode()
def whole_run(context: Context, watch: Watch) -> Iterator[Row]:
    """Time whole runs with GGA: VAE, 4 steps without and 50 with a negative prompt, VAE again."""
    start(context)
    plan, layout = context.plan, TokenLayout(*context.plan.run)
    for case, steps, cfg in (("4 steps, CFG 1", 4, 1.0), ("50 steps, CFG 5", 50, 5.0)):
        row = Row(layout.n_tokens, described(layout), case)
        # A narrower Wan is the trial on the CPU: two steps do.
        measure = partial(_run, row, context, 2 if plan.dim < WAN_DIM else steps, cfg)
        yield guarded(row, measure, context.device, watch)


def _run(row: Row, context: Context, steps: int, cfg: float) -> Row:
    import comfy.sample

    from ..wan.egox.apply import apply_egox
    from ..wan.egox.conditioning import condition_egox
    from ..wan.egox.gga import GGASettings, apply_gga

    plan, layout, device = context.plan, TokenLayout(*context.plan.run), context.device
    base = random_wan.model(plan.blocks, plan.dim, plan.ffn, context.dtypes[0], device)
    coder = random_vae(context)
    exo, ego, _ = _videos(context)
    stages: dict[str, float] = {}

    def stage(name: str, run: Callable[[], Any]) -> Any:
        result, lap = paired.timed(run, device)
        stages[name] = lap.wall
        return result

    def everything() -> None:
        found = stage("encode", partial(condition_egox, _text(0), _text(1), coder, exo, ego))
        model = apply_egox(base, found.exo_latent["samples"])
        model = apply_gga(model, KnownDirections(*random_directions(layout)), GGASettings())
        empty = found.ego_latent["samples"]
        noise = comfy.sample.prepare_noise(empty, 0)
        sampler = ("euler" if cfg == 1.0 else "uni_pc_bh2", "simple", found.positive, found.negative, empty)
        sampled = stage("sample", lambda: comfy.sample.sample(model, noise, steps, cfg, *sampler, disable_pbar=True))
        stage("decode", partial(coder.decode, sampled))

    begun = time.perf_counter()
    taken = memory.taken(everything, device)
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stages.items())
    if plan.blocks < WAN_BLOCKS and plan.dim == WAN_DIM:
        told += f"; {plan.blocks} of {WAN_BLOCKS} blocks, as the memory allows"
    return replace(row, seconds=time.perf_counter() - begun, extra_bytes=taken.peak, note=f"{told}; the first run")


def _text(seed: int) -> list:
    from ..wan.egox.prompt import TEXT_TOKENS

    random = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, generator=random), {}]]


def random_vae(context: Context) -> Any:
    """Return Wan 2.1's VAE with random weights; in the CPU's trial the pocket model's."""
    if context.plan.dim < WAN_DIM:
        from ..wan.pocket.load import load_pocket

        return load_pocket().vae
    import comfy.ldm.wan.vae
    import comfy.sd

    network = comfy.ldm.wan.vae.WanVAE(
        dim=_VAE_WIDTH, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, temperal_downsample=[False, True, True]
    )
    _randomize(network)
    return comfy.sd.VAE(sd=network.state_dict())


@torch.no_grad()
def _randomize(network: torch.nn.Module) -> None:
    """Give a VAE weights: ComfyUI's layers have those that lay in memory, often not finite, often zeros."""
    random = torch.Generator().manual_seed(0)
    for name, weight in network.named_parameters():
        if name.endswith(".weight"):
            weight.normal_(std=weight[0].numel() ** -0.5, generator=random)
        else:
            weight.fill_(float(name.endswith(".gamma")))


def _videos(context: Context) -> tuple[Tensor, Tensor, Tensor]:
    """Return random exo and ego frames [F, H, W, 3] of the plan's size, and an ego latent [1, 16, T, h, w]."""
    frames, rows, exo_columns, ego_columns = context.plan.run
    random = torch.Generator().manual_seed(0)

    def video(columns: int) -> Tensor:
        size = (video_frames(frames), rows * SPATIAL_STRIDE, columns * SPATIAL_STRIDE, 3)
        return torch.rand(size, generator=random)

    latent = torch.randn(1, 16, frames, 2 * rows, 2 * ego_columns, generator=random)
    return video(exo_columns), video(ego_columns), latent


def _pixels(frames: Tensor) -> Tensor:
    """Return frames as ComfyUI counts them, [1, 3, F, H, W]."""
    return frames.movedim(-1, 0).unsqueeze(0)


def _size_of(frames: Tensor) -> str:
    return f"{len(frames)} frames of {frames.shape[2]} x {frames.shape[1]}"


def _timed(
    name: str, run: Callable[[], object], context: Context, watch: Watch, estimate: float = 0, size: str = ""
) -> Row:
    """Warm up, then measure once: time, and peak memory of the device."""
    row = Row(0, size, name)

    def measure() -> Row:
        taken = memory.taken(run, context.device)
        _, lap = paired.timed(run, context.device)
        estimates = {"ComfyUI's": int(estimate)} if estimate else None
        return replace(row, seconds=lap.wall, extra_bytes=taken.peak, estimates=estimates)

    return guarded(row, measure, context.device, watch)
