"""Memory before work: what a result would take is estimated first, and refused in a sentence where it is not there.

An allocation that fails half-way ends in torch's own words; one that succeeds because the system promises more than it
has ends with the whole ComfyUI killed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .messages import gigabytes

# Gigabytes (10^9 bytes) that one result may take, for those who share a machine; what is free counts too.
LIMIT_VARIABLE = "EXO2EGO_MEMORY_LIMIT"

# Bytes of a number as ComfyUI's images hold it, and of torch's double precision.
FLOAT = 4
DOUBLE = 8

# So much is asked for at any time: not worth a look at the system.
_SMALL = 32 * 2**20
_CGROUP = Path("/sys/fs/cgroup")
# What the allocators of torch (CPU) and of libraries below it say.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|failed to allocate|cannot allocate memory|unable to allocate|"
    r"bad_?alloc|storage size calculation overflowed|invalid (?:buffer|storage) size|out of memory",
    re.IGNORECASE,
)


class NotEnoughMemoryError(ValueError):
    """A result would take more memory than there is."""


def require_memory(need: float, what: str, lower: str) -> None:
    """Check that the memory for a result is there, before it is made.

    Args:
        need: bytes at the peak, beside what is held already.
        what: the result, for the message: "Pluecker maps of 9 frames at 8192 x 8192".
        lower: what to do about it, as a sentence: "Lower width, height or frames."

    Raises:
        NotEnoughMemoryError: if it is not.
    """
    if need <= _SMALL:
        return
    free, limit = _free_bytes(), _limit_bytes()
    if limit is not None and need > limit:
        raise NotEnoughMemoryError(
            f"{what} would need {gigabytes(need)} of memory, and {LIMIT_VARIABLE} allows {gigabytes(limit)}. {lower}"
        )
    if free is not None and need > free:
        raise NotEnoughMemoryError(f"{what} would need {gigabytes(need)} of memory, {gigabytes(free)} is free. {lower}")


@contextmanager
def memory_errors_told(what: str) -> Iterator[None]:
    """Turn what allocators raise on the CPU into a sentence; a GPU's errors stay, since ComfyUI acts on them.

    Args:
        what: runs in the block, for the message.

    Raises:
        NotEnoughMemoryError: instead of a MemoryError, NumPy's included, and of torch's RuntimeError.
    """
    try:
        yield
    except MemoryError as error:
        raise NotEnoughMemoryError(_told(what, error)) from error
    except RuntimeError as error:
        if not _is_of_memory(error):
            raise
        raise NotEnoughMemoryError(_told(what, error)) from error


def _is_of_memory(error: RuntimeError) -> bool:
    is_of_gpu = type(error).__name__ in ("OutOfMemoryError", "AcceleratorError") or "CUDA" in str(error)
    return not is_of_gpu and _OUT_OF_MEMORY.search(str(error)) is not None


def _told(what: str, error: Exception) -> str:
    free = _free_bytes()
    left = "" if free is None else f" ({gigabytes(free)} is free)"
    detail = str(error).strip().splitlines()
    said = f" The allocator said: {detail[0][:160]}" if detail else ""
    return (
        f"{what} ran out of memory{left}. Use fewer frames or smaller images, close other programs, or press ComfyUI's "
        f"Unload Models.{said}"
    )


def _limit_bytes() -> float | None:
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return None
    try:
        return float(text) * 1e9
    except ValueError as error:
        raise ValueError(f"{LIMIT_VARIABLE} is a number of gigabytes, such as 8 or 1.5; got {text!r}.") from error


def _free_bytes() -> int | None:
    """Return the memory that is free for this process, swap included; None where the system does not tell."""
    found = [size for size in (_free_of_machine(), _free_of_container()) if size is not None]
    return min(found, default=None)


def _free_of_machine() -> int | None:
    try:
        import psutil  # one of ComfyUI's own requirements
    except ImportError:
        return None
    try:
        swap = psutil.swap_memory().free
    except (OSError, RuntimeError):
        swap = 0  # some containers do not tell
    return psutil.virtual_memory().available + swap


def _free_of_container() -> int | None:
    """Return what is left below the limit of a container; files that it only keeps in its cache count as free."""
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        if most == "max":
            return None
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text())
        cached = sum(int(statistics.get(kind, 0)) for kind in ("active_file", "inactive_file"))
        return max(0, int(most) - used + cached)
    except (OSError, ValueError):
        return None  # no Linux, or control groups of another version
