"""The model files of an installation, each header read once."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from ...networks.components.metadata import FORMAT
from ...networks.weights.file_kinds import IMAGE_ENCODER, LORA, TEXT_ENCODER, VAE, kind_of
from ...networks.weights.headers import SUFFIXES, DamagedFileError, Header, read_header, unfinished_name
from ...networks.weights.shards import shard_number
from ...networks.weights.wan_kinds import is_high_noise
from .installation import Installation
from .workflows import Wanted

_KIND_IN = {"text_encoders": TEXT_ENCODER, "vae": VAE, "clip_vision": IMAGE_ENCODER, "loras": LORA}

# Folders of LoRAs are large, and what is in them is mostly for other models: names that may be for this pack, and those
# of the distillation LoRA, which has been extracted anew under several.
_OUR_LORA = re.compile(r"ego|pytorch_lora_weights", re.IGNORECASE)
_DISTILLED_LORA = re.compile(r"^(?=.*i2v)(?=.*480p|.*wan.?2.?1)(?=.*(lightx2v|distill))", re.IGNORECASE)


def expected_kind(wanted: Wanted) -> str:
    """Return the name that `Library.kind` gives to a right file."""
    if wanted.component is not None:
        return _component(wanted.component)
    return wanted.base or _KIND_IN[wanted.folders[0]]


class Library:
    """The model files of an installation.

    Args:
        installation: whose folders are searched.
    """

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._headers: dict[Path, Header | DamagedFileError] = {}
        self._files: dict[tuple[str, ...], dict[str, Path]] = {}

    def files(self, wanted: Wanted) -> dict[str, Path]:
        """Return every file in the folders of a model, by the name that ComfyUI lists it under."""
        if wanted.folders not in self._files:
            self._files[wanted.folders] = self.installation.files(wanted.folders)
        return self._files[wanted.folders]

    def candidates(self, wanted: Wanted) -> dict[str, Path]:
        """Return the files that may stand for a model, by name; of LoRAs, those whose names hint at it."""
        hint = _DISTILLED_LORA if wanted.is_stock_lora else _OUR_LORA
        return {
            name: path
            for name, path in self.files(wanted).items()
            if path.suffix.lower() in SUFFIXES and (name == wanted.file or path not in self._loras or hint.search(name))
        }

    def unfinished(self, wanted: Wanted) -> dict[str, Path]:
        """Return the downloads in progress in the folders of a model: what each will be called, and the file."""
        found = ((unfinished_name(path.name), path) for path in self.files(wanted).values())
        return {name: path for name, path in found if name is not None and path.suffix.lower() not in SUFFIXES}

    def header(self, path: Path) -> Header:
        """Return the header of a file.

        Raises:
            DamagedFileError: if it has none.
        """
        if path not in self._headers:
            try:
                self._headers[path] = read_header(path)
            except DamagedFileError as error:
                self._headers[path] = error
        found = self._headers[path]
        if isinstance(found, DamagedFileError):
            raise found
        return found

    def kind(self, path: Path) -> str | None:
        """Return which model a file holds; None if none that this pack has to do with.

        Raises:
            DamagedFileError: if it is torn.
        """
        header = self.header(path)
        if header.strings.get("format") == FORMAT:
            return _component(header.strings.get("component", "?"))
        return kind_of(header)

    def suits(self, wanted: Wanted, path: Path) -> bool:
        """Whether a loader can be given a file for a model, as far as header and name tell."""
        try:
            if self.kind(path) != expected_kind(wanted) or (shard_number(path.name) or 1) > 1:
                return False
            return not (wanted.needs_low_noise and is_high_noise(path.name))
        except DamagedFileError:
            return False

    @cached_property
    def _loras(self) -> set[Path]:
        return set(self.installation.files(("loras",)).values())


def _component(name: str) -> str:
    return f"Exo2EgoSyn's {name}"
