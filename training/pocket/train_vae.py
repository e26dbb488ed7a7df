"""Train the pocket VAE: images and short clips of random rooms, in and out."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...common.whole_file import whole_file
from ..bfloat16 import is_fast_in_bfloat16
from ..data.rooms import shards_in
from ..muon import Muon
from .vae import BASE_CHANNELS, decode, encode, is_of_encoder, pocket_vae
from .vae_file import read_pocket_vae, with_unit_latents

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

# Rows: Y, Cb, Cr of ITU-R BT.601 for colors in [-1, 1].
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@dataclass(frozen=True)
class VaeRecipe:
    """How the VAE is trained.

    Attributes:
        steps: optimizer steps; a training may be resumed with others, as long as its rates do not fall yet.
        encoder_steps: after these the encoder stays: the transformer can be trained on its latents, beside the decoder.
        images, clips: how many of either a batch holds; batches alternate.
        clip_frames: of a clip, which turns back where its room ends. The fourth latent frame is the first before which
            the decoder has met two others (`time_conv`): what shorter clips leave untrained is noise in longer videos.
        crop: side of the crops in pixels; `last_crop` from the last fifth of the encoder's steps on, since the
            attention in the middle sees all.
        chroma: weight of the squared error of the color differences; with 1 it is about the colors' own.
        absolute: weight of the absolute error of the colors.
        noise: standard deviation of what is added to the latent, in its own.
        rate, matrix_rate: highest learning rates of AdamW, and of Muon for convolutions.
        warmup, cooldown: steps in which the rates rise, and share of the steps, at the end, in which they fall to 0:
            once for all of it, and once more for the decoder alone.
        average: decay of the moving average of the weights, which is what is exported.
        held_out: how many of the first shards of rooms are kept for measuring.
        start: a file of `wan_state_dict` at which the training begins; None for one from nothing.
    """

    steps: int = 20_000
    encoder_steps: int = 8_000
    images: int = 12
    clips: int = 3
    clip_frames: int = 13
    crop: int = 64
    last_crop: int = 128
    chroma: float = 4.0
    absolute: float = 0.05
    noise: float = 0.05
    rate: float = 3e-3
    matrix_rate: float = 0.02
    warmup: int = 100
    cooldown: float = 0.4
    average: float = 0.999
    held_out: int = 1
    start: Path | None = None
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Return the share of the highest rates at a step."""
        first, last = (
            (0, min(self.encoder_steps, self.steps)) if step < self.encoder_steps else (self.encoder_steps, self.steps)
        )
        done = (step - first) / (last - first)
        return min(1.0, (step - first + 1) / self.warmup, (1 - done) / self.cooldown)


