"""Exo2EgoSyn on Wan 2.2 written out in plain torch: the witness that the graph's output is compared with.

It shares no code with the pack or with ComfyUI: the transformer, the exo tokens, the pose encoder and the sampling loop
are formulas over the tensors of the files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import conv3d, gelu, layer_norm, linear, scaled_dot_product_attention, silu

from .egox_witness import MEAN, STD, simple_sigmas
from .flow_samplers import levels, solve

HEAD = 128  # channels of a head
TIME = 256  # channels of the time embedding
EPS = 1e-6
TEXT_TOKENS = 40  # of a made-up prompt; Wan takes any number, and 512 only cost time

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class SynClip:
    """What Exo2EgoSyn samples from: latents in the VAE's scale, conditioning, Pluecker maps."""

    exo: Tensor  # [V, 16, t, h, w]
    condition: Tensor  # [1, 16, T, h, w]: first frame and tail
    mask: Tensor  # [1, 1, T, 1 or h, 1 or w]: 0 where the frame is given, as CONDITIONING has it
    plucker: Tensor  # [F, 6, H, W]
    positive: Tensor  # [1, tokens, 4096]
    negative: Tensor
    poses: Tensor | None = None  # [F, 4, 4]: ego camera to exo camera 1


@dataclass(frozen=True)
class SynWeights:
    """Tensors by the names of their files; a part that is `None` is absent."""

    base: Weights
    multiexocon: Weights | None = None
    poseinj: Weights | None = None
    lora: Weights | None = None
    vawan: Weights | None = None

    def merged(self) -> Weights:
        """The base model's weights with what the parts put in their place or add to them."""
        weights = dict(self.base)
        for name, value in (self.multiexocon or {}).items():
            if ".cross_attn." in name:
                weights[name] = value.float()
        if self.vawan is not None:
            weights["patch_embedding.weight"] = self.vawan["patch_embedding.weight"].float()
            weights["patch_embedding.bias"] = self.vawan["patch_embedding.bias"].float()
        for part in (self.lora, self.vawan):
            for name, down in (part or {}).items():
                if not name.endswith(".lora_A.weight"):
                    continue
                layer = name.removesuffix(".lora_A.weight")
                scale = float(part[f"{layer}.alpha"]) / down.shape[0]
                key = f"{layer.removeprefix('diffusion_model.')}.weight"
                update = part[f"{layer}.lora_B.weight"].float() @ down.float()
                weights[key] = weights[key] + scale * update
        return weights


