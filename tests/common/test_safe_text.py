"""Text for page, terminal and log: nothing in a name acts, and everything can still be read."""

from __future__ import annotations

import html
import io
import logging
import re
from html.parser import HTMLParser

import pytest

from exo2ego.common.safe_text import for_page, for_terminal, is_fit_to_list, one_line, safe_logger, say, visible

MARKUP = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</textarea><svg/onload=alert(1)>",
    "&lt;img src=x onerror=alert(1)&gt;",  # for a page that reads escapes and then writes markup
    "&#60;img src=x&#62;",
    "<a href='javascript:alert(1)'>take</a>",
    "<!--",
)
ACTING = {
    "\x1b[2J": r"\x1b[2J",
    "a\rb": r"a\x0db",
    "a\x00b": r"a\x00b",
    "\x9b31m": r"\x9b31m",  # the same as \x1b[31m, in one letter
    "a\u202egnp.exe": r"a\u202egnp.exe",
    "\u2066x\u2069": r"\u2066x\u2069",
    "\ufeffx": r"\ufeffx",
    "a\u2028b": r"a\u2028b",
    "\U000e0041": r"\U000e0041",
    "\udcff": r"\udcff",  # a byte of a file name that is no UTF-8
}
PLAIN = ("", "take 1", "Küche, 台所, кухня", "a & b < 5 > 3", "عربي فارسی", "👩\u200d🍳", "two\nlines\tand a tab")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)

    handle_endtag = handle_comment = handle_decl = handle_pi = lambda self, *_: self.found.append("other")


@pytest.mark.parametrize("text", MARKUP)
def test_a_page_that_takes_text_as_html_finds_no_markup(text):
    for shown in (for_page(text), html.unescape(for_page(text)), html.unescape(html.unescape(for_page(text)))):
        page = Tags()
        page.feed(f"{shown}\n")
        page.close()
        assert page.found == []
        assert "<" not in shown


def test_a_page_that_shows_text_letter_by_letter_reads_the_same():
    assert for_page("<b>take</b>") == "\u2039b\u203atake\u2039/b\u203a"
    assert for_page("Q & A, 5 && 6") == "Q & A, 5 && 6"
    assert "amp" not in for_page("a & b")


@pytest.mark.parametrize(("text", "shown"), ACTING.items())
def test_what_acts_unseen_is_written_out(text, shown):
    assert visible(text) == shown
    assert for_page(text) == shown
    assert for_terminal(text) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_stays(text):
    assert visible(text) == text
    assert is_fit_to_list(text.replace("\n", " ").replace("\t", " "))


UNFIT = [*MARKUP[:3], *(text for text in ACTING if not re.search("[\u202e\u2066\ufeff\U000e0041]", text))]


@pytest.mark.parametrize("text", UNFIT)
def test_what_cannot_be_an_option(text):
    assert not is_fit_to_list(f"folder/{text}.json")


def test_a_line_break_in_a_name_makes_no_line_of_its_own():
    assert for_terminal("take a\nERROR: all is lost").splitlines()[1].startswith("    ")
    assert one_line("a\nb\tc") == r"a\nb\tc"


def test_letters_that_a_stream_lacks_are_written_out():
    assert for_terminal("Küche 台所", "latin-1") == r"Küche \u53f0\u6240"


def test_a_logger_writes_safe_lines(caplog):
    logger = safe_logger("exo2ego.test_safe_text")
    assert safe_logger(logger.name).filters == logger.filters
    assert len(logger.filters) == 1
    with caplog.at_level(logging.INFO, logger.name):
        logger.info("Loaded %s: %d frames", "\x1b]0;owned\x07 a\nb", 3)
    assert caplog.messages == ["Loaded \\x1b]0;owned\\x07 a\n    b: 3 frames"]


def test_printing_to_a_stream_that_lacks_letters():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("a\x1b[2J é\nforged", stream)
    stream.flush()
    assert stream.buffer.getvalue() == b"a\\x1b[2J \\xe9\n    forged\n"
