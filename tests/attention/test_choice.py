"""Which back end runs, and what is said of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from exo2ego.attention import choice as backends
from exo2ego.attention.backends.backend import Backend
from exo2ego.attention.bias import GGABias
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.choice import AUTO, BACKEND_VARIABLE, requested
from exo2ego.attention.guided_attention import gga_attention
from support.random_attention import HEADS, LAYOUTS, plain, random_directions, random_qkv

NAMES = "auto, triton, flex, sdpa, triton_int8, harmonics, reference"
SCRIPTS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(backends, "_said", set())
    monkeypatch.setattr(backends, "_failed", {})
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)


def attention(backend: str = AUTO, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    layout = LAYOUTS[0]
    q, k, v = random_qkv(layout, 1, dtype)
    return gga_attention(AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias()), plain, backend)


def test_a_machine_without_a_gpu_takes_sdpa_and_says_so_once(caplog):
    with caplog.at_level(logging.INFO, logger="exo2ego.attention"):
        attention()
        attention()
    (line,) = caplog.messages
    assert line.startswith("GGA's attention runs on the back end 'sdpa' (triton: ")


def test_the_node_decides_before_the_environment(caplog, monkeypatch):
    monkeypatch.setenv(BACKEND_VARIABLE, "reference")
    assert requested(AUTO) == "reference"
    assert requested("sdpa") == "sdpa"
    with caplog.at_level(logging.INFO, logger="exo2ego.attention"):
        attention()
    assert caplog.messages == ["GGA's attention runs on the back end 'reference', as asked for."]


def test_an_unknown_name_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv(BACKEND_VARIABLE, "cuda")
    with pytest.raises(ValueError, match=f"one of {NAMES}, got 'cuda'"):
        attention()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_back_end_that_cannot_run_here_is_refused_where_it_is_asked_for():
    with pytest.raises(ValueError, match=r"'triton' cannot be used here: the device is cpu, not a CUDA GPU\. Choose"):
        attention("triton")


def run_elsewhere(code: str) -> list[str]:
    """Run code with Triton's interpreter, which makes the kernel a candidate on the CPU; return what it printed."""
    code = f"""
import logging, sys
sys.path[:0] = [{str(SCRIPTS)!r}, {str(SCRIPTS.parent / "tests")!r}]
import pack; pack.register()
import torch
from support.random_attention import *
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.guided_attention import gga_attention
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
layout = LAYOUTS[0]
q, k, v = random_qkv(layout, 1, torch.float16, head_dim=64)
def run():
    got = gga_attention(AttentionCall(q, k, v, HEADS, layout, random_directions(layout), BIASES[0]), plain)
    assert relative_error(got, oracle(q, k, v, layout, random_directions(layout), BIASES[0])) < 1e-2
{code}
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return [line for line in result.stdout.splitlines() if line.startswith(("INFO", "WARNING"))]


def test_a_machine_without_triton_falls_back_with_one_line():
    hide_triton = """
from importlib.machinery import PathFinder
class WithoutTriton:
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] == "triton" else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTriton
"""
    (line,) = run_elsewhere(hide_triton + "run(); run()")
    assert "'sdpa' (triton: Triton is not installed" in line


def test_a_kernel_that_fails_is_reported_once_and_left_out():
    kernel = "exo2ego.attention.backends.triton_kernel"
    first, warning, second = run_elsewhere(f"sys.modules[{kernel!r}] = None\nrun(); run()")
    assert first == "INFO GGA's attention runs on the back end 'triton'."
    assert warning.startswith("WARNING GGA's back end 'triton' is left out: it failed with ModuleNotFoundError")
    assert "'sdpa' (triton: it failed with" in second


def failing_with(monkeypatch, error: Exception) -> None:
    """Put a back end that fails before the others."""

    def attend(*args) -> None:
        raise error

    monkeypatch.setitem(backends.BACKENDS, "triton", Backend("fails", attend))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AssertionError(), "it failed with AssertionError"),
        (RuntimeError("no compiler\nat all"), "it failed with RuntimeError: no compiler"),
    ],
)
def test_errors_of_compilers_are_told_in_one_line(caplog, monkeypatch, error, told):
    """Assertions often have no text."""
    failing_with(monkeypatch, error)
    with caplog.at_level(logging.WARNING, logger="exo2ego.attention"):
        assert attention().isfinite().all()
    assert caplog.messages == [f"GGA's back end 'triton' is left out: {told}"]


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("full"), RuntimeError("Triton Error [CUDA]: out of memory")]
)
def test_out_of_memory_goes_to_comfyui_and_leaves_nothing_out(monkeypatch, error):
    failing_with(monkeypatch, error)
    with pytest.raises(type(error)):
        attention()
    assert not backends._failed


def test_a_new_back_end_is_chosen_refused_and_shown_by_what_it_states(caplog, monkeypatch):
    """Its module and its place in the order are all that it takes: the name, why it is left out, and the result."""

    def attend(call, out):
        call.layout.as_grid(out)[:, :, :, call.layout.exo_columns :] = 7.0

    made_up = {"made_up": Backend("of this test", attend, declined=lambda call: "it is Saturday")}
    monkeypatch.setattr(backends, "BACKENDS", {**made_up, **backends.BACKENDS})
    monkeypatch.setattr(backends, "CHOICES", (AUTO, *backends.BACKENDS))
    with caplog.at_level(logging.INFO, logger="exo2ego.attention"):
        assert not (attention() == 7.0).any()
    assert caplog.messages[0].startswith(
        "GGA's attention runs on the back end 'sdpa' (made_up: it is Saturday; triton: "
    )
    layout = LAYOUTS[0]
    assert (layout.as_grid(attention("made_up"))[:, :, :, layout.exo_columns :] == 7.0).all()


def test_a_name_that_no_back_end_has_is_refused():
    with pytest.raises(ValueError, match=f"one of {NAMES}, got 'cuda': choose"):
        attention("cuda")
