"""What the header of a component's file says (docs/exo2egosyn-format.md).

A trained part of Exo2EgoSyn is one safetensors file, and its header holds strings. They are read into the classes here:
what may be left out is None and then follows from the tensors. A value that means other mathematics or other data than
this version knows is an error, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from enum import Enum
from typing import Any, ClassVar

from ...common.wan_grid import fits_wan

FORMAT = "exo2egosyn"
FORMAT_VERSION = "1"
BASE_MODEL = "Wan2.2-I2V-A14B-low-noise"

# CFG scale of Wan 2.2, which the paper keeps (table 8).
PAPER_GUIDANCE = 3.5

# Largest size or count in a header: far above any real one, and no shape made of such sizes overflows torch's integers.
_LARGEST = 100_000
# What to do about a header that its exporter wrote wrongly.
EXPORT_AGAIN = "Export the file again, or choose another one."
_IN_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "tuple[int, int]": "WIDTHxHEIGHT"}


class Component(str, Enum):
    """The trained parts; one a file."""

    ALIGN = "align"
    MULTIEXOCON = "multiexocon"
    POSEINJ = "poseinj"
    LORA = "lora"
    VAWAN = "vawan"


def _one_of(default: Any, *others: Any) -> Any:
    """Declare a value of which this version reads only these; the first is taken where a header has none."""
    return field(default=default, metadata={"reads": (default, *others)})


def _positive(default: Any = None) -> Any:
    return field(default=default, metadata={"positive": True})


def _share() -> Any:
    return field(default=None, metadata={"share": True})


@dataclass(frozen=True, kw_only=True)
class ComponentMetadata:
    """What all components tell, by the names in the header; None: the header does not tell.

    Attributes:
        category: activity it was trained on, such as "bike".
        stage, step: stage of the training (0 Align, 1 MultiExoCon, 2 PoseInj) and steps made.
        num_views: exo views it was trained with.
        image_size: width and height of the pictures; "256x256" in the header.
        num_frames, frame_stride: frames of a clip, and source frames from one to the next.
        plucker_order: what comes first in a Pluecker map.
        pose_convention: what the relative pose maps: ego to exo coordinates.
        pose_reference: the exo camera that it is relative to: the first one, or each view's own.
        pose_scale: factor on metres.
        rays: "pinhole" of undistorted ego frames, or "raymap" of the lens that made them.
        latent_space: which latents the weights take.
        dtype, license, trained_by: for the reader's eyes.
        other: what else the header holds, kept as it is.
    """

    component: ClassVar[Component]

    category: str = ""
    stage: int | None = None
    step: int | None = None
    num_views: int | None = _positive()
    image_size: tuple[int, int] = (256, 256)
    num_frames: int = _positive(9)
    frame_stride: int = _positive(4)
    plucker_order: str = _one_of("moment_direction")
    pose_convention: str = _one_of("inv(exo_c2w)@ego_c2w")
    pose_reference: str = _one_of("exo1", "per_view")
    pose_scale: float = _one_of(1.0)
    rays: str = _one_of("pinhole", "raymap")
    latent_space: str = _one_of("wan21_normalised")
    dtype: str = ""
    license: str = ""
    trained_by: str = ""
    other: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in fields(self):
            value, reads = getattr(self, item.name), item.metadata.get("reads", ())
            if item.metadata.get("positive") and value is not None and not 0 < value <= _LARGEST:
                raise ValueError(
                    f"{item.name} is {_to_text(value)}, expected a number above zero and up to {_LARGEST:,}. "
                    f"{EXPORT_AGAIN}"
                )
            if item.metadata.get("share") and value is not None and not 0 <= value <= 1:
                raise ValueError(f"{item.name} is {_to_text(value)}, expected a share from 0 to 1. {EXPORT_AGAIN}")
            if reads and value not in reads:
                known = " or ".join(_to_text(choice) for choice in reads if choice is not None)
                raise ValueError(
                    f"{item.name} is {_to_text(value)}, and this version reads {known}. Use another file, or a version "
                    "of ComfyUI-Exo2Ego that knows it."
                )
        if not fits_wan(self.num_frames):
            raise ValueError(f"num_frames is {self.num_frames}, expected 4 n + 1: 1, 5, 9, ... {EXPORT_AGAIN}")

    def to_header(self) -> dict[str, str]:
        """Return the strings of the header; `parse_metadata` reads them back."""
        told = {item.name: getattr(self, item.name) for item in _told(type(self))}
        return {
            **self.other,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "component": self.component.value,
            "base_model": BASE_MODEL,
            **{name: _to_text(value) for name, value in told.items() if value is not None},
        }


@dataclass(frozen=True, kw_only=True)
class AlignMetadata(ComponentMetadata):
    """EgoExo-Align; the sizes are those of `AlignConfig`."""

    component = Component.ALIGN

    pose_reference: str = _one_of("per_view")
    dim: int | None = _positive()
    heads: int | None = _positive()
    dim_head: int | None = _positive()
    num_blocks: int | None = _positive()
    ff_mult: float | None = _positive()
    patch_size: int | None = _positive()
    in_channels: int = _one_of(22)
    out_channels: int = _one_of(22)
    order: str = _one_of("st")
    kv_prenorm: bool = _one_of(False)
    spatial_rel_pos_bias: bool = _one_of(False)
    view_reduce: str = _one_of("mean")


@dataclass(frozen=True, kw_only=True)
class MultiExoConMetadata(ComponentMetadata):
    """MultiExoCon: the exo patch embedding and all cross-attention weights.

    Attributes:
        exo_pos: positions of the exo tokens, see `ExoTokenConfig`.
        cross_mode: how the cross-attention was trained: all of it, as in the paper.
        cond_dropout: share of the training samples without exo views. At 0 the null branch of CFG is untrained, and
            where the header does not tell it may be.
        cond_tail: what the frames after the first hold in the first-frame condition: "gray", the latent frames of a
            grey clip, or "pixel", those of a clip that begins with the first frame and is grey after it. None: see
            `wan/exo2egosyn/conditioning.py`.
        guidance: CFG scale to sample with, where the null branch was trained.
    """

    component = Component.MULTIEXOCON

    exo_pos: str | None = _one_of(None, "none", "learned")
    cross_mode: str = _one_of("full")
    cond_dropout: float | None = _share()
    cond_tail: str | None = _one_of(None, "gray", "pixel")
    guidance: float = _positive(PAPER_GUIDANCE)


@dataclass(frozen=True, kw_only=True)
class PoseInjMetadata(ComponentMetadata):
    """PoseInj; the sizes are those of `PoseConfig`. `pad` is what the convolutions see before the first frame."""

    component = Component.POSEINJ

    pose_reference: str = _one_of("exo1")
    unshuffle: int | None = _positive()
    kernel: int | None = _positive()
    pad: str = _one_of("replicate_first")
    fuse: str | None = _one_of(None, "concat", "additive")


@dataclass(frozen=True, kw_only=True)
class LoraMetadata(ComponentMetadata):
    """The self-attention LoRA, see `LoraConfig`."""

    component = Component.LORA

    rank: int | None = _positive()
    alpha: float | None = _positive()


@dataclass(frozen=True, kw_only=True)
class VawanMetadata(LoraMetadata):
    """VAWAN: a wider patch embedding, a LoRA and maybe poses, see `VawanConfig`.

    Attributes:
        cond_dropout, cond_tail, guidance: as with MultiExoCon.
        pose: conditioning on the ego camera's poses; where a header is silent the tensors tell, so that files from
            before there were poses have none.
        pose_width, pose_shared: of AC3D's light blocks.
    """

    component = Component.VAWAN

    cond_dropout: float | None = _share()
    cond_tail: str | None = _one_of(None, "gray", "pixel")
    guidance: float = _positive(PAPER_GUIDANCE)
    pose: str | None = _one_of(None, "none", "ac3d", "time_pose")
    pose_width: int | None = _positive()
    pose_shared: bool | None = None


METADATA_OF: dict[Component, type[ComponentMetadata]] = {
    kind.component: kind for kind in (AlignMetadata, MultiExoConMetadata, PoseInjMetadata, LoraMetadata, VawanMetadata)
}


def parse_metadata(header: Mapping[str, str]) -> ComponentMetadata:
    """Read the strings of a header.

    Raises:
        ValueError: for a file that is no component, another version, component or base model, words where numbers
            belong, and values that this version does not read.
    """
    if header.get("format") != FORMAT:
        raise ValueError(
            f"not a component of Exo2EgoSyn: its header lacks format={FORMAT}. Load models and LoRAs of other kinds by "
            "ComfyUI's own loaders."
        )
    if (version := header.get("format_version")) != FORMAT_VERSION:
        raise ValueError(
            f"written in version {version} of the format, and this version of ComfyUI-Exo2Ego reads {FORMAT_VERSION}: "
            "update it."
        )
    names = [component.value for component in Component]
    if header.get("component") not in names:
        raise ValueError(
            f"component is {header.get('component')}, and this version reads {', '.join(names)}. Choose one of these."
        )
    if (base := header.get("base_model")) != BASE_MODEL:
        raise ValueError(f"trained on {base}, and Exo2EgoSyn runs on {BASE_MODEL}: use a file trained on that.")
    kind = METADATA_OF[Component(header["component"])]
    told = {item.name: _parse(item, header[item.name]) for item in _told(kind) if item.name in header}
    known = {"format", "format_version", "component", "base_model", *told}
    return kind(**told, other={key: value for key, value in header.items() if key not in known})


def _told(kind: type[ComponentMetadata]) -> list[Field]:
    """Return the fields that have a line of their own in the header."""
    return [item for item in fields(kind) if item.name != "other"]


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "x".join(str(part) for part in value)
    return str(value)


def _parse(item: Field, text: str) -> Any:
    kind = item.type.removesuffix(" | None")
    try:
        return _PARSERS[kind](text)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{item.name} is {text!r}, expected {_IN_WORDS.get(kind, kind)}. {EXPORT_AGAIN}") from error


def _parse_size(text: str) -> tuple[int, int]:
    """Read "WIDTHxHEIGHT", or one number for a square."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None:
        raise ValueError(text)
    return int(match[1]), int(match[2] or match[1])


_PARSERS = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "tuple[int, int]": _parse_size,
}
