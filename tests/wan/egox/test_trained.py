"""A LoRA says how it was trained, and a run that samples otherwise is told so, in whatever order nodes stand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from safetensors.torch import save_file

from exo2ego.geometry.directions.clip import ClipGeometry
from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.networks.weights.egox_lora import EgoXLoraHeader
from exo2ego.takes.example.room import example_take
from exo2ego.wan.egox.apply import ExoSettings, apply_egox
from exo2ego.wan.egox.gga import GGASettings, apply_gga
from exo2ego.wan.egox.lora import apply_lora, read_lora
from exo2ego.wan.egox.match import Match
from exo2ego.wan.egox.trained import differences_of
from support.egox_graph import run_graph
from support.egox_witness import made_up_clip
from support.tiny_wan import egox_lora_state_dict

# What the run below uses: 5 frames, 128 x 64 beside 64 x 64, GGA by its defaults.
AS_USED = EgoXLoraHeader(
    match="released inference",
    gga="release",
    gga_strength="3",
    gga_geometry="as released",
    exo_size="128x64",
    ego_size="64x64",
    num_frames="5",
)


WITHOUT_GGA = replace(AS_USED, gga="off", gga_strength="", gga_geometry="")
ALL = ("lora", "egox", "gga")


@pytest.fixture(scope="module")
def clip():
    return made_up_clip(frames=2, height=8, exo_width=16, ego_width=8)


@pytest.fixture(scope="module")
def geometry():
    take = example_take(5, exo_width=128, exo_height=64, ego_size=64)
    return ClipGeometry(take.exo_camera, take.depth, take.ego_camera)


@pytest.fixture
def told(model, clip, geometry, tmp_path):
    """Run a graph with a LoRA of a header; returns what it was told."""

    def run(header, order=ALL, settings=None, guided=None, strength=1.0):
        path = tmp_path / "mine.safetensors"
        save_file(egox_lora_state_dict(), path, None if header is None else header.to_strings())
        texts = []
        put = {
            "lora": lambda on: apply_lora(on, read_lora(path), strength, report=texts.append),
            "egox": lambda on: apply_egox(on, clip.exo, settings or ExoSettings()),
            "gga": lambda on: apply_gga(on, geometry, guided or GGASettings()),
        }
        patched = model
        for name in order:
            patched = put[name](patched)
        run_graph(patched, clip, cfg=1.0, steps=1)
        return texts

    return run


@pytest.mark.parametrize("order", [ALL, ("gga", "egox", "lora"), ("egox", "lora", "gga")])
def test_in_any_order_every_difference_is_told_once(told, order):
    header = replace(AS_USED, match="released training", gga="paper", ego_size="448x448", gga_strength="1")
    (text,) = told(header, order)
    assert text.startswith(
        "mine.safetensors was trained with match released training (this run: released inference), GGA paper (this "
        "run: release), lambda 1 (this run: 3), ego view 448x448 (this run: 64x64). "
    )


def test_a_run_as_trained_is_told_nothing(told):
    assert told(AS_USED) == []
    training = replace(AS_USED, match="released training", gga_strength="2.5")
    assert told(training, settings=ExoSettings(Match.TRAINING), guided=GGASettings(strength=2.5)) == []


@pytest.mark.parametrize(
    ("header", "order", "found"),
    [
        (WITHOUT_GGA, ("lora", "egox"), None),
        (WITHOUT_GGA, ALL, "GGA off (this run: release)"),
        (AS_USED, ("lora", "egox"), "GGA release (this run: off)"),
        (replace(AS_USED, num_frames="49"), ALL, "frames 49 (this run: 5)"),
        (replace(AS_USED, exo_size="784x448"), ALL, "exo video 784x448 (this run: 128x64)"),
        (replace(AS_USED, gga_geometry="physical"), ALL, "geometry physical (this run: as released)"),
        (EgoXLoraHeader(license="CC0"), ("lora", "egox"), None),
    ],
)
def test_each_of_them(told, header, order, found):
    texts = told(header, order)
    assert ([found in text for text in texts] == [True]) if found else texts == []


def test_files_of_other_trainers_and_a_lora_that_is_off_say_nothing(told):
    assert told(None) == []
    assert told(replace(AS_USED, num_frames="49"), strength=0.0) == []


def test_what_is_known_before_sampling(model, clip, geometry, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(egox_lora_state_dict(), path, replace(AS_USED, match="released training", gga="off").to_strings())
    lora = read_lora(path)
    patched = apply_lora(model, lora)
    assert differences_of(patched) == ""
    patched = apply_egox(patched, clip.exo)
    assert "match released training" in differences_of(patched)
    assert "GGA" not in differences_of(patched), "it may still come"
    assert "GGA off (this run: release)" in differences_of(apply_gga(patched, geometry))
    trained = ClipGeometry(geometry.exo_camera, geometry.depth, geometry.ego_camera, GGAGeometry.AS_TRAINED)
    assert "geometry as released (this run: as trained)" in differences_of(apply_gga(patched, trained))
    assert differences_of(apply_egox(model, clip.exo)) == ""
