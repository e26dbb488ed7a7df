"""Scores of the pocket model: the same rooms for every method, and figures that a witness finds too."""

import math

import numpy as np
import pytest
import torch

from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.takes.random_rooms.take import TakeSize
from exo2ego.training.data.rooms import shards_in, write_rooms
from exo2ego.training.network.constant_text import ignore_text
from exo2ego.training.network.egox import EgoX
from exo2ego.training.network.guided_processor import Guidance
from exo2ego.training.network.sampling import SampleSettings
from exo2ego.training.network.transformer import WanSize, new_transformer
from exo2ego.training.pocket.encode_rooms import IGNORED_WIDTH, measure_scale
from exo2ego.training.pocket.score import (
    COLUMNS,
    FULL,
    MEAN_COLOR,
    NO_GGA,
    PocketParts,
    score_rooms,
)
from exo2ego.training.pocket.shown import Shown
from exo2ego.training.pocket.vae import pocket_vae

NO_PRIOR, NOISY_EXO = Shown.NO_PRIOR.value, Shown.NOISY_EXO.value
LUMA = 255 * torch.tensor((0.299, 0.587, 0.114))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    write_rooms(folder, 2, TakeSize(5, 64, 32, 32), per_shard=2)
    return shards_in(folder)


@pytest.fixture(scope="module")
def scored(rooms):
    torch.manual_seed(0)
    vae = pocket_vae(4).eval()
    size = WanSize(128, 128, 1, IGNORED_WIDTH, IGNORED_WIDTH)
    networks = [new_transformer(size, 0) for _ in range(2)]
    for network in networks:
        ignore_text(network)
    guided = EgoX(networks[0], Guidance(GGABias(GGAForm.PAPER, 1.0), "sdpa"))
    scale = measure_scale(vae, rooms[0])
    settings = SampleSettings(steps=1, shift=8.0, cfg=1.0)
    rows = {
        FULL: (guided, Shown.WHOLE),
        NO_GGA: (EgoX(networks[1], None), Shown.WHOLE),
        NO_PRIOR: (guided, Shown.NO_PRIOR),
        NOISY_EXO: (guided, Shown.NOISY_EXO),
    }
    parts = PocketParts(vae, scale, rows, GGAGeometry.PHYSICAL, settings)
    return score_rooms(parts, rooms, 3, n_videos=2)


def test_every_method_is_scored_on_the_same_rooms(scored):
    assert {FULL, NO_GGA, NO_PRIOR, NOISY_EXO, MEAN_COLOR} <= set(scored.methods)
    for scores in scored.methods.values():
        assert all(len(scores.frames[metric]) == 3 for metric in COLUMNS if "lpips" not in metric)
    assert [set(videos) for videos in scored.videos] == 2 * [{"exo", "prior", "full", "truth"}]


def test_parts_that_are_left_out_change_the_picture(scored):
    """GGA, prior and the clean exo view each reach the untrained network's output."""
    full = scored.methods[FULL].clips["psnr"]
    for name in (NO_GGA, NO_PRIOR, NOISY_EXO):
        assert (scored.methods[name].clips["psnr"] - full).abs().max() > 0, name


def test_a_baseline_by_hand(scored, rooms):
    with np.load(rooms[0]) as file:
        prior, truth = (torch.from_numpy(file[name][0]).float() / 255 for name in ("prior", "truth"))
    found = []
    for shown, true in zip(prior, truth):
        hole = shown.amax(dim=-1) <= 16 / 255
        filled = torch.where(hole[..., None], shown[~hole].mean(dim=0), shown)
        one, other = (((view * 255).round() / 255) @ LUMA for view in (filled, true))
        error = (one - other).square().mean()
        found.append(20 * math.log10(255) - 10 * math.log10(float(error)))
    assert float(scored.methods[MEAN_COLOR].clips["psnr"][0]) == pytest.approx(sum(found) / len(found), abs=0.1)


def test_the_table(scored):
    lines = scored.lines()
    assert lines[0].startswith("| method | PSNR | seen | unseen | SSIM | full is better")
    assert len(lines) == 2 + len(scored.methods)
    full = next(line for line in lines if line.startswith("| full |"))
    assert full.endswith("|  |")
