"""The command: convert lora, multiexocon or align.

Exit codes: 0 written, or with `--dry-run` could be; 1 refused, nothing written; 2 the command is wrong; 130 stopped.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from ...common.safe_text import say
from ...networks.components.files import files_of, read_component, stored_bytes, write_component
from ...networks.components.metadata import BASE_MODEL, FORMAT, FORMAT_VERSION, METADATA_OF, Component, parse_metadata
from ...networks.components.shapes import check_tensors
from ...networks.weights.finite import check_finite
from ...networks.weights.shards import shard_number
from ..program import program
from .align import align_part
from .checkpoint import read_checkpoint
from .lora import lora_part
from .multiexocon import multiexocon_part
from .part import Part
from .shown import Progress

OK, REFUSED, STOPPED = 0, 1, 130

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_DESCRIPTION = (
    "Converts what trainers write into the component files of Exo2EgoSyn. What the options do not say the header does "
    "not say either. See docs/exo2egosyn-format.md."
)
_WHAT = {
    Component.LORA: "a LoRA on the self-attention, in peft's, diffusers', kohya's, DiffSynth's or ComfyUI's names",
    Component.MULTIEXOCON: "a fine-tuned Wan 2.2 or its cross-attention alone, in ComfyUI's, Wan's or diffusers' names",
    Component.ALIGN: "EgoExo-Align in GenieRedux's names",
}
# Options that set what the header says, by the names of the format with dashes.
_HEADER = {
    "category": "activity it was trained on, such as bike",
    "stage": "stage of the training: 0 Align, 1 MultiExoCon, 2 PoseInj",
    "step": "steps of the training",
    "num_views": "exo views it was trained with",
    "image_size": "image size in training, WIDTHxHEIGHT (default: 256x256)",
    "num_frames": "frames of a clip, 4n+1 (default: 9)",
    "frame_stride": "source frames from one frame to the next (default: 4)",
    "pose_reference": "exo1 or per_view",
    "rays": "pinhole or raymap (default: pinhole)",
    "dtype": None,  # the option --dtype converts
    "license": "licence of the weights",
    "trained_by": "who trained it",
    "alpha": "the LoRA's alpha, where its file does not state it",
    "cond_dropout": "share of the training samples without exo views, 0 to 1; if not given, CFG 1 is advised",
    "cond_tail": "frames after the first in training: gray or pixel",
    "guidance": "CFG to sample with (default: 3.5)",
    "exo_pos": "none or learned (default: by the tensors)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (ValueError, OSError) as error:
        say(f"error: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        say("stopped; no file was changed.", file=sys.stderr)
        return STOPPED


def _run(options: argparse.Namespace) -> int:
    old = _check_target(options.out, options.force)
    part = _part(options)
    tensors = part.tensors
    check_tensors(part.metadata, tensors)
    check_finite(tensors, Progress("checking"))
    dtypes = _dtypes(tensors, options.dtype)
    size = sum(stored_bytes(key, tensor, dtypes) for key, tensor in tensors.items())
    for note in part.notes:
        say(f"- {note}")
    count = sum(tensor.numel() for tensor in tensors.values())
    say(f"{part.metadata.component.value}: {len(tensors)} tensors, {count:,} parameters, {size / 1e9:.3g} GB")
    if options.dry_run:
        say(f"Dry run: {options.out} was not written.")
        return OK
    free = shutil.disk_usage(options.out.parent).free
    if free < size:
        raise ValueError(f"{options.out.parent} has {free / 1e9:.3g} GB left, and {size / 1e9:.3g} GB are needed.")
    target = _write(options.out, part, dtypes, size)
    kept = {*files_of(target), target}
    for file in old:
        if file not in kept:
            file.unlink()
            say(f"Removed {file.name}, a shard of what was there before.")
    read_component(target, part.metadata.component)
    say(f"Written: {', '.join(file.name for file in sorted(kept))}")
    return OK


def _part(options: argparse.Namespace) -> Part:
    """Return the converted component; nothing is written yet."""
    component = Component(options.component)
    given = {name: getattr(options, name) for name in _header_options(component)}
    metadata = parse_metadata(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "component": component.value,
            "base_model": BASE_MODEL,
            **{name: value for name, value in given.items() if value is not None},
        }
    )
    source = read_checkpoint(options.source)
    if component is Component.LORA:
        return lora_part(metadata, source)
    if component is Component.ALIGN:
        return align_part(metadata, source)
    base = None if options.base is None else read_checkpoint(options.base)
    embedding = None if options.exo_patch_embed is None else read_checkpoint(options.exo_patch_embed)
    return multiexocon_part(metadata, source, base, embedding, options.exo_name, Progress("comparing"))


def _check_target(out: Path, force: bool) -> list[Path]:
    """Return the shards that lie under the name already, before anything long is done.

    Raises:
        ValueError: for a name that no component has, a folder that is not there, and files that would be overwritten.
    """
    if out.suffix != ".safetensors" or shard_number(out.name) is not None:
        raise ValueError(f"--out is NAME.safetensors, not a shard's name; got {out.name}.")
    if not out.parent.is_dir():
        raise ValueError(f"There is no folder {out.parent}. Make it, or choose another --out.")
    shards = [
        file for file in sorted(out.parent.glob("*.safetensors"))
        if shard_number(file.name) is not None and file.name.rsplit("-", 3)[0] == out.stem
    ]  # fmt: skip
    there = [file for file in (out, out.with_name(out.name + ".index.json"), *shards) if file.exists()]
    if there and not force:
        raise ValueError(f"{there[0].name} is there already in {out.parent}. --force overwrites it.")
    return shards


def _dtypes(tensors: Mapping[str, Tensor], chosen: str | None) -> dict[str, torch.dtype]:
    """Return the types of the blocks' weights; patch embeddings and alphas stay as they are, mostly float32."""
    if chosen is None:
        return {}
    return {name: _DTYPES[chosen] for name in tensors if "blocks." in name and not name.endswith(".alpha")}


