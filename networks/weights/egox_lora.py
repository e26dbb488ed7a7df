"""What the header of an EgoX LoRA of this pack's trainer says of how it was trained.

Every value is text, as safetensors has it. A LoRA without this header, as EgoX's release, says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

FORMAT = "egox_lora"
FORMAT_VERSION = "1"
NO_GGA = "off"


# What a run can be compared in, and how people call it.
_WORDS = {
    "match": "match",
    "gga": "GGA",
    "gga_strength": "lambda",
    "gga_geometry": "GGA's geometry",
    "exo_size": "exo video",
    "ego_size": "ego view",
    "num_frames": "frames",
}


@dataclass(frozen=True)
class EgoXLoraHeader:
    """How an EgoX LoRA was trained; empty where that is not known.

    Attributes:
        base_model: what it was trained on.
        match: whose settings its clips follow, a value of `Match`.
        gga: form of GGA in training: off, paper or release.
        gga_strength: its lambda.
        gga_geometry: how its directions were made.
        exo_size, ego_size: of the videos, WIDTHxHEIGHT.
        num_frames: of a clip.
        step: steps of the training.
        license: of the weights.
        trained_by: who trained it.
    """

    base_model: str = ""
    match: str = ""
    gga: str = ""
    gga_strength: str = ""
    gga_geometry: str = ""
    exo_size: str = ""
    ego_size: str = ""
    num_frames: str = ""
    step: str = ""
    license: str = ""
    trained_by: str = ""

    def to_strings(self) -> dict[str, str]:
        """Return the header's strings; what is not known is left out."""
        known = {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name)}
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **known}

    @classmethod
    def of(cls, strings: Mapping[str, str]) -> EgoXLoraHeader | None:
        """Return what a file's header says; None for a file of another trainer."""
        return cls.told_by(strings) if strings.get("format") == FORMAT else None

    @classmethod
    def told_by(cls, strings: Mapping[str, str]) -> EgoXLoraHeader:
        """Return what a header says, whatever its format: that of a whole model has the same attributes."""
        return cls(**{item.name: strings[item.name] for item in fields(cls) if item.name in strings})

    def differences(self, used: Mapping[str, str]) -> list[str]:
        """Return in which of its attributes a run differs, such as `GGA off (this run: release)`.

        Args:
            used: what the run uses, by attribute; what is not known of the run or of the training does not count.
        """
        told = {name: getattr(self, name) for name in _WORDS}
        return [
            f"{words} {told[name]} (this run: {used[name]})"
            for name, words in _WORDS.items()
            if told[name] and name in used and used[name] != told[name]
        ]

    def describe(self) -> str:
        """Return what matters for sampling in a line."""
        guided = (
            self.gga if self.gga in ("", NO_GGA) else f"{self.gga}, lambda {self.gga_strength}, {self.gga_geometry}"
        )
        parts = {
            "match": self.match,
            "GGA": guided,
            "exo": self.exo_size,
            "ego": self.ego_size,
            "frames": self.num_frames,
            "license": self.license,
        }
        return ", ".join(f"{name}: {value}" for name, value in parts.items() if value)
