"""What a run keeps: where, how exactly, how much, until when."""

from __future__ import annotations

import gc
import logging

import pytest
import torch

from exo2ego.common.windows import Windows
from exo2ego.wan.reuse.places import KeptBlock, Slot
from exo2ego.wan.reuse.plan import Keep, ReuseSettings, planned
from exo2ego.wan.reuse.stored import AsTheyAre, InFp8
from exo2ego.wan.shared.long_clips import sample_in_windows
from support.egox_graph import SHIFT, noise_of, run_graph, with_egox, with_gga, with_override
from support.egox_witness import sample
from support.reuse_graph import EXO_COLUMNS, with_reuse
from support.reuse_witness import frozen_exo_predict

# Of the made-up clip: keys and values of 45 exo tokens, 256 wide, in float32.
BLOCK_BYTES = 2 * 45 * 256 * 4


def alive() -> int:
    gc.collect()
    return sum(isinstance(found, KeptBlock | Slot) for found in gc.get_objects())


def in_fp8_by_hand(x):
    """A tensor [1, rows, columns, channels] there and back, each channel by itself."""
    factors = x.abs().amax(dim=(0, 1, 2)) / 448
    return (x / factors).to(torch.float8_e4m3fn).to(x.dtype) * factors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_bound_of_fp8(dtype):
    random = torch.Generator().manual_seed(0)
    scale = torch.logspace(-3, 2, 64)  # channels of very different size
    x = (torch.randn(2, 30, 7, 64, generator=random) * scale).to(dtype)
    x[..., 3] = 0
    kept, out = InFp8(x), torch.full_like(x, 9)
    kept.keep(x)
    kept.write(out)
    wanted, largest = x.double(), x.double().abs().amax(dim=(1, 2), keepdim=True)
    allowed = wanted.abs() * (1 / 16 + 1 / 256) + largest / 458_752
    if dtype is torch.float16:  # whose own smallest numbers are coarser
        allowed = allowed + 6e-5
    assert ((out.double() - wanted).abs() <= allowed * 1.001).all()
    assert (out[..., 3] == 0).all()
    assert kept.nbytes == x.numel() + 2 * 64 * x.element_size()


def test_as_they_are():
    x = torch.randn(3, 4, 10)[:, :, ::2]
    kept, out = AsTheyAre(x), torch.empty(3, 4, 5)
    kept.keep(x)
    x.zero_()
    kept.write(out)
    assert out.abs().min() > 0
    assert kept.nbytes == 3 * 4 * 5 * 4


def test_a_run_with_fp8(model, clip):
    got = run_graph(with_reuse(with_egox(model, clip), keep="device fp8"), clip, steps=2, cfg=1.0)
    network = model.model.diffusion_model

    def by_hand(**how):
        predict = frozen_exo_predict(network, lambda call: call == 0, EXO_COLUMNS, **how)
        return sample(predict, clip, noise_of(clip), steps=2, shift=SHIFT, cfg=1.0)

    torch.testing.assert_close(got, by_hand(shown=in_fp8_by_hand), rtol=0, atol=1e-4)
    exact = by_hand()
    assert 1e-4 < (got - exact).abs().max() < 0.05 * exact.std()


@pytest.mark.parametrize("keep", ["device", "device fp8", "host"])
def test_nothing_is_left_after_a_run(model, clip, keep):
    during = []

    def override(function, *args, **kwargs):
        during.append(None)
        if len(during) == 10:
            during.append(alive())
        return function(*args, **kwargs)

    before = alive()
    patched = with_reuse(with_egox(with_override(model, override), clip), keep=keep)
    run_graph(patched, clip, steps=3)
    assert any(during)
    assert alive() == before