def made_up_syn_clip(
    seed: int = 0, frames: int = 3, height: int = 4, width: int = 6, views: int = 4, exo_frames: int | None = None
) -> SynClip:
    """Return a clip of random values; `frames`, `height` and `width` are those of the latent."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    mask = torch.ones(1, 1, frames, height, width)
    mask[:, :, 0] = 0
    return SynClip(
        exo=normal(views, 16, exo_frames or frames, height, width),
        condition=normal(1, 16, frames, height, width),
        mask=mask,
        plucker=normal(4 * frames - 3, 6, 8 * height, 8 * width),
        positive=normal(1, TEXT_TOKENS, 4096),
        negative=normal(1, TEXT_TOKENS, 4096),
        poses=normal(4 * frames - 3, 4, 4),
    )


def normalised(latent: Tensor) -> Tensor:
    """Bring a latent [..., 16, t, h, w] from the VAE's scale to the model's."""
    mean, std = (torch.tensor(values).view(16, 1, 1, 1) for values in (MEAN, STD))
    return (latent - mean) / std


def exo_tokens(part: Weights, exo: Tensor) -> Tensor:
    """Flatten the embedded patches of normalised latents [V, 16, t, h, w] in the order view, frame, row, column."""
    weight, bias = part["exo_patch_embed.weight"].float(), part["exo_patch_embed.bias"].float()
    tokens = []
    for latent in exo:
        for frame in latent.unbind(1):  # [16, h, w]
            for row in range(0, frame.shape[1], 2):
                for column in range(0, frame.shape[2], 2):
                    patch = frame[:, row : row + 2, column : column + 2]
                    tokens.append((weight[:, :, 0] * patch).sum((1, 2, 3)) + bias)
    return torch.stack(tokens)[None]


def pose_tokens(part: Weights, plucker: Tensor) -> Tensor:
    """Encode Pluecker maps [F, 6, H, W], cell by cell and frame by frame: [1, tokens, pose width]."""
    side = round((part["stem.weight"].shape[1] / 6) ** 0.5)
    frames, _, height, width = plucker.shape

    def layer(name: str, steps: list[Tensor]) -> Tensor:
        weight = part[f"{name}.weight"].float()  # [out, in, kernel]
        return sum(weight[:, :, k] @ step for k, step in enumerate(steps)) + part[f"{name}.bias"].float()

    def halved(name: str, series: list[Tensor]) -> list[Tensor]:
        kernel = part[f"{name}.weight"].shape[2]
        past = [series[0]] * (kernel - 1)
        return [silu(layer(name, (past + series)[i : i + kernel])) for i in range(0, len(series), 2)]

    cells = {}
    for row in range(0, height, side):
        for column in range(0, width, side):
            series = [plucker[f, :, row : row + side, column : column + side].reshape(-1) for f in range(frames)]
            series = [silu(layer("stem", [step])) for step in series]
            cells[row, column] = [layer("out", [step]) for step in halved("down2", halved("down1", series))]
    latent_frames = len(cells[0, 0])
    return torch.stack([cells[place][t] for t in range(latent_frames) for place in cells])[None]


def pose_times(part: Weights, poses: Tensor) -> Tensor:
    """What Time&Pose adds to the time embedding of each latent frame: [frames, dim]."""
    rows = [torch.cat([pose[0], pose[1], pose[2]]) for pose in poses[::4]]
    hidden = silu(_layer(part, "pose.proj_in", torch.stack(rows)))
    return _layer(part, "pose.proj_out", hidden)


def light_block(part: Weights, index: int, hidden: Tensor, pose: Tensor, turns: Tensor) -> Tensor:
    """AC3D before Wan's block `index`: a whole transformer block over both kinds of tokens, then the first half."""
    name = f"pose.blocks.{0 if 'pose.blocks.1.down.weight' not in part else index}"
    n = hidden.shape[1]
    small = _layer(part, f"{name}.down", layer_norm(hidden, hidden.shape[-1:], eps=EPS))
    both = torch.cat([small, pose.expand(len(hidden), -1, -1)], dim=1)
    width = both.shape[-1:]
    y = layer_norm(both, width, eps=EPS)
    q, k, v = (_layer(part, f"{name}.{z}", y).unflatten(2, (-1, HEAD)).transpose(1, 2) for z in "qkv")
    places = torch.cat([turns, turns])
    attended = scaled_dot_product_attention(_turned(q, places), _turned(k, places), v)
    both = both + _layer(part, f"{name}.o", attended.transpose(1, 2).flatten(2))
    y = gelu(_layer(part, f"{name}.ff_in", layer_norm(both, width, eps=EPS)), approximate="tanh")
    both = both + _layer(part, f"{name}.ff_out", y)
    return hidden + _layer(part, f"{name}.up", both[:, :n])


