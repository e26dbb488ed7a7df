"""Folders of weights in Hugging Face's layout: whose they are, what lies in them. Free of torch: the doctor reads it.

Every folder of a kind lies below ComfyUI's models folder, `models/people/vitpose-base-simple` for example; its
`config.json` tells which network it holds. Nothing is downloaded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..common.paths import entries, is_file, size_of

CONFIG_FILE, WEIGHTS_FILE, PROCESSOR_FILE = "config.json", "model.safetensors", "preprocessor_config.json"
_INDEX_FILE = "model.safetensors.index.json"  # names the shards of weights that are in several files
_LARGEST_CONFIG = 2**23  # bytes; an index of shards is the largest that is read


@dataclass(frozen=True)
class Pretrained:
    """A network that transformers knows, and where its weights come from.

    Attributes:
        name: what an artist calls it.
        kind: the folder below ComfyUI's models folder.
        default: the folder of its weights in there, as templates name it.
        repository: on Hugging Face.
        gigabytes: of the weights, in 10^9 bytes.
        model_types: what `config.json` calls the networks that do; empty for any.
        files: what the folder has to hold; weights may be in shards with an index.
        since: the version of transformers that has it.
    """

    name: str
    kind: str
    default: str
    repository: str
    gigabytes: float
    model_types: tuple[str, ...]
    files: tuple[str, ...]
    since: str


PEOPLE = "people"
VLM = "vlm"

DEPTH_PRO = Pretrained(
    "DepthPro",
    "depth_pro",
    "DepthPro-hf",
    "apple/DepthPro-hf",
    1.9,
    ("depth_pro",),
    (CONFIG_FILE, PROCESSOR_FILE, WEIGHTS_FILE),
    "4.50",
)
DETECTOR = Pretrained(
    "RT-DETR",
    PEOPLE,
    "rtdetr_r50vd_coco_o365",
    "PekingU/rtdetr_r50vd_coco_o365",
    0.17,
    ("rt_detr", "rt_detr_v2"),
    (CONFIG_FILE, PROCESSOR_FILE, WEIGHTS_FILE),
    "4.42",
)
POSE = Pretrained(
    "ViTPose",
    PEOPLE,
    "vitpose-base-simple",
    "usyd-community/vitpose-base-simple",
    0.34,
    ("vitpose",),
    (CONFIG_FILE, PROCESSOR_FILE, WEIGHTS_FILE),
    "4.48",
)
MASKS = Pretrained(
    "SAM 2 video",
    PEOPLE,
    "sam2.1-hiera-tiny",
    "facebook/sam2.1-hiera-tiny",
    0.16,
    ("sam2_video",),
    (CONFIG_FILE, "processor_config.json", PROCESSOR_FILE, "video_preprocessor_config.json", WEIGHTS_FILE),
    "4.56",
)
CAPTION = Pretrained(
    "The vision-language model",
    VLM,
    "Qwen3-VL-2B-Instruct",
    "Qwen/Qwen3-VL-2B-Instruct",
    4.3,
    (),
    (CONFIG_FILE, PROCESSOR_FILE, "tokenizer.json", "tokenizer_config.json", WEIGHTS_FILE),
    "4.57",
)
ALL = (DEPTH_PRO, DETECTOR, POSE, MASKS, CAPTION)


def missing_files(folder: Path, source: Pretrained) -> list[str]:
    """Return the names of the files that a folder lacks."""
    missing = [name for name in source.files if name != WEIGHTS_FILE and not is_file(folder / name)]
    return missing + [path.name for path in weights_files(folder) if not is_file(path)]


def weights_files(folder: Path) -> list[Path]:
    """Return the files of a folder's weights, whether they are there or not: one, or the shards that an index names."""
    if is_file(folder / WEIGHTS_FILE) or not is_file(folder / _INDEX_FILE):
        return [folder / WEIGHTS_FILE]
    shards = _read(folder / _INDEX_FILE).get("weight_map")
    names = {str(name) for name in shards.values()} if isinstance(shards, dict) else set()
    return [folder / name for name in sorted(names) if Path(name).name == name] or [folder / WEIGHTS_FILE]


def folders_of(source: Pretrained, roots: list[Path]) -> list[str]:
    """Return the names of the folders below `roots` that hold such a network, by their `config.json`."""
    found = set()
    for root in roots:
        for folder in entries(root):
            if is_file(folder / CONFIG_FILE) and fits(source, folder):
                found.add(folder.name)
    return sorted(found)


def fits(source: Pretrained, folder: Path) -> bool:
    """Whether a folder's `config.json` is of such a network."""
    return not source.model_types or _read(folder / CONFIG_FILE).get("model_type") in source.model_types


def _read(path: Path) -> dict[str, object]:
    """Return the contents of a JSON file; nothing where it cannot be read, which loading tells in its own words."""
    try:
        if size_of(path) > _LARGEST_CONFIG:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
