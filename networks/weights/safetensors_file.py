"""Safetensors files: read without ever running what another kind of file may hold, written one tensor at a time."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...common.paths import is_file
from .headers import PICKLES, DamagedFileError, read_header

# Names of the format for the types that weights have.
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.uint8: "U8",
}
_ALIGNMENT = 8  # of the first tensor, in bytes


def read_safetensors(path: str | Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, mapped from the file, and the header's strings.

    Args:
        path: the file.
        what: sentence for errors that says which file belongs here.

    Raises:
        ValueError: if the file is missing, a pickle, torn or of another format.
    """
    path = Path(path)
    if not is_file(path):
        raise ValueError(f"There is no file {path.name} in {path.parent}. {what}")
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}). Check the file's rights and the disk.") from error
    # The length of a safetensors header, 8 bytes, may begin as a pickle does; the header itself begins with a brace.
    pickled = start.startswith(PICKLES) and not start.endswith(b"{")
    if pickled or path.suffix.lower() != ".safetensors":
        raise ValueError(
            f"{path.name} is not a safetensors file. Pickled files (.pt, .bin, .ckpt) can run code and are not opened. "
            f"{what}"
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  no mapping
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name} is truncated, corrupt or not a safetensors file ({_damage(path)}): download it again. {what}"
        ) from error


def _damage(path: Path) -> str:
    """Return in plain words what is wrong with a file that the package does not read."""
    try:
        read_header(path)
    except DamagedFileError as damage:
        return damage.found
    return "its header and its tensors do not fit"


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    strings: Mapping[str, str],
    dtypes: Mapping[str, torch.dtype] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a file, one tensor after the other: the memory of the largest is enough, whatever the size of the file.

    The package's own `save_file` makes a copy of everything first.

    Args:
        path: the file.
        tensors: floating-point numbers or bytes by name; those mapped from another file are read in their turn.
        strings: what the header says.
        dtypes: types to store other than the tensors' own, by name.
        progress: called with the bytes of every tensor once it is written.
    """
    dtypes = dtypes or {}
    stored = {key: dtypes.get(key, tensor.dtype) for key, tensor in tensors.items()}
    # The widest type first: each tensor then begins at a multiple of its own numbers' size.
    order = sorted(tensors, key=lambda key: -stored[key].itemsize)
    header: dict[str, object] = {"__metadata__": dict(strings)} if strings else {}
    end = 0
    for key in order:
        start, end = end, end + tensors[key].numel() * stored[key].itemsize
        header[key] = {
            "dtype": _DTYPES[stored[key]],
            "shape": list(tensors[key].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for key in order:
            values = tensors[key].detach().to("cpu", stored[key]).contiguous().reshape(-1)
            file.write(values.view(torch.uint8).numpy().data)
            if progress is not None:
                progress(values.nbytes)