class VaeTraining:
    """A training that can be left and resumed.

    Args:
        recipe: how.
        folder: where the rooms' shards lie.
        checkpoint: where the state is written.
        base_channels: of the VAE.
        device: where it trains; in bfloat16 where the device computes with it, not where it is emulated.
    """

    def __init__(
        self,
        recipe: VaeRecipe,
        folder: Path,
        checkpoint: Path,
        base_channels: int = BASE_CHANNELS,
        device: torch.device | str = "cpu",
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.checkpoint, self._base_channels = recipe, checkpoint, base_channels
        self.device = torch.device(device)
        self._autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=is_fast_in_bfloat16(self.device))
        vae = pocket_vae(base_channels) if recipe.start is None else with_unit_latents(*read_pocket_vae(recipe.start))
        self.vae = vae.to(self.device)
        self.step, self.loss = 0, math.nan
        trained = {name: value for name, value in self.vae.named_parameters() if value.requires_grad}
        convolutions = [value for name, value in trained.items() if value.ndim >= 4 and not _at_the_ends(name)]
        known = {id(value) for value in convolutions}
        others = [value for value in trained.values() if id(value) not in known]
        self.optimizers = (
            Muon(convolutions, recipe.matrix_rate),
            torch.optim.AdamW(others, recipe.rate, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self.average = {name: value.detach().clone() for name, value in trained.items()}
        self._trained = trained
        self._batches = _Batches(folder, recipe)
        if checkpoint.exists():
            self._resume()

    def run(self, until: float = math.inf, every: int = 500) -> None:
        """Train until the recipe's end, or until `time.time()` passes `until`; say how it goes every n steps."""
        while self.step < self.recipe.steps and time.time() < until:
            self.train_step()
            if self.step % every == 0 or self.step == self.recipe.steps:
                psnr = {view: round(value, 2) for view, value in self.measure().items()}
                print(f"step {self.step} cpu {time.process_time():.0f} s loss {self.loss:.4f} psnr {psnr}", flush=True)
                self.save()
        self.save()

    def save(self) -> None:
        """Write the state, whole or not at all."""
        state = {
            "recipe": {name: str(value) for name, value in asdict(self.recipe).items()},
            "step": self.step,
            "vae": self.vae.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": torch.get_rng_state(),
            "batches": self._batches.random.bit_generator.state,
        }
        with whole_file(self.checkpoint) as unfinished:
            torch.save(state, unfinished)

    def averaged(self) -> AutoencoderKLWan:
        """Return the VAE with the moving average of its weights."""
        vae = pocket_vae(self._base_channels).to(self.device)
        vae.load_state_dict(self.vae.state_dict())
        vae.load_state_dict(self.average, strict=False)
        return vae.eval().requires_grad_(False)

    @torch.no_grad()
    def measure(self, n_clips: int = 3) -> dict[str, float]:
        """Return the mean PSNR in dB on whole clips that are kept out of the training, by view."""
        vae, found = self.averaged(), {}
        for view, clips in self._batches.held_out(n_clips).items():
            clips = clips.to(self.device)
            errors = [(decode(vae, encode(vae, clip[None]))[0].clamp(-1, 1) - clip).square().mean() for clip in clips]
            found[view] = sum(10 * math.log10(4 / float(error)) for error in errors) / len(errors)
        return found

    def train_step(self) -> None:
        """Take one step of the optimizers."""
        recipe = self.recipe
        rate = recipe.rate_at(self.step)
        for optimizer, highest in zip(self.optimizers, (recipe.matrix_rate, recipe.rate)):
            for group in optimizer.param_groups:
                group["lr"] = highest * rate
        frames = self._batches.next(self.step).to(self.device)
        if self.step == recipe.encoder_steps:
            self._keep_encoder()
        with torch.set_grad_enabled(self.step < recipe.encoder_steps), self._autocast:
            latent = encode(self.vae, frames)
        latent = latent.float()
        noisy = latent + recipe.noise * latent.detach().std() * torch.randn_like(latent)
        with self._autocast:
            decoded = decode(self.vae, noisy)
        loss = self._loss(decoded.float() - frames, latent)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizers[1].param_groups[0]["params"], 0.5)
        for optimizer in self.optimizers:
            optimizer.step()
        self.vae.zero_grad(set_to_none=True)
        self.step += 1
        now = loss.item()
        self.loss = now if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * now
        decay = min(recipe.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self._trained.values()), 1 - decay)

    @torch.no_grad()
    def _keep_encoder(self) -> None:
        """Put the average in the encoder's place: what is exported is what the decoder sees from now on."""
        for name, value in self._trained.items():
            if is_of_encoder(name):
                value.copy_(self.average[name])

    def _loss(self, error: Tensor, latent: Tensor) -> Tensor:
        """Return the weighted error of frames [B, 3, T, H, W], and a pull of the latent to mean 0 and deviation 1."""
        luma, *chroma = torch.einsum("ck,bkthw->cbthw", error.new_tensor(_YCBCR), error)
        told = luma.square().mean() + self.recipe.chroma * sum(part.square().mean() for part in chroma)
        pull = (latent.square().mean() - 1).square() + 0.1 * latent.mean(dim=(0, 2, 3, 4)).square().mean()
        return told + self.recipe.absolute * error.abs().mean() + 0.02 * pull

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self.step = state["step"]
        self.vae.load_state_dict(state["vae"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"].cpu())
        self._batches.random.bit_generator.state = state["batches"]


class _Batches:
    """Crops of frames of all three views, mirrored and with colors exchanged at random."""

    _VIEWS = ("exo", "truth", "prior")
    _SHARES, _DECODED_SHARES = (0.35, 0.4, 0.25), (0.1, 0.8, 0.1)  # the latter once the encoder stays
    _MOST_SHARDS = 60  # some 2.5 GB of frames

    def __init__(self, folder: Path, recipe: VaeRecipe) -> None:
        self.random = np.random.default_rng(recipe.seed)
        self._folder, self._recipe, self._shards = folder, recipe, []  # read when they are needed

    def next(self, step: int) -> Tensor:
        """Return a batch [B, 3, T, crop, crop] in [-1, 1]: images and clips in turn."""
        if step % 2000 == 1999 or not self._shards:
            self._scan()
        recipe = self._recipe
        count, n_frames = (recipe.images, 1) if step % 2 else (recipe.clips, recipe.clip_frames)
        crop = recipe.crop if step < 0.8 * min(recipe.encoder_steps, recipe.steps) else recipe.last_crop
        shares = self._SHARES if step < recipe.encoder_steps else self._DECODED_SHARES
        count = max(1, count * recipe.crop**2 // crop**2)
        crops = [self._crop(n_frames, crop, shares) for _ in range(count)]
        return torch.from_numpy(np.stack(crops)).float() / 127.5 - 1

    def held_out(self, n_clips: int) -> dict[str, Tensor]:
        """Return whole clips [N, 3, T, H, W] of the first shard, which is kept for measuring, by view."""
        if not self._shards:
            self._scan()
        clips = {view: torch.from_numpy(self._test[view][:n_clips]).movedim(-1, 1) for view in self._VIEWS}
        return {view: value.float() / 127.5 - 1 for view, value in clips.items()}

    def _crop(self, n_frames: int, crop: int, shares: tuple[float, ...]) -> np.ndarray:
        chance = self.random
        shards = [shard for shard in self._shards if shard["exo"].shape[1] > 1 or n_frames == 1]
        clips = shards[chance.integers(len(shards))][self._VIEWS[chance.choice(3, p=shares)]]
        top, left = (int(chance.integers(size - crop + 1)) for size in clips.shape[2:4])
        times = _there_and_back(clips.shape[1], n_frames, chance)
        frames = clips[chance.integers(len(clips)), times, top : top + crop, left : left + crop]
        frames = frames[:, :, ::-1] if chance.random() < 0.5 else frames
        if chance.random() < 0.5:
            frames = frames[..., chance.permutation(3)]
        return frames.transpose(3, 0, 1, 2)

    def _scan(self) -> None:
        paths = shards_in(self._folder)
        first = self._recipe.held_out
        if len(paths) <= first:
            raise ValueError(
                f"Training the VAE needs {first + 1} shards of rooms or more in {self._folder}: render them first."
            )
        if not hasattr(self, "_test"):
            self._test = self._frames(paths[0])
        self._shards += map(self._frames, paths[first + len(self._shards) : first + self._MOST_SHARDS])
        if all(shard["exo"].shape[1] == 1 for shard in self._shards):
            raise ValueError(
                f"Training the VAE needs rooms of several frames, and all in {self._folder} are of one, but for the "
                f"{first} shards held out. Render more of them first."
            )

    def _frames(self, path: Path) -> dict[str, np.ndarray]:
        with np.load(path) as shard:
            return {view: shard[view] for view in self._VIEWS}


def _at_the_ends(name: str) -> bool:
    return name.endswith(("encoder.conv_in.weight", "decoder.conv_out.weight"))


def _there_and_back(n_frames: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Return the numbers of `count` frames in a row, from a random one on, turning around at both ends."""
    round_trip = max(1, 2 * (n_frames - 1))
    times = (random.integers(round_trip) + np.arange(count)) % round_trip
    return np.where(times < n_frames, times, round_trip - times)
