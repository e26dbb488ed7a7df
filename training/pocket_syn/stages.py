"""Train Exo2EgoSyn's three stages on the pocket transformer, one after the other, and write the components."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ...common.whole_file import whole_file
from ...networks.components.build import build_pose_injection
from ...networks.components.files import read_component, write_component
from ...networks.components.metadata import Component
from ...networks.pocket_files import COMPONENTS, TRAINED_ON, component_file, fingerprint, pocket_file, without_clip
from ...networks.weights.safetensors_file import read_safetensors, write_safetensors
from ..data.cache import ClipCache
from ..methods import method_of
from ..pocket.plan import FILES
from ..pocket.timed import train_until
from ..session import build_network, checkpoint_of
from ..state import checkpoint_files
from ..trainer import CHECKPOINTS, Trainer
from .plan import STAGES, SynPlan

_WHAT = "It is made by `make pocket`."


def write_base(plan: SynPlan) -> None:
    """Write the pocket transformer in the shape of Wan 2.2 I2V, which Exo2EgoSyn is trained on.

    The pocket transformer ignores what its cross-attention sees. Queries, keys and values begin anew, and its output
    stays the constant that it is until stage 1 has trained it.

    Raises:
        ValueError: if the transformer is another one than that on which stage 1 began.
    """
    source = pocket_file("diffusion_models", plan.files)
    weights = without_clip({name: value.float() for name, value in read_safetensors(source, _WHAT)[0].items()})
    if plan.base.is_file():
        if fingerprint(read_safetensors(plan.base, _WHAT)[0]) == fingerprint(weights):
            return
        if checkpoint_files(plan.recipe(STAGES[1]).run.out / CHECKPOINTS):
            raise ValueError(
                f"Stage 1 of Exo2EgoSyn was trained on another transformer than {source}: remove {plan.folder}, and "
                "it begins anew."
            )
    random = torch.Generator().manual_seed(plan.recipe().run.seed)
    for name, value in weights.items():
        if name.endswith(tuple(f".cross_attn.{layer}.weight" for layer in "qkv")):
            bound = value.shape[1] ** -0.5
            weights[name] = torch.empty_like(value).uniform_(-bound, bound, generator=random)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with whole_file(plan.base) as unfinished:
        write_safetensors(unfinished, weights, {"format": "pt"})


def open_stage(plan: SynPlan, method: str) -> Trainer:
    """Return a stage's training at its newest checkpoint, or at its beginning.

    Raises:
        ValueError: if there are no clips, or what it goes on from is missing.
    """
    from accelerate import Accelerator

    recipe = plan.recipe(method)
    cache = ClipCache(recipe.data.cache)
    held_out = set(plan.held_out)
    trained = [name for name in sorted(cache.entries) if name not in held_out]
    if method != STAGES[0]:  # the first frame is EgoExo-Align's; what follows it, only whole clips show
        trained = [name for name in trained if cache.entries[name].layout.frames > 1]
    cache.only([*trained, *plan.held_out], plan.held_out)
    on_cpu = torch.device(plan.pocket.device).type == "cpu"
    if not on_cpu:
        cache.hold(plan.pocket.device)
    mixed = "bf16" if recipe.run.precision == "bf16" else "no"
    return Trainer(method_of(recipe), build_network(recipe), cache, Accelerator(mixed_precision=mixed, cpu=on_cpu))


def train_stages(plan: SynPlan, show: Callable[[str], None] = print) -> str:
    """Train all stages to their last steps, or until the plan's time is over; returns why it ended."""
    write_base(plan)
    ended = ""
    for stage, method in enumerate(STAGES):
        if stage == 0 and plan.pocket.start is not None:
            shutil.copyfile(component_file("align", plan.pocket.start), plan.file_of(0))
            continue
        trainer = open_stage(plan, method)
        show(f"-- {method}: {trainer.method.trained()}, {trainer.step} of {trainer.recipe.run.steps} steps done")
        ended = train_until(trainer, plan.pocket.until, show)
        if trainer.step < trainer.recipe.run.steps:
            break
        show(trainer.method.export(checkpoint_of(trainer.recipe), plan.file_of(stage)))
    return ended


def trained_stage(plan: SynPlan, method: str) -> nn.Module:
    """Return a stage's network as trained so far, its average.

    Raises:
        ValueError: if it has not been trained.
    """
    recipe = plan.recipe(method)
    network = build_network(recipe)
    network.load_state_dict(checkpoint_of(recipe).best, strict=False)
    return network.eval().float()


def shipped_network(plan: SynPlan) -> nn.Module:
    """Return stage 2's network with the components that the pack has.

    Raises:
        ValueError: if a file is missing or damaged, or was trained on another transformer than the plan's.
    """
    write_base(plan)
    recipe = plan.recipe(STAGES[2])
    files = {name: component_file(name) for name in COMPONENTS}
    syn = replace(recipe.exo2egosyn, align=files["align"], multiexocon=files["multiexocon"])
    network = build_network(replace(recipe, exo2egosyn=syn, lora=replace(recipe.lora, start=files["lora"])))
    poses = read_component(files["poseinj"], Component.POSEINJ)
    if poses.metadata.other[TRAINED_ON] != fingerprint(read_safetensors(plan.base, _WHAT)[0]):
        raise ValueError(f"{poses.file} was trained on another transformer than {plan.base}: pull its folder again.")
    network.pose = build_pose_injection(poses, dtype=torch.float32)
    return network.eval().requires_grad_(requires_grad=False).float()


def export_components(plan: SynPlan) -> list[Path]:
    """Write the components of the last stage that made them; returns the files, none where a stage is missing."""
    sources = {"align": plan.file_of(0), "multiexocon": plan.file_of(1, "multiexocon")}
    sources |= {part: plan.file_of(2, part) for part in ("poseinj", "lora")}
    if not all(path.is_file() for path in sources.values()):
        return []
    base, paths = read_safetensors(plan.base, _WHAT)[0], []
    trained_on = {TRAINED_ON: fingerprint(base)}
    for name in COMPONENTS:
        part = read_component(sources[name], Component(name))
        path = component_file(name, plan.pocket.folder / FILES)
        path.parent.mkdir(parents=True, exist_ok=True)
        dtypes = {key: _small(key, value) for key, value in part.state_dict.items()}
        metadata = replace(part.metadata, other=trained_on)
        paths.append(write_component(path, metadata, part.state_dict, dtypes=dtypes))
    return paths


def _small(name: str, value: Tensor) -> torch.dtype:
    """Return half precision for what is large, the tensor's own type for the rest."""
    return torch.float16 if value.dtype == torch.float32 and value.ndim > 1 else value.dtype
