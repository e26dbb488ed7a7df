"""What a recipe takes of a card's memory, worked out before anything runs, and which settings make it fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...common.messages import gigabytes
from ..method import Method
from ..methods import method_of
from ..network.transformer import WanSize, is_exact
from ..noise import Draws
from ..recipe import LORA, Recipe
from .blank_clip import blank_clip
from .footprint import Footprint, footprint
from .optimizers import ADAMW_8BIT, state_bytes, step_bytes
from .quantised import QuantisedLinear, quantise, stored_bytes
from .settings import FP8, NF4, QUANTISED

CARDS = (24, 48, 80)  # GB as they are sold, 2^30 bytes
# CUDA itself and its libraries, and what lies fallow between tensors.
RESERVE = 1_500_000_000

_IN_FLIGHT = 2  # blocks on the card of those that are swapped or shared: the one that runs and the next


@dataclass(frozen=True)
class Plan:
    """Bytes on each card, and of the host.

    Attributes:
        trained, frozen: numbers of parameters.
        weights: trained and frozen ones, without what is in the host's memory.
        host: frozen weights of swapped blocks, in the host's memory.
        gradients, optimizer, average: of what is trained; the average is EMA's.
        activations: of one forward and backward pass at their peak; of that `kept` waits for the backward pass.
        kept: see there.
        step: what the optimizer takes for as long as its step lasts, when activations are gone.
    """

    trained: int
    frozen: int
    weights: int
    host: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    kept: int
    step: int

    @property
    def total(self) -> int:
        """The most at any moment, with a reserve."""
        lasting = self.weights + self.gradients + self.optimizer + self.average
        return lasting + max(self.activations, self.step) + RESERVE

    def fits(self, card: int) -> bool:
        """Whether a card of so many GB (2^30) holds it."""
        return self.total <= card << 30

    def describe(self) -> str:
        """Return the parts as a line."""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "average": self.average,
            "activations": self.activations,
            "reserve": RESERVE,
        }
        if self.step > self.activations:
            parts["the optimizer's step, after the activations"] = self.step - self.activations
        told = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items() if size)
        return f"{told}; {gigabytes(self.total)} in all"


class Sizes(NamedTuple):
    """Of a network: numbers of parameters, bytes of the whole, and of its last block."""

    trained: int
    frozen: int
    weights: int
    gradients: int
    optimizer: int
    step: int
    block: int
    block_frozen: int
    block_trained: int


class Planner:
    """Plans of a recipe and its like, which measure once what they share.

    All blocks are alike: what two and three of them take tells what any number takes.

    Args:
        size: of the base model; None for a method that has none.
        cards: processes, each with a card.
    """

    def __init__(self, size: WanSize | None, cards: int = 1) -> None:
        self._size, self._cards = size, cards
        self._sizes: dict[Recipe, Sizes] = {}
        self._footprints: dict[Recipe, Footprint] = {}

    def plan(self, recipe: Recipe) -> Plan:
        """Return a recipe's plan."""
        key = _what_activations_follow_from(recipe)
        if key not in self._footprints:
            measured = self._of_any_number(lambda size: astuple(_measure(key, size)))
            self._footprints[key] = Footprint(*measured)
        sizes, measured, cards = self.sizes(recipe), self._footprints[key], self._cards
        swapped = recipe.memory.swap_blocks
        if self._size is not None and swapped > self._size.blocks:
            raise ValueError(f"[memory] swap_blocks is {swapped}, and the transformer has {self._size.blocks} blocks.")
        host = swapped * sizes.block_frozen
        weights = sizes.weights - host + min(swapped, _IN_FLIGHT) * sizes.block_frozen
        lasting = [
            weights,
            sizes.gradients,
            sizes.optimizer,
            sizes.gradients if recipe.optimizer.ema else 0,
            sizes.step,
        ]
        if cards > 1 and recipe.memory.shard:
            lasting = [part // cards for part in lasting]
            lasting[0] += _IN_FLIGHT * sizes.block
            lasting[1] += _IN_FLIGHT * sizes.block_trained
        elif cards > 1:
            lasting[1] *= 2  # DDP gathers gradients in buffers of its own
        *parts, step = lasting
        return Plan(sizes.trained, sizes.frozen, parts[0], host, *parts[1:], measured.peak, measured.kept, step)

    def sizes(self, recipe: Recipe) -> Sizes:
        """Return how many parameters a recipe has, and what they take, wherever they lie."""
        plain = replace(recipe, memory=replace(recipe.memory, swap_blocks=0))
        if plain not in self._sizes:
            self._sizes[plain] = Sizes(*self._of_any_number(lambda size: _sizes_of(plain, size)))
        return self._sizes[plain]

    def _of_any_number(self, measure: Callable[[WanSize | None], Sequence[int]]) -> list[int]:
        size = self._size
        if size is None or size.blocks <= 3:
            return list(measure(size))
        two, three = (measure(replace(size, blocks=count)) for count in (2, 3))
        return [first + (size.blocks - 2) * (then - first) for first, then in zip(two, three, strict=True)]

    def fitting(self, recipe: Recipe, card: int) -> tuple[list[str], Plan] | None:
        """Return the fewest settings with which a card of so many GB holds a recipe, and their plan.

        None if no settings of this trainer do: sizes, frames or rank have to be smaller.
        """
        for changed, settings in _changes(recipe):
            plan = self.plan(changed)
            blocks = self._size.blocks if self._size is not None else 0
            if not plan.fits(card) and _may_swap(changed) and blocks:
                changed, swapped = self._swapped(changed, plan, card, blocks)
                settings, plan = [*settings, f"[memory] swap_blocks = {changed.memory.swap_blocks}"], swapped
            if plan.fits(card):
                return settings, plan
        return None

    def _swapped(self, recipe: Recipe, plan: Plan, card: int, blocks: int) -> tuple[Recipe, Plan]:
        """Return a recipe with as few swapped blocks as make it fit, or all."""

        def with_blocks(count: int) -> Recipe:
            return replace(recipe, memory=replace(recipe.memory, swap_blocks=count))

        everything = self.plan(with_blocks(blocks))
        each = everything.host // blocks
        missing = plan.total - (card << 30)
        count = min(blocks, _IN_FLIGHT + -(-missing // each))
        return with_blocks(count), self.plan(with_blocks(count))


def plan_lines(recipe: Recipe, size: WanSize | None, cards: int = 1) -> list[str]:
    """Return a recipe's plan for people, with what cards hold it.

    Args:
        recipe: all settings.
        size: of the base model, if the method has one.
        cards: processes, each with a card.
    """
    planner = Planner(size, cards)
    plan = planner.plan(recipe)
    lines = [
        f"memory of {'the card' if cards == 1 else f'each of {cards} cards'}, measured on tensors without numbers:",
        f"  {plan.trained:,} parameters trained, {plan.frozen:,} frozen",
        f"  {plan.describe()}",
        f"  {gigabytes(plan.kept)} of the activations wait for the backward pass",
    ]
    if plan.host:
        lines.append(f"  in the host's memory: {gigabytes(plan.host)} of swapped blocks")
    for card in CARDS:
        if plan.fits(card):
            lines.append(f"  a card of {card} GB holds it")
        elif (found := planner.fitting(recipe, card)) is not None:
            lines.append(f"  a card of {card} GB holds it with {', '.join(found[0])}: {gigabytes(found[1].total)}")
        else:
            lines.append(
                f"  a card of {card} GB does not hold it with any setting: take fewer frames, smaller sizes or a lower "
                "rank" + ("" if recipe.memory.shard else ", or several cards with [memory] shard = true")
            )
    return lines


def _changes(recipe: Recipe) -> Iterator[tuple[Recipe, list[str]]]:
    """Give a recipe with more and more settings that save memory, what costs least first."""
    settings: list[str] = []
    if not recipe.run.gradient_checkpointing:
        recipe = replace(recipe, run=replace(recipe.run, gradient_checkpointing=True))
        settings = [*settings, "[run] gradient_checkpointing = true"]
        yield recipe, settings
    if recipe.run.accumulate < recipe.run.batch:
        recipe = replace(recipe, run=replace(recipe.run, accumulate=recipe.run.batch))
        settings = [*settings, f"accumulate = {recipe.run.batch}"]
        yield recipe, settings
    if _has_frozen_base(recipe) and recipe.memory.base not in QUANTISED and not recipe.memory.shard:
        recipe = replace(recipe, memory=replace(recipe.memory, base=FP8))
        settings = [*settings, f'[memory] base = "{FP8}"']
    yield recipe, settings
    if recipe.optimizer.method != ADAMW_8BIT:
        recipe = replace(recipe, optimizer=replace(recipe.optimizer, method=ADAMW_8BIT))
        settings = [*settings, f'[optimizer] method = "{ADAMW_8BIT}"']
        yield recipe, settings


def _may_swap(recipe: Recipe) -> bool:
    memory = recipe.memory
    return _has_frozen_base(recipe) and recipe.run.gradient_checkpointing and not (memory.shard or memory.swap_blocks)


def _has_frozen_base(recipe: Recipe) -> bool:
    return recipe.model.trained == LORA and recipe.model.base is not None


def _what_activations_follow_from(recipe: Recipe) -> Recipe:
    """Return a recipe without what changes no activation."""
    base = FP8 if recipe.memory.base in QUANTISED else recipe.memory.base  # nf4's weights in full are as large
    return replace(
        recipe,
        memory=replace(recipe.memory, base=base, swap_blocks=0, shard=False),
        optimizer=type(recipe.optimizer)(),
    )


def _as_in_training(recipe: Recipe, size: WanSize | None) -> nn.Module:
    """Return a recipe's network on the meta device, its weights in the types that they have in training."""
    method = method_of(recipe)
    network = method.empty_network(size)
    transformer = getattr(network, "transformer", None)
    if transformer is None or recipe.model.trained != LORA:
        return network
    dtype = recipe.memory.dtype(recipe.run.precision)
    for name, value in transformer.named_parameters():
        if not value.requires_grad and not is_exact(transformer, name):
            value.data = value.data.to(dtype)
    # NF4's library may not be here: e4m3 stands for it, and only its bytes are another's.
    quantise(transformer, FP8 if recipe.memory.base == NF4 else recipe.memory.base, method.spared)
    return network


def _sizes_of(recipe: Recipe, size: WanSize | None) -> Sizes:
    network, base, method = _as_in_training(recipe, size), recipe.memory.base, recipe.optimizer.method
    trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    frozen = sum(value.numel() for value in network.parameters() if not value.requires_grad)
    # Scales of quantised layers are no parameters of the model.
    frozen -= sum(module.scale.numel() for module in network.modules() if isinstance(module, QuantisedLinear))
    transformer = getattr(network, "transformer", None)
    block = network if transformer is None else transformer.blocks[-1]
    return Sizes(
        trained=sum(value.numel() for _, value in trained),
        frozen=frozen,
        weights=_bytes(network, base),
        gradients=sum(value.nbytes for _, value in trained),
        optimizer=state_bytes(method, trained),
        step=step_bytes(method, trained),
        block=_bytes(block, base),
        block_frozen=_bytes(block, base, frozen_alone=True),
        block_trained=sum(value.nbytes for value in block.parameters() if value.requires_grad),
    )


def _bytes(module: nn.Module, base: str, *, frozen_alone: bool = False) -> int:
    total = 0
    for part in module.modules():
        own = dict(part.named_parameters(recurse=False))
        if isinstance(part, QuantisedLinear):
            total += stored_bytes((part.out_features, part.in_features), base)
            own = {name: value for name, value in own.items() if name == "bias"}
        total += sum(value.nbytes for value in own.values() if not (frozen_alone and value.requires_grad))
    return total


def _measure(recipe: Recipe, size: WanSize | None) -> Footprint:
    method = method_of(recipe)
    network = _as_in_training(recipe, size)
    return footprint(network, _losses_of(method, size), half=recipe.run.precision == "bf16")


def _losses_of(method: Method, size: WanSize | None) -> Callable[[nn.Module], Tensor]:
    recipe = method.recipe
    count = max(1, recipe.run.batch // recipe.run.accumulate)
    clip = blank_clip(recipe, size)

    def losses(network: nn.Module) -> Tensor:
        clips = method.batch([clip] * count, "cpu")
        noise = torch.empty_like(clips.ego)
        return method.losses(network, clips, Draws(noise, torch.empty(count), torch.empty(count)))

    return losses
