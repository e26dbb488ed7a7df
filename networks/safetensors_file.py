"""Safetensors files: read without ever running what another kind of file may hold."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

# How zip archives and bare pickles start: what torch.save writes.
_PICKLES = (b"PK\x03\x04", b"\x80")


def read_safetensors(path: str | Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, mapped from the file, and the header's strings.

    Args:
        path: the file.
        what: sentence for errors that says which file belongs here.

    Raises:
        ValueError: if the file is missing, a pickle, torn or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path.name} in {path.parent}. {what}")
    with open(path, "rb") as file:
        start = file.read(9)
    # The length of a safetensors header, 8 bytes, may begin as a pickle does; the header itself begins with a brace.
    pickled = start.startswith(_PICKLES) and not start.endswith(b"{")
    if pickled or path.suffix.lower() != ".safetensors":
        raise ValueError(
            f"{path.name} is no safetensors file. Pickled files (.pt, .bin, .ckpt) can run code and are not opened. "
            f"{what}"
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  no mapping
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path.name} is torn or no safetensors file ({error}): download it again. {what}") from error
