"""What becomes of a measuring process that dies, hangs or cannot start: real processes that tell what they are told."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from exo2ego.commands.gpu import supervise
from exo2ego.commands.gpu.results import Result
from exo2ego.commands.gpu.supervise import Run, UnusableError

TOOLS = Path(__file__).resolve().parents[3] / "tools"

# A measuring process of two sections of three cases, in which some end the process.
WORKER = """
import json, os, sys, time
ends, job = json.loads(sys.argv[1]), json.loads(sys.argv[2])
def tell(**event): print(json.dumps(event), flush=True)
machine = dict(device="cpu", card="", memory=0, capability="", driver="", cuda="", torch="2", python="3", system="here")
tell(event="machine", machine=machine, plan={"size": 1}, lines=["small"])
row = dict.fromkeys(("cpu_ratio", "extra_bytes", "held_bytes", "ratio", "ratio_low", "ratio_high", "error"))
row |= dict(tokens=1, layout="", seconds=1.0, empty="", against="", note="", estimates=None)
for section in job["sections"]:
    tell(event="section", section=section, seconds=job["seconds"])
    for case in "abc":
        why = job["skipped"].get(section, {}).get(case)
        if why is None:
            tell(event="case", case=case)
            if ends.get(section + case) == "dies":
                print("CUDA error: an illegal memory access was encountered", file=sys.stderr, flush=True)
                os._exit(9)
            if ends.get(section + case) == "hangs":
                time.sleep(3600)
        tell(event="row", section=section, row=row | dict(case=case, empty=why or ""))
    tell(event="end", section=section, state="done", why="", seconds=1.0)
"""


# The command with a measuring process that is deep in a kernel: it tells nothing and hears nothing.
COMMAND = f"""
import sys
sys.path.insert(0, {str(TOOLS)!r})
import pack; pack.register()
from exo2ego.commands.gpu.results import Result
from exo2ego.commands.gpu.supervise import Run
quiet = '''
import json, os, sys, threading, time
sys.path.insert(0, {str(TOOLS)!r})
import pack; pack.register()
from exo2ego.commands.gpu import cli
threading.Thread(target=cli._end_with_parent, daemon=True).start()
print(json.dumps(dict(event="machine", machine={{}}, plan={{}}, lines=[str(os.getpid())])), flush=True)
time.sleep(600)
'''
show = lambda line: print(line, flush=True)
Run(Result("0", "2026"), ("one",), "cpu", 1.0, None, lambda result: None, show, (sys.executable, "-c", quiet)).measure()
"""


def supervised(ends: str, sections=("one", "two"), worker: str = WORKER) -> tuple[Result, list[str]]:
    result, shown = Result("0", "2026-01-01"), []
    command = (sys.executable, "-c", worker, ends)
    Run(result, sections, "cpu", 1.0, None, lambda result: result.to_json(), shown.append, command).measure()
    return result, shown


def cases(result: Result, section: str) -> dict[str, str]:
    return {row["case"]: row["empty"] for row in result.sections[section].rows}


def test_a_case_that_ends_the_process_becomes_a_row_that_says_why():
    result, shown = supervised('{"oneb": "dies", "twoc": "dies"}')
    assert {name: section.state for name, section in result.sections.items()} == {"one": "done", "two": "done"}
    why = "it ended the measuring process (exit code 9): CUDA error: an illegal memory access was encountered"
    assert cases(result, "one") == {"a": "", "b": why, "c": ""}
    assert cases(result, "two") == {"a": "", "b": "", "c": why}
    assert f"b: {why}; the section begins anew without it" in shown


def test_a_case_that_hangs_is_stopped(monkeypatch):
    monkeypatch.setattr(supervise, "_OVERTIME", 1.0)
    result, _ = supervised('{"onea": "hangs"}', ("one",))
    assert cases(result, "one")["a"].startswith("it took too long and was stopped")
    assert cases(result, "one")["b"] == ""


def test_a_process_that_never_ends_well_is_not_started_for_ever():
    everything = "{" + ", ".join(f'"{section}{case}": "dies"' for section in ("one", "two") for case in "abc") + "}"
    result, _ = supervised(everything, ("one", "two", "three"))
    assert {name: section.state for name, section in result.sections.items()} == {
        "one": "done",
        "two": "failed",
        "three": "failed",
    }


def test_what_cannot_start_says_so():
    with pytest.raises(UnusableError, match="could not start: ModuleNotFoundError: No module named 'torchx'"):
        supervised("{}", worker="import torchx")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="a process of others is waited for on Linux only")
def test_a_killed_command_leaves_nothing_that_measures():
    """The measuring process sees its standard input end: on every system, where no signal tells it."""
    with subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True) as process:
        numbers = (line.strip() for line in process.stdout)
        worker = int(next(line for line in numbers if line.isdigit()))
        ended = os.pidfd_open(worker)  # readable once it has
        process.kill()
    try:
        assert select.select([ended], [], [], 60)[0]
    finally:
        os.close(ended)
        if Path(f"/proc/{worker}").exists():
            os.kill(worker, 9)
