"""What the trainer costs beside plain peft training of the same model, and how much of a step reading clips takes.

Both train the same LoRA on the same base model and clips, GGA off, in turns: one step of the trainer, one of a loop on
diffusers and peft alone, whose inputs lie ready in memory.

python tools/run.py training                    on the CPU, or on a GPU where there is one
python tools/run.py training --size 13x28x49x28 --width 5120 --ffn 13824 --blocks 40 --rank 256   EgoX's own size
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timing
import torch

from exo2ego.attention.layout import TokenLayout
from exo2ego.common.wan_grid import LATENT_CHANNELS, PATCH
from exo2ego.measure import paired, problem
from exo2ego.networks.weights.safetensors_file import write_safetensors
from exo2ego.networks.weights.wan_names import from_diffusers
from exo2ego.training.data.cache import ClipCache, write_shard
from exo2ego.training.data.clips import ClipBatch, TrainingClip
from exo2ego.training.network.transformer import WanSize, load_transformer, new_transformer
from exo2ego.training.recipe import Recipe
from exo2ego.training.session import open_trainer
from exo2ego.training.toml_file import recipe_of
from exo2ego.wan.egox.model_input import ego_columns, exo_columns

CLIPS = 4
EGOX_SIZE = "13x28x49x28"
# Of the trainer's step beside the plain one, and of reading clips in the trainer's step.
MOST_RATIO, MOST_SHARE = 1.1, 0.02


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        case: what was measured.
        seconds: median wall clock.
        ratio: median of the pairs' ratios to the case that ran just before, wall clock; None where there is none.
        cpu_ratio: likewise, CPU time.
        aim: what the ratio should not exceed.
    """

    case: str
    seconds: float
    ratio: float | None = None
    cpu_ratio: float | None = None
    aim: float | None = None


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--size", default="5x8x14x8", help="FRAMESxROWSxEXOxEGO in tokens; EgoX: 13x28x49x28")
    add("--width", type=int, default=512)
    add("--ffn", type=int, default=1024)
    add("--blocks", type=int, default=2)
    add("--rank", type=int, default=64)
    add("--batch", type=int, default=1)
    add("--repeats", type=int, default=7, help="pairs of steps")
    add("--json", type=Path, help="also write the rows to this file")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    layout = TokenLayout(*map(int, options.size.split("x")))
    neighbours = timing.Neighbours()
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(options, layout, Path(folder))
    title = timing.machine(torch.device(options.device))
    print(title)
    size = f"{options.blocks} blocks of width {options.width}, LoRA of rank {options.rank}"
    print(f"{size}, batch {options.batch}, {layout.n_tokens:,} tokens ({problem.described(layout)})")
    for row in rows:
        told = (
            "" if row.ratio is None else f"  {row.ratio:8.4f} x wall  {row.cpu_ratio:8.4f} x CPU  (at most {row.aim})"
        )
        print(f"{row.case:40s}  {1e3 * row.seconds:10.2f} ms{told}")
    neighbours.warn()
    if options.json:
        options.json.write_text(json.dumps({"machine": title, "rows": [asdict(row) for row in rows]}, indent=1))


