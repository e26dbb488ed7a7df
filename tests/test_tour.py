"""The tour of the pack says what is so."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

TOUR = Path(__file__).resolve().parent.parent / "docs" / "tour.md"


def test_every_step_of_the_tour(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"^```.*$", "", TOUR.read_text(encoding="utf-8"), flags=re.MULTILINE)  # fences are no output
    test = doctest.DocTestParser().get_doctest(text, {}, TOUR.name, str(TOUR), 0)
    done = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test)
    assert len(re.findall(r"^## \d+\. ", text, flags=re.MULTILINE)) == 10
    assert done.attempted > 40
    assert done.failed == 0, capsys.readouterr().out