def wan(
    weights: Weights,
    x: Tensor,
    timestep: Tensor,
    context: Tensor,
    pose: tuple[Weights, Tensor] | None = None,
    light: tuple[Weights, Tensor] | None = None,
    times: Tensor | None = None,
):
    """Wan 2.2 I2V: [B, channels, T, h, w] -> [B, 16, T, h, w]. `context` [B, L, dim] is what cross-attention sees.

    `light` are VAWAN's tensors with AC3D's pose tokens, `times` [T, dim] what Time&Pose adds.
    """
    hidden = conv3d(x, weights["patch_embedding.weight"], weights["patch_embedding.bias"], stride=(1, 2, 2))
    grid = hidden.shape[2:]
    hidden = hidden.flatten(2).transpose(1, 2)  # [B, n, dim]
    dim = hidden.shape[-1]
    if pose is not None:
        part, tokens = pose
        update = linear(tokens, part["fuse.pose.weight"].float(), part["fuse.pose.bias"].float())
        if "fuse.delta_x.weight" in part:
            update = update + linear(hidden, part["fuse.delta_x.weight"].float())
        hidden = hidden + update
    embedding = _mlp(weights, "time_embedding", silu, _time_sines(timestep))  # [B, dim]
    embedding = embedding[:, None]  # [B, 1 or n, dim]
    if times is not None:
        embedding = (embedding + times).repeat_interleave(grid[1] * grid[2], dim=1)
    modulation = _layer(weights, "time_projection.1", silu(embedding)).unflatten(2, (6, dim))
    turns = _turns(grid)
    n_blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    for index in range(n_blocks):
        if light is not None:
            hidden = light_block(light[0], index, hidden, light[1], turns)
        hidden = _block(weights, f"blocks.{index}", hidden, modulation, context, turns)
    shift, scale = (weights["head.modulation"] + embedding[:, :, None]).unbind(2)
    hidden = layer_norm(hidden, (dim,), eps=EPS) * (1 + scale) + shift
    out = _layer(weights, "head.head", hidden)  # [B, n, 1 * 2 * 2 * 16]
    out = out.view(len(x), *grid, 2, 2, 16)
    return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(len(x), 16, grid[0], 2 * grid[1], 2 * grid[2])


def embedded_text(weights: Weights, text: Tensor) -> Tensor:
    """What Wan's cross-attention sees of a text [B, tokens, 4096]."""
    return _mlp(weights, "text_embedding", lambda y: gelu(y, approximate="tanh"), text)


