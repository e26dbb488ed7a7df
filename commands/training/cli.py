"""The command: training screen, check, cache, train, sample or export.

Exit codes: 0 done, or stopped when asked; 1 refused or failed; 2 the command is wrong, or libraries are missing.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...common.safe_text import say
from ..program import program

if TYPE_CHECKING:
    from ...training.recipe import Recipe

DONE, FAILED, UNUSABLE = 0, 1, 2

_DESCRIPTION = (
    "Trains EgoX's LoRA, a small Wan from nothing, or Exo2EgoSyn's stages, by one TOML file with every setting: see "
    "docs/training.md."
)
_WHAT = {
    "screen": "look for takes that are not fit to train on: a report in images, and a list for [data] screened",
    "check": "check the recipe against base model, clips and run; nothing is changed",
    "cache": "encode the recipe's takes; what is there and fresh stays",
    "train": "train, or go on from the newest checkpoint; Ctrl-C, SIGTERM or a file `stop` in the run's folder end it "
    "with a checkpoint",
    "sample": "sample the clips held out with a checkpoint",
    "export": "write a checkpoint's LoRA, whole model or components, for ComfyUI",
}
# What the extra `train` brings, by the names under which it is imported.
_LIBRARIES = ("accelerate", "diffusers", "einops", "kornia", "numpy", "peft", "safetensors", "tomli", "torch", "av")
_LIBRARIES += ("transformers",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return _COMMANDS[options.command](options)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _LIBRARIES:
            raise
        print(
            f"error: training needs {error.name}, which {sys.executable} does not have: "
            "pip install 'comfyui-exo2ego[train]'",
            file=sys.stderr,
        )
        return UNUSABLE
    except (ValueError, OSError) as error:
        say(f"error: {error}", sys.stderr)
        return FAILED


def _check(options: argparse.Namespace) -> int:
    from ...training.overview import memory, overview

    recipe = _recipe(options)
    lines = memory(recipe, options.cards) if options.memory else overview(recipe, options.recipe.parent)
    for line in lines:
        print(line)
    return DONE


def _cache(options: argparse.Namespace) -> int:
    from ...training.data.caching import make_cache
    from ...training.data.encoders import encoders_of

    recipe = _recipe(options)
    part = options.part or _part_of_launch()
    make_cache(recipe, options.recipe.parent, lambda: encoders_of(recipe, _device(options)), _show, part)
    return DONE


def _screen(options: argparse.Namespace) -> int:
    from ...training.screening.screen import screen

    recipe = _recipe(options)
    verdicts, page = screen(recipe, options.recipe.parent, options.out, _show)
    rejected = sum(not verdict.is_kept for verdict in verdicts)
    _show(f"{len(verdicts) - rejected} of {len(verdicts)} takes are kept, {rejected} rejected: {page}")
    return DONE


def _train(options: argparse.Namespace) -> int:
    from ...training.overview import memory_at_start
    from ...training.session import open_trainer, train
    from ...training.trainer import TrainingFailedError

    recipe = _recipe(options)
    index, cards = _part_of_launch()
    if index == 1:
        for line in memory_at_start(recipe, cards, _free(_device(options))):
            print(line, flush=True)
    trainer = open_trainer(recipe, options.recipe.parent, on_cpu=options.cpu)

    def stop(number: int, frame: object) -> None:
        trainer.stop_asked = True
        print("stopping after this step; once more to stop at once", flush=True)
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        print(train(trainer, lambda line: print(line, flush=True)))
    except TrainingFailedError as error:
        say(f"error: {error}", sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the newest checkpoint", file=sys.stderr)
        return FAILED
    if cards > 1:
        _leave_at_once()
    return DONE


def _sample(options: argparse.Namespace) -> int:
    from ...training.data.sources import clips_of
    from ...training.session import build_network, put_best, write_samples
    from ...training.views import SampleFiles

    recipe = _recipe(options)
    cache = clips_of(recipe, options.recipe.parent)
    if not cache.held_out:
        raise ValueError("Samples are of the clips held out: name some under [data] held_out, or set [data] split.")
    checkpoint = _checkpoint(options, recipe)
    network = build_network(recipe)
    put_best(network, checkpoint)
    folder = options.out or recipe.run.out / "samples" / checkpoint.path.stem
    device = _device(options)
    for file in write_samples(recipe, network.to(device), cache, folder, SampleFiles(recipe, device))[0]:
        print(file)
    return DONE


def _export(options: argparse.Namespace) -> int:
    from ...training.methods import method_of
    from ...training.session import export

    recipe = _recipe(options)
    if options.out.suffix != ".safetensors" or not options.out.parent.is_dir():
        raise ValueError(f"--out is NAME.safetensors in a folder that is there, got {options.out}.")
    for file in method_of(recipe).files(options.out):
        index = file.with_name(f"{file.name}.index.json")  # of a component in shards
        if not options.force and (there := next((path for path in (file, index) if path.exists()), None)):
            raise ValueError(f"{there} is there already. --force overwrites it.")
    print(export(recipe, _checkpoint(options, recipe), options.out, options.format))
    return DONE


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "screen": _screen,
    "check": _check,
    "cache": _cache,
    "train": _train,
    "sample": _sample,
    "export": _export,
}


def _recipe(options: argparse.Namespace) -> Recipe:
    from ...training.toml_file import read_recipe

    return read_recipe(options.recipe)


def _checkpoint(options: argparse.Namespace, recipe: Recipe) -> Any:
    from ...training.session import checkpoint_of
    from ...training.state import read_checkpoint

    return checkpoint_of(recipe) if options.checkpoint is None else read_checkpoint(options.checkpoint)


def _show(line: str) -> None:
    say(line)
    sys.stdout.flush()  # a log file shows how far it is


def _device(options: argparse.Namespace) -> Any:
    import torch

    if options.cpu or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _free(device: Any) -> int | None:
    """Return the bytes that are free on a GPU; None for the CPU."""
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _part_of_launch() -> tuple[int, int]:
    """Return which part of the takes this process has among those of `accelerate launch`; else all."""
    return int(os.environ.get("RANK", "0")) + 1, int(os.environ.get("WORLD_SIZE", "1"))


def _leave_at_once() -> None:
    """End one of several processes, all of whose work is done, without what Python does at its end.

    Threads of gloo and autograd live on in it. One that lets go of a tensor while Python ends aborts the process, and
    `accelerate launch` takes the run for a failed one (pytorch pull request 179291).
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(DONE)