@pytest.mark.parametrize("keep", ["device", "host"])
@pytest.mark.parametrize("call", [5, 8])  # in the first step, which fills, and in the second, which reads
def test_nothing_is_left_after_an_interrupt(model, clip, keep, call):
    import comfy.model_management

    calls = []

    def override(function, *args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            raise comfy.model_management.InterruptProcessingException
        return function(*args, **kwargs)

    before = alive()
    patched = with_reuse(with_egox(with_override(model, override), clip), keep=keep)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_graph(patched, clip, steps=3)
    assert alive() == before
    assert patched.get_model_object("memory_required")([1, 16, 3, 6, 6]) == with_egox(model, clip).get_model_object(
        "memory_required"
    )([1, 16, 3, 6, 6])


@pytest.mark.parametrize(("keep", "held"), [("device", 4 * BLOCK_BYTES), ("host", 4 * BLOCK_BYTES)])
def test_the_estimate_counts_what_is_not_yet_held(model, clip, keep, held):
    """Two blocks of two branches; in host memory two slots a branch lie on the device, here as many as blocks."""
    plain, seen = with_egox(model, clip), []
    patched = with_reuse(plain, keep=keep)
    shape = [2, 16, 3, 6, 6]

    def override(function, *args, **kwargs):
        seen.append(patched.get_model_object("memory_required")(shape))
        return function(*args, **kwargs)

    run_graph(with_override(patched, override), clip, steps=2)
    base = plain.get_model_object("memory_required")(shape)
    assert seen[1] == base + held / 2  # the cross-attention of the first block
    assert set(seen[4:]) == {base}
    assert patched.get_model_object("memory_required")(shape) == base  # between runs


@pytest.mark.parametrize("order", ["last", "first", "before windows", "after windows"])
def test_loading_makes_room(model, clip, monkeypatch, order):
    """ComfyUI's own estimate before it loads the model, whatever else is on it and in which order."""
    import comfy.model_management

    asked = []
    load = comfy.model_management.load_models_gpu

    def recorded(models, memory_required=0, **kwargs):
        asked.append(kwargs["minimum_memory_required"])
        return load(models, memory_required=memory_required, **kwargs)

    windows = Windows(2, 1)
    made = {
        "last": lambda reuse: reuse(with_egox(model, clip)),
        "first": lambda reuse: with_egox(reuse(model), clip),
        "before windows": lambda reuse: sample_in_windows(reuse(with_egox(model, clip)), windows),
        "after windows": lambda reuse: reuse(sample_in_windows(with_egox(model, clip), windows)),
    }[order]
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", recorded)
    for patched in (made(lambda plain: plain), made(with_reuse)):
        run_graph(patched, clip, steps=1)
    frames = 3 if "windows" not in order else 2 * 2  # two windows of two
    kept = 4 * BLOCK_BYTES * frames / 3
    # ComfyUI estimates in columns of the latent, so that the last one is begun.
    assert kept <= asked[1] - asked[0] < kept + 0.02 * asked[0] + 5e5


def test_the_plan_is_told_once(model, clip, caplog):
    with caplog.at_level(logging.INFO):
        run_graph(with_reuse(with_egox(model, clip), keep="device fp8"), clip, steps=4)
    told = [message for message in caplog.messages if "keys and values kept" in message]
    assert told == [
        "Exo Reuse: one of 2 steps in full, the others for the ego view alone; keys and values kept: 2 blocks of "
        "23.0 kB, 2 branches (positive and negative), 92.2 kB in memory in fp8."
    ]
    assert "Exo Reuse: 2 model calls in full, 2 of the ego view alone." in caplog.messages


def test_plans(model, clip, monkeypatch):
    """auto takes the first place that has room; the numbers are those of EgoX's size."""
    import comfy.model_management

    from exo2ego.attention.layout import TokenLayout

    network = model.model.diffusion_model
    monkeypatch.setattr(network, "dim", 5120)
    monkeypatch.setattr(network, "blocks", torch.nn.ModuleList([torch.nn.Identity()] * 40))
    monkeypatch.setattr(model.model, "manual_cast_dtype", torch.bfloat16)
    monkeypatch.setattr(model, "load_device", torch.device("cuda"))
    monkeypatch.setattr(model, "model_size", lambda: 16e9)
    monkeypatch.setattr(model, "get_model_object", lambda name: lambda shape: 10e9)

    def plan(keep, branches, card=80e9):
        monkeypatch.setattr(comfy.model_management, "get_total_memory", lambda device: card)
        layout = TokenLayout(13, 28, 49, 28)
        return planned(model, ReuseSettings(2, keep), lambda _: layout, [1, 16, 13, 56, 56], branches)

    whole = 40 * 2 * 13 * 28 * 49 * 5120 * 2  # bytes of a branch
    assert plan("device", 1, 8e9).total_bytes == whole == 14_611_251_200
    assert plan("device fp8", 2, 8e9).total_bytes == whole
    assert [plan("auto", 2, card).keep for card in (80e9, 60e9)] == [Keep.DEVICE, Keep.DEVICE_FP8]
    told = plan("auto", 2).describe()
    assert "40 blocks of 365.3 MB, 2 branches (positive and negative), 29.2 GB on the card as they are." in told
    import psutil

    class Memory:
        available = 64 << 30

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    host = plan("auto", 2, 24e9)
    assert (host.keep, host.device_bytes) == (Keep.HOST, 2 * 2 * whole // 40)
    Memory.available = 8 << 30
    with pytest.raises(ValueError, match=r"29.2 GB in host memory, and 8.6 GB are available.*device fp8"):
        plan("auto", 2, 24e9)


def test_with_gga_in_every_place(model, clip):
    device, host = (with_gga(with_reuse(with_egox(model, clip), keep=keep), clip) for keep in ("device", "host"))
    assert torch.equal(run_graph(device, clip), run_graph(host, clip))
