"""Score methods on clips from disk, one clip at a time, and sum up with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ..takes.video import read_video
from .fills import FILLS
from .intervals import RESAMPLES, Interval, interval, paired_interval
from .metrics import ALL_METRICS
from .networks.choice import Networks
from .networks.fvd import FRAMES as FVD_FRAMES
from .networks.fvd import frechet_distance
from .protocols import Protocol
from .regions import covered
from .scores import score_clips
from .sources import EGO_FILE, TrueClip, prior_of, scored_video

ALL = "all"  # every clip, whatever its group
PRIOR = "prior"
TRUTH = "truth"


@dataclass(frozen=True)
class Job:
    """What to evaluate.

    Attributes:
        clips: with their truth.
        methods: name and where its videos lie.
        protocol: how clips are compared.
        priors: further places of ego priors.
        file: what a method's video is called in a clip's folder.
        baselines: whether the prior as it is and its fills are scored, too.
        groups: by a clip's name, such as seen and unseen scenes.
        max_frames: frames from the start; all where it is not given.
        resamples, seed: of the intervals.
    """

    clips: Sequence[TrueClip]
    methods: Mapping[str, str]
    protocol: Protocol
    priors: Sequence[str] = ()
    file: str = EGO_FILE
    baselines: bool = False
    groups: Mapping[str, str] = field(default_factory=dict)
    max_frames: int | None = None
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True)
class ClipVideos:
    """A clip as it was scored, for pictures and exports: frames [F, H, W, 3] in [0, 1], in the protocol's size.

    Attributes:
        name: the clip's.
        truth: the true ego view.
        methods: by name.
        fps: frames a second.
        exo: in its own size, where it is known.
        prior: likewise.
    """

    name: str
    truth: Tensor
    methods: Mapping[str, Tensor]
    fps: float
    exo: Tensor | None
    prior: Tensor | None


@dataclass(frozen=True)
class ClipResult:
    """Scores of a clip: by method and metric, a number a frame [F], or one for the clip [1]."""

    name: str
    group: str
    frames: int
    size: tuple[int, int]
    scores: Mapping[str, Mapping[str, Tensor]]

    def mean(self, method: str, metric: str) -> float:
        """Return the mean over frames; NaN where there is none."""
        values = self.scores.get(method, {}).get(metric)
        return math.nan if values is None else float(values.nanmean())


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        protocol: how clips were compared.
        methods: in the order of the tables.
        clips: those that were scored.
        fvd: by (group, method).
        missing: measures that could not run, and why.
        failed: (clip, method, why) of what could not be scored.
        notes: what a reader of the figures has to know.
        resamples, seed: of the intervals.
    """

    protocol: Protocol
    methods: tuple[str, ...]
    clips: tuple[ClipResult, ...]
    fvd: Mapping[tuple[str, str], float]
    missing: Mapping[str, str]
    failed: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    resamples: int
    seed: int

    @property
    def groups(self) -> list[str]:
        """The clips' groups by name; `ALL` alone where none were given."""
        return sorted({clip.group for clip in self.clips})

    @property
    def metrics(self) -> list[str]:
        """The metrics that some clip has, in the papers' order; FVD where it was measured."""
        held = {name for clip in self.clips for scores in clip.scores.values() for name in scores}
        return [name for name in ALL_METRICS if name in held or (name == "fvd" and self.fvd)]

    def values(self, method: str, metric: str, group: str | None = None) -> list[float]:
        """Return a metric's mean over frames of every clip (of a group), NaN where a clip has none."""
        return [clip.mean(method, metric) for clip in self.clips if group in (None, clip.group)]

    def interval(self, method: str, metric: str, group: str | None = None) -> Interval:
        """Return a metric's mean over clips and its interval; FVD is one number for all clips and has none."""
        if metric == "fvd":
            value = self.fvd.get((group or ALL, method), math.nan)
            return Interval(value, math.nan, math.nan, len(self.values(method, "psnr", group)))
        values = self.values(method, metric, group)
        return interval(values, resamples=self.resamples, seed=self.seed)

    def difference(self, first: str, second: str, metric: str, group: str | None = None) -> Interval:
        """Return the mean of `first - second` over the clips that both have, and its interval."""
        values = (self.values(method, metric, group) for method in (first, second))
        return paired_interval(*values, resamples=self.resamples, seed=self.seed)


