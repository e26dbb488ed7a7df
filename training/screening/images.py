"""Do a take's videos show something: an ego prior that is not empty, views that are not blank or frozen?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...common.messages import frame_ranges
from .findings import Findings
from .settings import ScreenSettings

# Brightness from which a pixel of a prior shows a point: holes are black, and H.264 leaves a few gray levels there.
SHOWN = 16 / 255
# Deviation of the brightness within an image below which it shows nothing.
_BLANK = 0.01
# Mean change of brightness over a clip below which a view is one still image.
_STILL = 1e-4


def check_prior(prior: Tensor, settings: ScreenSettings, found: Findings) -> None:
    """Check the ego prior [F, H, W, 3]."""
    covered = 100 * (prior.amax(dim=-1) > SHOWN).float().mean(dim=(1, 2))  # [F]
    mean = found.measure("coverage_percent", float(covered.mean()))
    if mean < settings.coverage:
        found.reasons["empty prior"] = (
            f"The ego prior shows something in {mean:.1f} % of its pixels, expected at least {settings.coverage:g} %: "
            "the ego camera looks away from the scene, or poses and depth do not fit."
        )
        return
    if low := (covered < settings.coverage).nonzero()[:, 0].tolist():
        found.notes.append(f"The ego prior is nearly empty in the frames {frame_ranges(low)}.")
    _check_shows("ego prior", prior, found)


def check_views(views: Mapping[str, Tensor], found: Findings) -> None:
    """Check that views [F, H, W, 3] by their names are neither blank nor frozen."""
    for name, frames in views.items():
        if _check_shows(name, frames, found) == len(frames):
            continue
        light = frames.mean(dim=-1)
        if len(frames) > 1 and float((light[1:] - light[:-1]).abs().mean()) < _STILL:
            found.reasons.setdefault(f"frozen {name}", f"The {name} is one still image: nothing moves in it.")


def _check_shows(name: str, frames: Tensor, found: Findings) -> int:
    """Check that a video shows something; returns the number of frames that do not."""
    blank = [number for number, frame in enumerate(frames) if float(frame.mean(dim=-1).std()) < _BLANK]
    if len(blank) > len(frames) // 4:
        found.reasons[f"blank {name}"] = f"The {name} shows nothing in {len(blank)} of {len(frames)} frames."
    elif blank:
        found.notes.append(f"The {name} shows nothing in the frames {frame_ranges(blank)}.")
    return len(blank)


def agreement(one: Tensor, other: Tensor) -> float:
    """Return the correlation of two priors' brightness where either shows something, -1 to 1.

    Holes count as black: that both show the same part of the view speaks as much for them as what they show. On two
    real takes the release's priors agree by 0.6 with ours; with a pose turned by 30 degrees, or a scale off by 1.3, by
    less than 0.2.
    """
    either = (one.amax(dim=-1) > SHOWN) | (other.amax(dim=-1) > SHOWN)  # [H, W]
    if int(either.sum()) < 2:
        return 0.0
    found = float(torch.corrcoef(torch.stack([one.mean(dim=-1)[either], other.mean(dim=-1)[either]]))[0, 1])
    return 0.0 if found != found else found  # of images of one brightness
