"""What a run tells: the panel, plain lines and JSON."""

from __future__ import annotations

import io
import json
import re

import pytest

from exo2ego.commands.batch.display import JsonLines, Lines, Panel, Tally, _cut

EVENTS = [
    ("server up", {"server": "http://one"}),
    ("server up", {"server": "http://two"}),
    ("progress", {"clip": "a", "server": "http://one", "node": "Sampler", "step": 3, "steps": 50}),
    ("done", {"clip": "b", "server": "http://two", "files": []}),
    ("failed", {"clip": "c", "server": "http://two", "error": "The node 'X' failed: why\ntrace"}),
    ("server down", {"server": "http://two", "reason": "refused"}),
]
COUNTS = {"queued": 4, "submitted": 0, "running": 0, "done": 1, "failed": 0}


def told(style):
    out, tally = io.StringIO(), Tally(COUNTS)
    display = style(tally, out)
    for kind, data in EVENTS:
        tally.take(kind, data)
        display.event(kind, data)
    display.close()
    return out.getvalue(), tally


def test_the_panel_shows_servers_clips_nodes_and_steps(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text, _ = told(Panel)
    last = text[text.rindex("\x1b[2K[") :]
    assert "3 of 5 clips: 2 done, 1 failed, about" in last
    assert "http://one  a: Sampler 3/50" in last
    assert "http://two  does not answer" in last
    assert "FAILED: c: The node 'X' failed: why" in last
    assert "trace" not in last


@pytest.mark.parametrize("columns", [20, 40])
def test_the_panel_never_wraps(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    text, _ = told(Panel)
    for line in text.split("\n"):
        for letters in ("\x1b[2K", "\x1b[J"):
            line = line.replace(letters, "")
        assert len(line.partition("A")[2] if line.startswith("\x1b[") else line) < columns


@pytest.mark.parametrize(
    ("text", "cells", "kept"),
    [("台所 one", 5, "台所 "), ("台所", 3, "台"), ("e\u0301e\u0301", 1, "e\u0301"), ("\x1b[31mred", 9, r"\x1b[31mr")],
)
def test_wide_letters_take_two_cells(text, cells, kept):
    assert _cut(text, cells) == kept


NAME = "a\x1b]0;owned\x07\u202e<b>\nFORGED\rline"


def test_names_do_nothing_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for style in (Lines, Panel):
        out, tally = io.StringIO(), Tally(COUNTS)
        display = style(tally, out)
        display.event("failed", {"clip": NAME, "server": "http://one", "error": f"No {NAME}"})
        display.close()
        text = re.sub(r"\x1b\[(?:2K|J|\d+A)", "", out.getvalue())  # the panel's own
        assert not set("\x1b\x07\r\u202e") & set(text)
        assert r"a\x1b]0;owned\x07\u202e<b>" in text
        assert not [line for line in text.splitlines() if line.startswith("FORGED")]


def test_plain_lines_hold_no_escapes():
    text, _ = told(Lines)
    assert "\x1b" not in text
    assert text.splitlines()[2] == "done: b (http://two) [2 of 5 clips: 2 done, 0 failed, about 0 s left]"


def test_json_lines_have_every_event():
    text, _ = told(JsonLines)
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events] == [kind for kind, _ in EVENTS]
    assert events[2]["step"] == 3
    assert events[-1]["counts"] == {"done": 2, "failed": 1, "total": 5}


def test_what_ended_before_counts_as_done_but_not_as_pace():
    tally = Tally({**COUNTS, "done": 3})
    assert tally.eta() is None
    assert tally.line() == "3 of 7 clips: 3 done, 0 failed"
