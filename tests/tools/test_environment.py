"""The set-up's cache: one maker at a time, torn folders made anew, wrong paths said plainly."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import environment
import pytest

SCRIPT = Path(environment.__file__)


def test_a_ready_folder_is_used_and_a_torn_one_made_anew(tmp_path):
    folder = tmp_path / "cache" / "thing"

    def torn() -> None:
        with environment._building(folder):
            (folder / "half").touch()
            raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        torn()
    with environment._building(folder) as ready:
        assert not ready
        assert not (folder / "half").exists()
        (folder / "whole").touch()
    with environment._building(folder) as ready:
        assert ready
        assert (folder / "whole").exists()


def test_makers_wait_for_each_other(tmp_path):
    """In processes, as two makes at once: each build fails, so that every one of them makes the folder anew."""
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import environment; from pathlib import Path\n"
        "for _ in range(300):\n"
        "    try:\n"
        f"        with environment._building(Path({str(tmp_path / 'thing')!r})): raise ZeroDivisionError\n"
        "    except ZeroDivisionError: pass\n"
    )
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", code], capture_output=True), range(3)))
    assert [run.returncode for run in runs] == [0, 0, 0], runs[0].stderr


def test_a_path_that_is_no_comfyui(tmp_path):
    (tmp_path / "main.py").touch()
    command = [sys.executable, str(SCRIPT)]
    run = subprocess.run(command, env={"COMFYUI_PATH": str(tmp_path)}, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.strip() == f"COMFYUI_PATH={tmp_path} is not a ComfyUI folder: it lacks comfy, requirements.txt."


def test_a_pip_that_fails_is_one_line(tmp_path):
    for name in ("main.py", "comfy", "requirements.txt"):
        (tmp_path / name).mkdir() if name == "comfy" else (tmp_path / name).write_text("no such/requirement\n")
    variables = {"COMFYUI_PATH": str(tmp_path), "EXO2EGO_CACHE": str(tmp_path / "cache")}
    run = subprocess.run([sys.executable, str(SCRIPT)], env=variables, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("[environment] pip failed")
    assert "Traceback" not in run.stderr


def test_the_newest_frontend_is_where_the_browser_tests_look_for_it():
    run = subprocess.run([sys.executable, str(SCRIPT), "--frontend"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    folder = Path(run.stdout.strip())
    assert (folder / "index.html").is_file()
    assert folder.parent.name == f"frontend-{environment.NEWEST_FRONTEND.partition('==')[2]}"
    assert [path.name for path in folder.parent.iterdir() if path.name == "download"] == []
