"""Names of shards, as Hugging Face gives them: NAME-00001-of-00003.safetensors."""

from __future__ import annotations

import re

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


def shard_number(name: str) -> int | None:
    """Return 1, 2, ... for the name of a shard, None for any other: a list of files shows each once."""
    match = _SHARD.fullmatch(name)
    return None if match is None else int(match[2])


def without_shard(name: str) -> str:
    """Return the name of the whole of which a file is a shard; a whole file's is its own."""
    return _SHARD.sub(r"\1.safetensors", name)


def shard_names(stem: str, count: int) -> list[str]:
    """Return the names of all shards of STEM.safetensors."""
    return [f"{stem}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def siblings(name: str) -> list[str] | None:
    """Return the names of all shards of the file that a shard belongs to, None for any other name."""
    match = _SHARD.fullmatch(name)
    return None if match is None else shard_names(match[1], int(match[3]))