def evaluate(
    job: Job,
    networks: Networks,
    *,
    say: Callable[[str], None] = lambda line: None,
    shown: Callable[[ClipVideos], None] = lambda videos: None,
) -> Result:
    """Score every method on every clip.

    Args:
        job: what to evaluate.
        networks: further measures.
        say: gets a line for each clip.
        shown: gets each clip's videos once they are scored, for pictures and exports.

    Raises:
        ValueError: if not one video could be scored.
    """
    clips, failed, notes = [], [], {}
    features: dict[tuple[str, str, str], Tensor] = {}  # (group, method or TRUTH, clip)
    missing = dict(networks.missing)
    order: dict[str, None] = dict.fromkeys(job.methods)
    for clip in job.clips:
        try:
            videos, holes, faults = _read(job, clip)
        except ValueError as error:
            failed.append((clip.name, "", str(error)))
            say(f"{clip.name}: {error}")
            continue
        failed += faults
        group, scores, compared = job.groups.get(clip.name, ALL), {}, {}
        for method, pred in videos.methods.items():
            try:
                scored = score_clips(
                    pred, videos.truth, protocol=job.protocol, unseen=holes, measures=networks.measures
                )
                scores[method] = {name: values[0] for name, values in scored.frames.items()}
                compared[method], truth = job.protocol.pair(pred, videos.truth)
                order.setdefault(method)
            except ValueError as error:
                failed.append((clip.name, method, str(error)))
        for name, method, why in failed:
            if name == clip.name:
                say(f"{name}, {method}: {why}")
        if not scores:
            continue
        height, width = truth.shape[1:3]
        notes |= dict.fromkeys(job.protocol.notes(len(truth), height, width))
        clips.append(ClipResult(clip.name, group, len(truth), (width, height), scores))
        say(f"{clip.name}: " + ", ".join(f"{method} {clips[-1].mean(method, 'psnr'):.2f} dB" for method in scores))
        if networks.i3d is not None and len(truth) < FVD_FRAMES:
            missing["fvd"] = f"It takes clips of at least {FVD_FRAMES} frames, and {clip.name} has {len(truth)}."
        elif networks.i3d is not None:
            for method, ego in {TRUTH: truth, **compared}.items():
                features[group, method, clip.name] = networks.i3d(ego)
        shown(replace(videos, truth=truth, methods=compared))
    if not clips:
        why = "; ".join(f"{name} {method}: {why}" for name, method, why in failed[:3])
        raise ValueError(f"No video could be scored. {why}")
    methods = tuple(method for method in order if any(method in clip.scores for clip in clips))
    notes |= dict.fromkeys(_uneven(methods, clips))
    return Result(
        job.protocol,
        methods,
        tuple(clips),
        _fvd(features),
        missing,
        tuple(failed),
        tuple(notes),
        job.resamples,
        job.seed,
    )


def _read(job: Job, clip: TrueClip) -> tuple[ClipVideos, Tensor | None, list[tuple[str, str, str]]]:
    """Read a clip's videos; returns them, the prior's holes [F, H, W], and the methods that have none."""
    lone = len(job.clips) == 1
    truth, fps = read_video(clip.truth, job.max_frames)
    place = prior_of(clip, [*job.priors, *job.methods.values()], lone)
    exo, prior = (None if path is None else _video(path, job) for path in (clip.exo, place))
    holes = None if prior is None else ~covered(prior)
    methods, failed = {}, []
    for name, source in job.methods.items():
        try:
            methods[name] = _video(scored_video(source, clip.name, lone, job.file), job)
        except ValueError as error:
            failed.append((clip.name, name, str(error)))
    if job.baselines and (prior is None or holes is None):
        failed.append((clip.name, PRIOR, "It has no ego prior, so that there are no baselines. --prior names a place."))
    elif job.baselines:
        methods[PRIOR] = prior
        for name, fill in FILLS.items():
            try:
                methods[name] = fill(prior, holes)
            except ModuleNotFoundError as error:
                why = f"It needs {error.name}: pip install 'comfyui-exo2ego[evaluate]'"
                failed.append((clip.name, name, why))
    return ClipVideos(clip.name, truth, methods, fps, exo, prior), holes, failed


def _video(path: Path, job: Job) -> Tensor:
    return read_video(path, job.max_frames)[0]


def _uneven(methods: Sequence[str], clips: Sequence[ClipResult]) -> list[str]:
    """Say where methods were scored on different clips: their means are no comparison then."""
    counts = {method: sum(method in clip.scores for clip in clips) for method in methods}
    if len({*counts.values()}) < 2:
        return []
    told = ", ".join(f"{method} {count}" for method, count in counts.items())
    return [f"The methods were scored on different numbers of clips ({told}): compare them by the paired differences."]


def _fvd(features: Mapping[tuple[str, str, str], Tensor]) -> dict[tuple[str, str], float]:
    """Return FVD of every method in every group and in all, from features [D] of clips."""
    found = {}
    groups = {group for group, _, _ in features}
    for method in {method for _, method, _ in features} - {TRUTH}:
        for group in {*groups, ALL}:
            keys = [key for key in features if key[1] == method and group in (key[0], ALL)]
            if keys:
                made = torch.stack([features[key] for key in keys])
                true = torch.stack([features[key[0], TRUTH, key[2]] for key in keys])
                found[group, method] = frechet_distance(made, true)
    return found
