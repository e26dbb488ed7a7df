"""Is a file that a server sends what its name says? A login page must not become a clip's video."""

from __future__ import annotations

from pathlib import PurePosixPath

HEAD_BYTES = 16
# How files of a kind begin: bytes at a position.
_BEGINNINGS: dict[str, tuple[tuple[int, bytes], ...]] = {
    ".png": ((0, b"\x89PNG\r\n\x1a\n"),),
    ".jpg": ((0, b"\xff\xd8\xff"),),
    ".jpeg": ((0, b"\xff\xd8\xff"),),
    ".webp": ((0, b"RIFF"), (8, b"WEBP")),
    ".gif": ((0, b"GIF8"),),
    ".mp4": ((4, b"ftyp"),),
    ".webm": ((0, b"\x1a\x45\xdf\xa3"),),
    ".mkv": ((0, b"\x1a\x45\xdf\xa3"),),
}
# Types in which a server or a proxy speaks for itself, and the files that may have them.
_SPEAKING = {"text/html": (".html", ".htm"), "application/json": (".json",)}


def is_another_file(name: str, kind: str, head: bytes) -> bool:
    """Return whether something else arrived than a file of a name.

    Args:
        name: the file's name on the server.
        kind: the content type.
        head: its first HEAD_BYTES, or all of it.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if not head or (kind in _SPEAKING and suffix not in _SPEAKING[kind]):
        return True
    return any(head[at : at + len(begin)] != begin for at, begin in _BEGINNINGS.get(suffix, ()))
