"""The trained parts of Exo2EgoSyn that an artist chose, and whether they go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..exo2egosyn.ego_exo_align import AlignConfig
from ..exo2egosyn.exo_tokens import ExoTokenConfig
from ..exo2egosyn.pose_injection import PoseConfig
from ..exo2egosyn.self_attention_lora import LoraConfig
from ..exo2egosyn.vawan import AC3D, NO_POSE, TIME_POSE, VawanConfig
from .files import LoadedComponent, read_component
from .metadata import Component, MultiExoConMetadata, VawanMetadata

_POSE_STAGE = 2  # the stage that trains PoseInj, and the LoRA on with it

_POSE_NAMES = {AC3D: "AC3D", TIME_POSE: "Time&Pose"}


@dataclass(frozen=True, eq=False)
class SynComponents:
    """Trained parts; each is neutral where it is absent.

    Attributes:
        parts: by kind.
    """

    parts: Mapping[Component, LoadedComponent] = field(default_factory=dict)

    def get(self, component: Component) -> LoadedComponent | None:
        """Return a part, or None."""
        return self.parts.get(component)

    @property
    def needs_views(self) -> bool:
        """Whether the model reads exo videos."""
        return Component.MULTIEXOCON in self.parts or Component.VAWAN in self.parts

    @property
    def needs_poses(self) -> bool:
        """Whether the model reads the ego camera's path."""
        return bool(self.posed_parts())

    def posed_parts(self) -> dict[str, LoadedComponent]:
        """Return the parts that read the ego camera's path, by the names that messages call them."""
        named = {}
        if (part := self.get(Component.POSEINJ)) is not None:
            named["PoseInj"] = part
        if (part := self.get(Component.VAWAN)) is not None and part.config.pose != NO_POSE:
            named[f"VAWAN with {_POSE_NAMES[part.config.pose]}"] = part
        return named

    def most_views(self) -> int | None:
        """Return how many exo views the model takes, None where it reads none."""
        configs = [part.config for part in self.parts.values()]
        return next((config.views for config in configs if isinstance(config, ExoTokenConfig | VawanConfig)), None)

    @property
    def cond_tail(self) -> str | None:
        """What followed the first frame in training, "gray" or "pixel"; None where no part tells."""
        told = [getattr(part.metadata, "cond_tail", None) for part in self.parts.values()]
        return next((tail for tail in told if tail is not None), None)

    def describe(self) -> str:
        """Return what was read, a line for each part."""
        if not self.parts:
            return "No component chosen: the model stays as it is."
        return "\n".join(_describe(part) for part in self.parts.values())

    def notes(self) -> list[str]:
        """Return what is likely wrong with the choice but does not stop a run."""
        notes = []
        categories = {part.metadata.category for part in self.parts.values() if part.metadata.category}
        if len(categories) > 1:
            notes.append(f"The components were trained on different activities: {', '.join(sorted(categories))}.")
        lora, poses = self.get(Component.LORA), self.get(Component.POSEINJ)
        if poses is not None and lora is not None and lora.metadata.stage not in (None, _POSE_STAGE):
            notes.append(
                f"{lora.file} is the LoRA of stage {lora.metadata.stage}, and PoseInj was trained with that of stage "
                f"{_POSE_STAGE}, which continues it: choose that one."
            )
        trained_with_lora = [key.value for key in (Component.MULTIEXOCON, Component.POSEINJ) if key in self.parts]
        if trained_with_lora and lora is None and Component.VAWAN not in self.parts:
            notes.append(
                f"Trained together with a self-attention LoRA, and none is loaded: {' and '.join(trained_with_lora)}. "
                "Choose that LoRA under lora."
            )
        return notes

    def check_fits(self, dim: int, blocks: int) -> None:
        """Check that the parts are of a base model's size.

        Raises:
            ValueError: if one is for a wider, narrower, deeper or shallower model.
        """
        for part in self.parts.values():
            for what, got, expected in zip(("width", "depth"), _base_size(part), (dim, blocks)):
                if got is not None and got != expected:
                    raise ValueError(
                        f"{part.file} is for a model of {what} {got}, and this one has {what} {expected}. Load Wan 2.2 "
                        "I2V A14B (low-noise), or a file trained on this model."
                    )


def guidance_note(part: LoadedComponent) -> str | None:
    """Return why a part is sampled with CFG 1, or None where its null branch was trained or it has none.

    CFG compares with exo latents of zero, which the network has met only if training left exo views out at times.
    """
    if not isinstance(part.metadata, MultiExoConMetadata | VawanMetadata) or part.metadata.cond_dropout:
        return None
    if part.metadata.cond_dropout is None:
        return f"{part.file} does not state whether exo views were left out in its training (cond_dropout)"
    return f"{part.file} was trained without leaving exo views out"


def read_components(paths: Mapping[Component, Path]) -> SynComponents:
    """Read the files of the parts.

    Raises:
        ValueError: if a file is no whole component of its kind, or two parts exclude each other; it names the file.
    """
    if Component.VAWAN in paths and (
        others := [key for key in (Component.MULTIEXOCON, Component.LORA) if key in paths]
    ):
        names = " and ".join(component.value for component in others)
        raise ValueError(
            f"VAWAN is the paper's baseline, in the place of MultiExoCon, and its file holds a LoRA of its own: choose "
            f"either vawan or {names}."
        )
    return SynComponents({component: read_component(path, component) for component, path in paths.items()})


def _base_size(part: LoadedComponent) -> tuple[int | None, int | None]:
    """Return width and depth (blocks) of the base model that a part is for, None where it does not depend on it."""
    config = part.config
    if isinstance(config, VawanConfig):
        config = config.lora
    if isinstance(config, ExoTokenConfig | LoraConfig):
        return config.dim, config.blocks
    return (config.dim, None) if isinstance(config, PoseConfig) else (None, None)


def _describe(part: LoadedComponent) -> str:
    config, metadata = part.config, part.metadata
    facts = [f"{sum(tensor.numel() for tensor in part.state_dict.values()):,} parameters"]
    if isinstance(config, AlignConfig):
        facts.append(f"width {config.dim}, depth {config.num_blocks}")
    elif isinstance(config, ExoTokenConfig | VawanConfig):
        facts.append(f"up to {config.views} views" if isinstance(config, ExoTokenConfig) else f"{config.views} views")
    elif isinstance(config, PoseConfig):
        facts.append(config.fuse)
    elif isinstance(config, LoraConfig):
        facts.append(f"rank {config.rank}")
    if isinstance(config, VawanConfig):
        facts.append(_pose_fact(config))
    if isinstance(metadata, MultiExoConMetadata | VawanMetadata):
        facts.append(f"sample with CFG {metadata.guidance if metadata.cond_dropout else 1:g}")
    width, height = metadata.image_size
    facts.append(f"{metadata.num_frames} frames of {width} x {height}, stride {metadata.frame_stride}")
    facts += [f"trained on {metadata.category}"] if metadata.category else []
    facts += [f"stage {metadata.stage}"] if metadata.stage is not None else []
    facts += [f"{metadata.step:,} steps"] if metadata.step is not None else []
    return f"{metadata.component.value}: {part.file} ({', '.join(facts)})"


def _pose_fact(config: VawanConfig) -> str:
    if config.pose == NO_POSE:
        return "no poses"
    shared = " in one shared block" if config.pose_shared else ""
    width = f" at width {config.pose_width}{shared}" if config.pose == AC3D else ""
    return f"poses by {_POSE_NAMES[config.pose]}{width}"