def _part(text: str) -> tuple[int, int]:
    index, _, parts = text.partition("/")
    if not (index.isdigit() and parts.isdigit() and 1 <= int(index) <= int(parts)):
        raise argparse.ArgumentTypeError(f"a part is I/N, from 1/N to N/N, got {text}")
    return int(index), int(parts)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of cards is 1 or more, got {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{program()} training", description=_DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, what in _WHAT.items():
        sub = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        sub.add_argument("recipe", type=Path, help="the TOML file; relative paths in it are taken from its folder")
        if name in ("cache", "train", "sample"):
            sub.add_argument("--cpu", action="store_true", help="leave a GPU alone")
        if name == "check":
            sub.add_argument("--memory", action="store_true", help="what training takes, and which cards hold it")
            sub.add_argument("--cards", type=_count, default=1, metavar="N", help="several processes, for --memory")
        if name == "cache":
            sub.add_argument("--part", type=_part, metavar="I/N", help="the I-th of N runs at once")
        if name in ("sample", "export"):
            sub.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: the run's newest")
        if name == "screen":
            sub.add_argument(
                "--out", type=Path, metavar="DIR", help="default: where [data] screened lies, or screening/"
            )
        if name == "sample":
            sub.add_argument("--out", type=Path, metavar="FOLDER", help="default: samples/ in the run's folder")
        if name == "export":
            sub.add_argument("--out", type=Path, required=True, metavar="FILE", help="NAME.safetensors")
            sub.add_argument("--force", action="store_true", help="overwrite what is there under that name")
            sub.add_argument(
                "--format",
                choices=("comfyui", "diffusers"),
                default="comfyui",
                help="names of a LoRA's tensors: ComfyUI's (default), which its loaders and other packs read, or "
                "those of diffusers' load_lora_weights",
            )
    return parser
