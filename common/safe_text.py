"""Text that leaves the pack: for terminals, logs, and the page of the editor.

Our sentences carry names from files: of takes, cameras and clips, and from headers. A name may hold anything: escape
sequences that rewrite a terminal, marks that turn the reading direction, markup. Wherever text leaves it goes through
this module; values that are data (options, paths, JSON, sockets) stay as they are.

Frontends before 1.54 show a node's text as HTML, newer ones letter by letter. HTML's own escapes would read as
`&lt;` there, so `for_page` puts letters that look the same in the place of those that begin markup: right in both.
"""

from __future__ import annotations

import html
import logging
import re
import sys
import unicodedata
from typing import TextIO

# Control characters, marks that are not seen (bidi marks, tags, soft hyphens), halves of letters that UTF-8 cannot
# hold, and line breaks that only some programs know.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_KEPT = frozenset("\n\t\u200c\u200d")  # the joiners belong to Persian words and to emoji
_LOOK_ALIKE = str.maketrans({"<": "\u2039", ">": "\u203a"})
# With its semicolon, or one of those that HTML reads without.
_ENTITY = re.compile(r"&(?=#|[A-Za-z][A-Za-z0-9]*;|(?:lt|gt|amp|quot|nbsp)(?![A-Za-z]))", re.IGNORECASE)
_AMPERSAND = "\uff06"
_MARKUP = re.compile(r"<[A-Za-z/!?]")
_NOT_IN_NAMES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def visible(text: str, encoding: str | None = None) -> str:
    r"""Return a text with everything that acts but is not seen written out, such as `\x1b` or `\u202e`.

    Args:
        text: its line breaks and tabs stay, as our own texts have several lines.
        encoding: of the stream that it goes to, where that may lack letters; these are written out too.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(_written_out(letter) if _is_unseen(letter) else letter for letter in text)
    return shown.encode(encoding, "backslashreplace").decode(encoding) if encoding else shown


def one_line(text: str) -> str:
    r"""Return a text as `visible` does, in one line: line breaks and tabs are written out as `\n` and `\t`."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def for_terminal(text: str, encoding: str | None = None) -> str:
    r"""Return a text for a log or a terminal.

    Args:
        text: lines after the first are set in, so that a name with a line break cannot pass for a line of its own.
        encoding: as in `visible`.
    """
    return visible(text, encoding).replace("\n", "\n    ")


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text, which may carry names from files, as `for_terminal` gives it.

    Args:
        text: the text.
        file: the stream; standard output where it is not given.
    """
    stream = file or sys.stdout
    print(for_terminal(text, stream.encoding), file=stream)


def for_page(text: str) -> str:
    """Return a text for the editor's page, which reads right whether it is shown as HTML or letter by letter."""
    return _ENTITY.sub(_AMPERSAND, visible(text).translate(_LOOK_ALIKE))


def for_html(text: str) -> str:
    """Return a text for a page of our own making, which is HTML for sure: HTML's own escapes are right there."""
    return html.escape(visible(text))


def is_fit_to_list(name: str) -> bool:
    """Whether a name can be an option in the editor's lists.

    An option is a value, so it cannot be escaped. Names with control characters, line breaks, halves of letters or
    markup are not offered.
    """
    return not _MARKUP.search(name) and not any(unicodedata.category(letter) in _NOT_IN_NAMES for letter in name)


def safe_logger(name: str) -> logging.Logger:
    """Return the logger of a module, whose lines go through `for_terminal`. To be used in place of `getLogger`."""
    logger = logging.getLogger(name)
    logger.addFilter(_make_safe)  # the same function is added once
    return logger


def _make_safe(record: logging.LogRecord) -> bool:
    record.msg, record.args = for_terminal(record.getMessage()), ()
    return True


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSEEN and letter not in _KEPT


def _written_out(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