def rows_of(options: argparse.Namespace, layout: TokenLayout, folder: Path) -> list[Row]:
    """Measure every case."""
    device = torch.device(options.device)
    recipe = _recipe(options, folder)
    size = WanSize(options.width, options.ffn, options.blocks)
    base = {from_diffusers(name): value for name, value in new_transformer(size, seed=0).state_dict().items()}
    write_safetensors(recipe.model.base, base, {})
    write_shard(recipe.data.cache, {f"clip_{number}": (_clip(layout, number), {}) for number in range(CLIPS)})
    trainer = open_trainer(recipe, folder, on_cpu=device.type == "cpu")
    cache = ClipCache(recipe.data.cache)
    plain = plain_step(recipe, [cache.read(f"clip_{number}") for number in range(options.batch)], device)

    def timed(run: Callable[[], Any]) -> Callable[[], tuple[Any, paired.Lap]]:
        return lambda: paired.timed(run, device)

    def read() -> ClipBatch:
        return ClipBatch.of([cache.read(f"clip_{number}") for number in range(options.batch)], device)

    for run in (plain, trainer._train_step, read):
        run()
    steps = paired.measure(timed(plain), {"trainer": timed(trainer._train_step)}, options.repeats)["trainer"]
    reads = paired.measure(timed(trainer._train_step), {"read": timed(read)}, options.repeats)["read"]
    full = TokenLayout(*map(int, EGOX_SIZE.split("x")))
    write_shard(folder / "full", {"clip_0": (_clip(full, 0), {})})
    whole = ClipCache(folder / "full")
    reads_full = [paired.timed(lambda: ClipBatch.of([whole.read("clip_0")], device), device)[1] for _ in range(5)]
    return [
        Row("plain peft step", paired.median(steps.baseline)),
        Row("trainer's step / plain", steps.seconds, steps.ratio, steps.cpu_ratio, MOST_RATIO),
        Row("reading its clips / trainer's step", reads.seconds, reads.ratio, reads.cpu_ratio, MOST_SHARE),
        Row("reading a clip of EgoX's size", paired.median(reads_full[1:])),
    ]


def plain_step(recipe: Recipe, clips: list[TrainingClip], device: torch.device) -> Callable[[], float]:
    """Return a step of training without this pack's trainer: diffusers' model, peft's LoRA, torch's optimizer."""
    half = recipe.run.precision == "bf16"
    network = load_transformer(recipe.model.base, torch.bfloat16 if half else torch.float32)
    network.requires_grad_(requires_grad=False)
    network.add_adapter(recipe.lora.peft_config())
    network.to(device).train()
    if recipe.run.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    settings = recipe.optimizer
    optimizer = torch.optim.AdamW(
        trained, lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
    )
    batch = ClipBatch.of(clips, device)
    exo = exo_columns(batch.exo, masks_last_frame=False)

    def step() -> float:
        noise = torch.randn_like(batch.ego)
        level = torch.rand(len(batch), device=device)
        share = level.view(-1, 1, 1, 1, 1)
        noisy = (1 - share) * batch.ego + share * noise
        joined = torch.cat([exo, ego_columns(noisy, batch.prior)], dim=-1)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            (velocity,) = network(joined, 1000 * level, batch.text, batch.features, return_dict=False)
        error = velocity[..., exo.shape[-1] :].float() - (noise - batch.ego)
        loss = error.square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.clip)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return step


def _recipe(options: argparse.Namespace, folder: Path) -> Recipe:
    on_cpu = options.device == "cpu"
    content = {
        "run": {
            "out": "run",
            "batch": options.batch,
            "precision": "fp32" if on_cpu else "bf16",
            "gradient_checkpointing": not on_cpu,
        },
        "model": {"base": "base.safetensors"},
        "lora": {"rank": options.rank, "alpha": float(options.rank)},
        "egox": {"gga": "off"},
    }
    return recipe_of(content, folder / "recipe.toml")


def _clip(layout: TokenLayout, seed: int) -> TrainingClip:
    """Return a random clip with text and CLIP features of the real widths."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    frames, height = layout.frames, layout.rows * PATCH
    exo, ego = layout.exo_columns * PATCH, layout.ego_columns * PATCH
    return TrainingClip(
        exo=normal(LATENT_CHANNELS, frames, height, exo),
        ego=normal(LATENT_CHANNELS, frames, height, ego),
        prior=normal(LATENT_CHANNELS, frames, height, ego),
        text=normal(512, 4096),
        features=normal(257, 1280),
        ego_queries=torch.nn.functional.normalize(normal(frames, layout.rows, layout.ego_columns, 3), dim=-1),
        exo_keys=torch.nn.functional.normalize(normal(frames, frames, layout.rows, layout.exo_columns, 3), dim=-1),
    )


if __name__ == "__main__":
    main()
