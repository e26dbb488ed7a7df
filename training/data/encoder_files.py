"""What tells one set of encoders from another: clips made by different ones must not be mixed."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Weights are gigabytes: their size, beginning (a header with names and shapes, first numbers) and end tell them apart.
_LOOKED_AT = 2**16
_SUFFIXES = (".json", ".safetensors", ".model", ".txt")


def encoders_made(folder: Path | None) -> dict[str, str]:
    """Return a digest of the encoders' files; nothing where they are not on this machine."""
    if folder is None or not folder.is_dir():
        return {}
    found = hashlib.sha256()
    for path in sorted(path for path in folder.glob("*/*") if path.suffix in _SUFFIXES):
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            found.update(f"{path.relative_to(folder).as_posix()} {size}".encode())
            for start in {0, max(0, size - _LOOKED_AT)}:
                file.seek(start)
                found.update(file.read(_LOOKED_AT))
    return {"encoders": found.hexdigest()[:16]}