@torch.no_grad()
def sample(
    parts: SynWeights,
    clip: SynClip,
    noise: Tensor,
    *,
    steps: int,
    shift: float,
    cfg: float,
    sampler: str = "euler",
    pose_frames: list[int] | None = None,
) -> Tensor:
    """Sample with one of `flow_samplers`; returns the ego latent in the VAE's scale, [B, 16, T, h, w].

    `pose_frames` are the latent frames of the clip's path that count, None for all.
    """
    weights = parts.merged()
    batch = len(noise)
    exo = normalised(clip.exo)
    condition = normalised(clip.condition).expand(batch, -1, -1, -1, -1)
    given = (1 - clip.mask).expand(batch, 4, *noise.shape[2:])
    pose = None
    if parts.poseinj is not None:
        path = pose_tokens(parts.poseinj, clip.plucker).unflatten(1, (len(clip.plucker) // 4 + 1, -1))
        pose = parts.poseinj, (path if pose_frames is None else path[:, pose_frames]).flatten(1, 2)
    light, times = None, None
    if parts.vawan is not None and "pose.stem.weight" in parts.vawan:
        encoder = {name.removeprefix("pose."): value for name, value in parts.vawan.items()}
        path = pose_tokens(encoder, clip.plucker).unflatten(1, (len(clip.plucker) // 4 + 1, -1))
        light = parts.vawan, (path if pose_frames is None else path[:, pose_frames]).flatten(1, 2)
    if parts.vawan is not None and "pose.proj_in.weight" in parts.vawan:
        times = pose_times(parts.vawan, clip.poses)
        times = times if pose_frames is None else times[pose_frames]

    def predict(x: Tensor, sigma: Tensor, text: Tensor, exo: Tensor) -> Tensor:
        channels = [x, given, condition]
        if parts.vawan is not None:
            channels.append(exo.flatten(0, 1).expand(batch, -1, -1, -1, -1))
        seen = embedded_text(weights, text) if parts.multiexocon is None else exo_tokens(parts.multiexocon, exo)
        context = seen.expand(batch, -1, -1)
        return wan(weights, torch.cat(channels, dim=1), (1000 * sigma).expand(batch), context, pose, light, times)

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        positive = predict(x, sigma, clip.positive, exo)
        negative = predict(x, sigma, clip.negative, torch.zeros_like(exo)) if cfg != 1 else positive
        return negative + cfg * (positive - negative)

    sigmas = levels(sampler, lambda count: simple_sigmas(count, shift), steps)
    mean, std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (MEAN, STD))
    return solve(sampler, velocity, noise, sigmas) * std + mean


def permuted(clip: SynClip, order: list[int]) -> SynClip:
    """The clip with its views in another order."""
    return replace(clip, exo=clip.exo[order])


def _block(weights: Weights, name: str, x: Tensor, modulation: Tensor, context: Tensor, turns: Tensor) -> Tensor:
    shift1, scale1, gate1, shift2, scale2, gate2 = (weights[f"{name}.modulation"] + modulation).unbind(2)
    dim = x.shape[-1]
    y = layer_norm(x, (dim,), eps=EPS) * (1 + scale1) + shift1
    x = x + gate1 * _attention(weights, f"{name}.self_attn", y, y, turns)
    y = layer_norm(x, (dim,), weights[f"{name}.norm3.weight"], weights[f"{name}.norm3.bias"], eps=EPS)
    x = x + _attention(weights, f"{name}.cross_attn", y, context)
    y = layer_norm(x, (dim,), eps=EPS) * (1 + scale2) + shift2
    y = gelu(_layer(weights, f"{name}.ffn.0", y), approximate="tanh")
    return x + gate2 * _layer(weights, f"{name}.ffn.2", y)


def _attention(weights: Weights, name: str, x: Tensor, context: Tensor, turns: Tensor | None = None) -> Tensor:
    q = _rms(_layer(weights, f"{name}.q", x), weights[f"{name}.norm_q.weight"])
    k = _rms(_layer(weights, f"{name}.k", context), weights[f"{name}.norm_k.weight"])
    v = _layer(weights, f"{name}.v", context)
    q, k, v = (z.unflatten(2, (-1, HEAD)).transpose(1, 2) for z in (q, k, v))  # [B, heads, n, 128]
    if turns is not None:
        q, k = _turned(q, turns), _turned(k, turns)
    out = scaled_dot_product_attention(q, k, v)
    return _layer(weights, f"{name}.o", out.transpose(1, 2).flatten(2))


def _turns(grid: tuple[int, int, int]) -> Tensor:
    """Rotary embedding as complex numbers [n, 64]: 22 frequencies for the frame, 21 each for row and column."""
    sixth = HEAD // 6
    cells = torch.stack(torch.meshgrid(*(torch.arange(size) for size in grid), indexing="ij"), dim=-1).reshape(-1, 3)
    parts = []
    for axis, count in enumerate((HEAD // 2 - 2 * sixth, sixth, sixth)):
        frequency = 10000.0 ** -(torch.arange(count, dtype=torch.float64) / count)
        parts.append(torch.polar(torch.ones(1, dtype=torch.float64), cells[:, axis, None] * frequency))
    return torch.cat(parts, dim=1).to(torch.complex64)


def _turned(z: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(z.float().unflatten(3, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(3)


def _time_sines(timestep: Tensor) -> Tensor:
    frequency = 10000.0 ** -(torch.arange(TIME // 2) / (TIME // 2))
    angle = timestep[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def _rms(x: Tensor, scale: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + EPS).rsqrt() * scale


def _layer(weights: Weights, name: str, x: Tensor) -> Tensor:
    return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _mlp(weights: Weights, name: str, activation, x: Tensor) -> Tensor:
    return _layer(weights, f"{name}.2", activation(_layer(weights, f"{name}.0", x)))
