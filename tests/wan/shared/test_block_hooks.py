"""Hooks around blocks, and what model-call wrappers share, without a model."""

from __future__ import annotations

import pytest
import torch

from exo2ego.wan.shared.block_hooks import with_block_hooks
from exo2ego.wan.shared.wrappers import ModelCall, refuse_appended_frames


def run(options: dict, index: int) -> str:
    """Run a block as Wan does; the result says who ran, from the outside inward."""
    patch = options["patches_replace"]["dit"]["double_block", index]
    return patch({"img": ""}, {"original_block": lambda args: {"img": args["img"] + " block"}})["img"]


def naming(name):
    def hook(index, before, args, extra):
        return before({**args, "img": f"{args['img']} {name}{index}"}, extra)

    return hook


def test_hooks_go_around_the_patches_that_are_there():
    def patch(args, extra):
        return extra["original_block"]({**args, "img": args["img"] + " patch"})

    others = {"patches_replace": {"dit": {("double_block", 0): patch, ("double_block", 2): patch}, "attn1": {}}}
    first = with_block_hooks(others, range(2), naming("a"))
    both = with_block_hooks(first, range(2), naming("b"))
    assert run(both, 0) == " b0 a0 patch block"
    assert run(both, 1) == " b1 a1 block"
    assert run(both, 2) == " patch block"
    assert run(first, 1) == " a1 block"
    assert others["patches_replace"]["dit"] == {("double_block", 0): patch, ("double_block", 2): patch}
    assert both["patches_replace"]["attn1"] == {}


def test_a_model_call_passes_on_all_but_the_options():
    seen = []

    def executor(*args, **kwargs):
        seen.append((args, kwargs))
        return torch.ones(1)

    x, timestep, context, features = (torch.zeros(1) for _ in range(4))
    call = ModelCall.of(executor, x, timestep, context, features, transformer_options={"a": 1}, control=2)
    assert call.options == {"a": 1}
    call.run({"b": 3})
    ((args, kwargs),) = seen
    assert args[:4] == (x, timestep, context, features)
    assert args[4:] == (None, {"b": 3})
    assert kwargs == {"control": 2}


def test_what_was_not_prepared_and_appended_frames_are_refused():
    call = ModelCall.of(print, torch.zeros(1), None, None, time_dim_concat=torch.zeros(1))
    with pytest.raises(ValueError, match="EgoX cannot run with conditioning that appends frames"):
        refuse_appended_frames("EgoX", call.time_dim_concat)
    with pytest.raises(ValueError, match=r"GGA was not prepared: this sampler bypasses ComfyUI's guider"):
        call.prepared("key", "GGA")
