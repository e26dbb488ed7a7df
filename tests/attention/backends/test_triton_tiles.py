"""Tiles that were measured on a machine's card: kept in a file, and what becomes of a file that is none."""

from __future__ import annotations

import json

import pytest
import torch

from exo2ego.attention.backends import triton_tiles
from exo2ego.attention.backends.triton_tiles import Tile, cache_file, measured_tiles, tile_for, tile_of_capability

TILE = Tile(64, 128, 4, 2)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EXO2EGO_CACHE", str(tmp_path / "cache"))
    measured_tiles.cache_clear()
    yield
    measured_tiles.cache_clear()


def test_what_was_measured_is_read_back(monkeypatch):
    monkeypatch.setattr(triton_tiles, "_key", lambda device, head_dim: f"card, {head_dim}")
    cpu = torch.device("cpu")
    assert triton_tiles.remember(cpu, 128, TILE) == cache_file()
    triton_tiles.remember(cpu, 64, Tile(32, 32, 4, 1))
    assert measured_tiles(cache_file()) == {"card, 128": TILE, "card, 64": Tile(32, 32, 4, 1)}


def test_without_a_file_there_are_none():
    assert measured_tiles(cache_file()) == {}
    assert tile_for(torch.device("cpu"), 128).keys > 0


@pytest.mark.parametrize("content", ["{", "[]", '{"card": [64, 128, 4]}', '{"card": [60, 128, 4, 2]}', '{"card": 5}'])
def test_a_file_that_is_none_is_left_out_and_said(content, caplog):
    cache_file().parent.mkdir()
    cache_file().write_text(content)
    assert measured_tiles(cache_file()) == {}
    assert "is left out" in caplog.text


def test_a_newer_architecture_gets_a_tile_of_the_table():
    assert tile_of_capability(130, 128) == tile_of_capability(80, 128)
    assert json.loads(json.dumps(str(TILE))) == "64x128x4x2"
