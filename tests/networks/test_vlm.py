"""A tiny vision-language model that transformers saved: its answers hang on pictures and request."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

from exo2ego.common.cancel import cancellable
from exo2ego.networks.pretrained_files import CAPTION, missing_files
from exo2ego.networks.vlm import LONGEST_SIDE, write_about
from exo2ego.wan.egox.vlm_instruction import VLM_INSTRUCTION
from support.tiny_vlm import BRIGHT, DARK, FORM, save_tiny_vlm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm") / "taught", VLM_INSTRUCTION)


def clip(shade: float, height: int = 40, width: int = 60) -> torch.Tensor:
    return torch.full((2, height, width, 3), shade)


def test_the_answer_is_about_the_pictures(folder):
    assert missing_files(folder, CAPTION) == []
    assert write_about(clip(0.12), VLM_INSTRUCTION, folder) == FORM.format(*DARK)
    assert write_about(clip(0.86), VLM_INSTRUCTION, folder) == FORM.format(*BRIGHT)


def test_large_pictures_and_half_precision(folder):
    large = clip(0.86, 30, 2 * LONGEST_SIDE)
    assert write_about(large, VLM_INSTRUCTION, folder, dtype=torch.bfloat16) == FORM.format(*BRIGHT)


def test_the_answer_is_cut_off_and_every_token_counted(folder):
    seen = []
    answer = write_about(
        clip(0.12), VLM_INSTRUCTION, folder, most_tokens=3, progress=lambda done, most: seen.append((done, most))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert FORM.format(*DARK).startswith(answer)


def test_it_can_be_cancelled(folder):
    def stop():
        raise InterruptedError

    with cancellable(stop), pytest.raises(InterruptedError):
        write_about(clip(0.12), VLM_INSTRUCTION, folder)


@pytest.mark.parametrize("name", CAPTION.files)
def test_missing_and_torn_files_are_named(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "some")
    (tmp_path / "some" / name).unlink()
    with pytest.raises(ValueError, match=f"some lacks {name}. Put the files of {CAPTION.repository}.*nothing is down"):
        write_about(clip(0.12), "x", tmp_path / "some")
    (tmp_path / "some" / name).write_bytes(b"{}"[:1])
    with pytest.raises(ValueError, match=r"some cannot be read: .*Download them again"):
        write_about(clip(0.12), "x", tmp_path / "some")


def test_a_model_that_cannot_be_asked(tmp_path):
    folder = save_tiny_vlm(tmp_path / "mute", taught=False, template=None)
    with pytest.raises(ValueError, match=r"has no chat template, so it cannot be asked\. Use one that follows"):
        write_about(clip(0.12), "x", folder)


def test_a_transformers_without_such_models(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__version__="4.37.2"))
    with pytest.raises(ValueError, match=r'4\.37\.2, which has no AutoModelForImageTextToText.*pip install "transf'):
        write_about(clip(0.12), "x", folder)
