"""What exo reuse costs in quality: the pocket model in ComfyUI, one of N steps in full, beside runs in full.

    python tools/run.py reuse                        16 rooms that it was not trained on
    python tools/run.py reuse --rooms 4 --steps 8

Every run of a room has the same noise, so that differences are those of pairs. Rooms come with their true ego view.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import environment
import torch
from torch import Tensor

import pack

pack.register()

from exo2ego.evaluation.intervals import Interval, interval  # noqa: E402
from exo2ego.evaluation.scores import score_clips  # noqa: E402
from exo2ego.measure import random_wan  # noqa: E402
from exo2ego.takes.random_rooms.take import random_take  # noqa: E402
from exo2ego.takes.take import Take  # noqa: E402

_NEVER_AGAIN = 1000


def main() -> None:
    """Measure, and print a table in Markdown that grows with every room and number of steps."""
    given = arguments()
    version = random_wan.start(torch.device("cpu"), environment.prepare().comfyui)
    print(f"pocket model, ComfyUI {version}, {given.rooms} rooms, euler, simple, shift 8, CFG 1, keep {given.keep}")
    runs = Runs(given.keep)
    scores: dict[tuple[int, int], list[float]] = {}
    apart: dict[tuple[int, int], list[float]] = {}
    for number in range(given.first, given.first + given.rooms):
        clip = runs.clip(number)
        for steps in given.steps:
            full = runs.video(clip, steps, 1)
            for every in {1, *given.every}:
                video = full if every == 1 else runs.video(clip, steps, every)
                scores.setdefault((steps, every), []).append(psnr(video, clip.truth))
                apart.setdefault((steps, every), []).append(psnr(video, full))
            print("\n".join(table(given.steps, given.every, scores, apart)), flush=True)


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rooms", type=int, default=16, help="of the 25 that the pocket model was not trained on")
    add("--first", type=int, default=0, help="number of the first room")
    add("--steps", type=int, nargs="+", default=[4, 8, 20, 50])
    add("--every", type=int, nargs="+", default=[1, 2, 3, 4, _NEVER_AGAIN], help="one of so many steps runs in full")
    add("--keep", choices=["device", "device fp8", "host"], default="device")
    return parser.parse_args()


class Clip:
    """A room as ComfyUI samples it.

    Args:
        pocket: the pocket model.
        take: the room.
    """

    def __init__(self, pocket: Any, take: Take) -> None:
        from exo2ego.attention.bias import GGAForm
        from exo2ego.geometry.directions.clip import ClipGeometry
        from exo2ego.geometry.directions.directions import GGAGeometry
        from exo2ego.wan.egox.apply import apply_egox
        from exo2ego.wan.egox.conditioning import condition_egox
        from exo2ego.wan.egox.gga import GGASettings, apply_gga

        self.truth = take.ego_truth
        self.conditioning = condition_egox(
            pocket.conditioning, pocket.conditioning, pocket.vae, take.exo, take.ego_prior
        )
        self._geometry = ClipGeometry(take.exo_camera, take.depth, take.ego_camera, GGAGeometry.PHYSICAL)
        self.unguided = apply_egox(pocket.model, self.conditioning.exo_latent["samples"])
        self._apply_gga = apply_gga
        self._settings = GGASettings(GGAForm.PAPER, 1.0)
        self.model = self.guided()

    def guided(self, **limits: float) -> Any:
        """Return the model with GGA as the pocket model was trained with it, but for settings such as `last_block`."""
        return self._apply_gga(self.unguided, self._geometry, replace(self._settings, **limits))


class Runs:
    """Runs of the pocket model.

    Args:
        keep: where keys and values wait.
    """

    def __init__(self, keep: str = "device") -> None:
        from exo2ego.wan.pocket.load import load_pocket

        self._keep = keep
        self._pocket = load_pocket()

    def clip(self, number: int) -> Clip:
        """Return a room by its number."""
        with torch.inference_mode():
            return Clip(self._pocket, random_take(number))

    def video(self, clip: Clip, steps: int, every: int) -> Tensor:
        """Sample an ego video [F, H, W, 3], one of `every` steps in full."""
        from exo2ego.wan.reuse.apply import apply_reuse
        from exo2ego.wan.reuse.plan import ReuseSettings

        return self.sampled(apply_reuse(clip.model, ReuseSettings(every, self._keep)), clip, steps)

    def sampled(self, model: Any, clip: Clip, steps: int) -> Tensor:
        """Sample an ego video [F, H, W, 3] from the noise that every run of a room has."""
        import nodes

        found = clip.conditioning
        with torch.inference_mode():
            settings = (0, steps, 1.0, "euler", "simple", found.positive, found.negative, found.ego_latent)
            (latent,) = nodes.KSampler().sample(model, *settings)
            return self._pocket.vae.decode(latent["samples"])[0].clamp(0, 1).float()


def psnr(video: Tensor, other: Tensor) -> float:
    """Return the luma PSNR of a video, mean over frames, in dB; infinite for one that is the same."""
    return float(score_clips(video, other, protocol="EgoX").clips["psnr"][0])


def table(
    all_steps: Sequence[int],
    all_every: Sequence[int],
    scores: dict[tuple[int, int], list[float]],
    apart: dict[tuple[int, int], list[float]],
) -> list[str]:
    """Return rows in Markdown: a number of steps each, and for every N what a room loses."""
    names = ["steps", "in full, dB", *(_name(every) for every in all_every if every > 1)]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for steps in all_steps:
        if (steps, 1) not in scores:
            continue
        full = torch.tensor(scores[steps, 1])
        cells = [f"{steps}", f"{float(full.mean()):.2f}"]
        for every in all_every:
            if every > 1:
                loss = interval(full - torch.tensor(scores[steps, every]))
                near = sum(apart[steps, every]) / len(full)
                cells.append(f"{told(loss)}; {near:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _name(every: int) -> str:
    return "the first alone" if every == _NEVER_AGAIN else f"every {every}"


def told(found: Interval) -> str:
    """Return a mean with the ends of its interval."""
    if not found.has_ends:
        return f"{found.mean:.3f}"
    return f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f})"


if __name__ == "__main__":
    main()
