"""What this pack keeps beyond a block is made while ComfyUI's compiler looks away; the compiler itself needs CUDA.

The two stand-ins below are all that is used of it: a function of newer versions, and the record of a thread before.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from exo2ego.networks.components.metadata import Component
from exo2ego.wan.exo2egosyn.apply import applied_exo2egosyn
from exo2ego.wan.shared import replayed_graphs
from support.egosyn_graph import run_syn, with_syn
from support.egox_graph import run_graph, with_egox, with_gga, with_override
from support.tiny_components import tiny_component

TOKENS = 3 * 3 * 8  # of the made-up clip, exo and ego


class Record:
    """The record of a thread's allocations, and whether it is paused."""

    paused = False

    def pause(self):
        assert not self.paused
        self.paused = True

    def resume(self):
        assert self.paused
        self.paused = False


@pytest.fixture(params=["function", "record of a thread"])
def record(request, monkeypatch):
    record = Record()

    @contextmanager
    def pause_malloc_graph():
        record.pause()
        yield
        record.resume()

    compilers = {
        "function": SimpleNamespace(pause_malloc_graph=pause_malloc_graph),
        "record of a thread": SimpleNamespace(ACTIVE_MALLOC_GRAPHS={threading.get_ident(): record}),
    }
    monkeypatch.setattr(replayed_graphs, "prefetch", compilers[request.param])
    return record


def test_guided_attention(model, clip, record):
    seen = set()

    def override(function, q, k, v, heads, *args, **kwargs):
        seen.add((k.shape[1] == TOKENS, record.paused))
        return function(q, k, v, heads, *args, **kwargs)

    run_graph(with_gga(with_egox(with_override(model, override), clip), clip), clip, steps=1)
    assert seen == {(True, True), (False, False)}  # guided self-attention, and cross-attention
    assert not record.paused


def test_features_of_a_call(wan22, syn_clip, record):
    patched = with_syn(wan22, syn_clip, tiny_component(Component.MULTIEXOCON), tiny_component(Component.POSEINJ))
    paused = []
    adapters = applied_exo2egosyn(patched)._adapters.own
    adapters.tokenizer.register_forward_hook(lambda *_: paused.append(record.paused))
    run_syn(patched, syn_clip, steps=1)
    assert paused
    assert all(paused)
    assert not record.paused


def test_without_a_compiler_nothing_happens(monkeypatch):
    for none in (None, SimpleNamespace(), SimpleNamespace(ACTIVE_MALLOC_GRAPHS={})):
        monkeypatch.setattr(replayed_graphs, "prefetch", none)
        with replayed_graphs.outside_replayed_graphs():
            pass


def test_an_error_ends_the_pause(record):
    if hasattr(replayed_graphs.prefetch, "pause_malloc_graph"):
        return  # ComfyUI's own
    with pytest.raises(KeyError), replayed_graphs.outside_replayed_graphs():
        raise KeyError
    assert not record.paused