def _write(out: Path, part: Part, dtypes: Mapping[str, torch.dtype], size: int) -> Path:
    bytes_of = Counter[str]()
    for name, tensor in part.tensors.items():
        bytes_of[str(dtypes.get(name, tensor.dtype)).removeprefix("torch.")] += stored_bytes(name, tensor, dtypes)
    metadata = replace(part.metadata, dtype=bytes_of.most_common(1)[0][0])
    progress, done = Progress("writing"), 0

    def written(count: int) -> None:
        nonlocal done
        done += count
        progress(done, size)

    return write_component(out, metadata, part.tensors, dtypes=dtypes, progress=written)


def _header_options(component: Component) -> list[str]:
    names = {item.name for item in fields(METADATA_OF[component])}
    return [name for name, text in _HEADER.items() if name in names and text is not None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{program()} convert", description=_DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMPONENT", dest="component")
    for component, what in _WHAT.items():
        sub = commands.add_parser(component.value, help=f"from {what}", description=f"From {what}.")
        add = sub.add_argument
        add("source", type=Path, help="a .safetensors file, a shard or index of one in shards, or its folder")
        add("--out", type=Path, required=True, metavar="FILE", help="NAME.safetensors; above 4 GB shards beside it")
        add("--force", action="store_true", help="overwrite what is there under that name")
        add("--dry-run", action="store_true", help="check everything, write nothing")
        add("--dtype", choices=_DTYPES, help="type of the blocks' weights in the file (default: as they are)")
        if component is Component.MULTIEXOCON:
            add("--base", type=Path, metavar="FILE", help="the model it was trained from, to compare everything else")
            add("--exo-patch-embed", type=Path, metavar="FILE", help="the exo patch embedding, if not in the same file")
            add("--exo-name", default="exo_patch_embed", metavar="NAME", help="its name there (default: %(default)s)")
        header = sub.add_argument_group("what the header states")
        for name in _header_options(component):
            header.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=_HEADER[name])
    return parser
