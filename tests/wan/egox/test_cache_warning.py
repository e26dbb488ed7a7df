"""Feature caches at few steps: one warning a run, and none where all is well."""

from __future__ import annotations

import logging

import pytest

from exo2ego.wan.egox.cache_warning import FEW_STEPS
from support.egox_graph import run_graph, with_egox


def with_core_cache(model, name: str):
    from comfy_extras import nodes_easycache

    node = {"EasyCache": nodes_easycache.EasyCacheNode, "LazyCache": nodes_easycache.LazyCacheNode}[name]
    return node.execute(model, 0.2, 0.15, 0.95, False).result[0]


def with_teacache(model):
    """Set what the TeaCache nodes of ComfyUI-TeaCache and ComfyUI-KJNodes leave in the options."""
    patched = model.clone()
    patched.model_options["transformer_options"]["rel_l1_thresh"] = 0.2
    return patched


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if "EgoX samples" in record.getMessage()]


@pytest.mark.parametrize("cache_first", [True, False])
@pytest.mark.parametrize("name", ["EasyCache", "LazyCache", "TeaCache"])
def test_few_steps_with_a_cache_are_a_warning(model, clip, caplog, name, cache_first):
    def cached(patched):
        return with_teacache(patched) if name == "TeaCache" else with_core_cache(patched, name)

    patched = with_egox(cached(model), clip) if cache_first else cached(with_egox(model, clip))
    run_graph(patched, clip, steps=4, cfg=1.0)
    (text,) = warnings(caplog)
    assert f"4 steps with {name}" in text
    assert f"bypass {name}" in text
    run_graph(patched, clip, steps=4, cfg=1.0)
    assert len(warnings(caplog)) == 2, "each run is warned of"


@pytest.mark.parametrize(("cache", "steps"), [(True, FEW_STEPS), (False, 4)])
def test_many_steps_or_no_cache_are_none(model, clip, caplog, cache, steps):
    patched = with_egox(with_core_cache(model, "EasyCache") if cache else model, clip)
    with caplog.at_level(logging.WARNING):
        run_graph(patched, clip, steps=steps, cfg=1.0)
    assert warnings(caplog) == []
