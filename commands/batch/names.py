"""Names of clips, which become folders: checked to be harmless on every system, and kept as they are."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LONGEST = 120  # of 255 bytes that file systems allow; the rest is for what is put behind it
_FORBIDDEN = set("<>:/\\|?*")
# Windows' devices; they are refused everywhere, so that a batch can be copied.
# Windows reads its raised digits as digits.
_DEVICES = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{device}{number}" for device in ("com", "lpt") for number in "123456789\u00b9\u00b2\u00b3"),
}


def name_problem(name: str) -> str | None:
    """Return why a clip cannot be called so, or `None` where it can.

    Spaces, quotes and letters of every script are fine.
    """
    if not name.strip():
        return "it is empty"
    if "\0" in name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "it contains control characters"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "it is an absolute path; give a plain name"
    if ".." in re.split(r"[/\\]", name):
        return "it leaves its folder with '..'; give a plain name"
    if found := sorted(set(name) & _FORBIDDEN):
        return f"it contains {' '.join(found)}"
    if name != name.strip() or name.endswith(".") or name.startswith("."):
        return "it begins or ends with a space or a dot"
    if name.split(".")[0].strip().lower() in _DEVICES:
        return "it is the name of a device on Windows"
    if len(name.encode()) > _LONGEST:
        return f"it is longer than {_LONGEST} bytes"
    return None


def folded(name: str) -> str:
    """Return what two names share that are one file on some system (case, composed letters)."""
    return unicodedata.normalize("NFC", name).casefold()


def slug(text: str, longest: int = 40) -> str:
    """Return a text in letters, digits, `-` and `_` of ASCII alone; may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_")[:longest]


def key_of(name: str) -> str:
    """Return a clip's name as part of a path on any server: readable, ASCII, and different for different names."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{slug(name)}-{digest}".lstrip("-")
