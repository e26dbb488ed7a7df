"""docs/exo2egosyn-format.md says what the code reads: every key of a header, every tensor, every default."""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields
from pathlib import Path

import pytest

from exo2ego.networks.components.metadata import BASE_MODEL, FORMAT, FORMAT_VERSION, METADATA_OF, Component
from exo2ego.networks.components.shapes import component_shapes
from exo2ego.networks.exo2egosyn.ego_exo_align import AlignConfig
from exo2ego.networks.exo2egosyn.exo_tokens import ExoTokenConfig
from exo2ego.networks.exo2egosyn.pose_injection import PoseConfig
from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig
from exo2ego.networks.exo2egosyn.vawan import VawanConfig

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "exo2egosyn-format.md").read_text()
SMALL = LoraConfig(dim=8, blocks=2, rank=2)
CONFIGS = {
    Component.ALIGN: [AlignConfig(dim=8, heads=1, dim_head=8, num_blocks=2)],
    Component.MULTIEXOCON: [ExoTokenConfig(8, 2, exo_pos, 2) for exo_pos in ("none", "learned")],
    Component.POSEINJ: [PoseConfig(8, 4, fuse=fuse) for fuse in ("concat", "additive")],
    Component.LORA: [SMALL],
    Component.VAWAN: [VawanConfig(2, SMALL, pose, 128) for pose in ("none", "ac3d", "time_pose")],
}
# Sections that list the tensors of a component.
SECTIONS = {component: [f"### {component.value}"] for component in Component}
SECTIONS[Component.VAWAN] += ["## VAWAN's poses", "### lora"]


def section(heading: str) -> str:
    """The text under a heading, up to the next one of any level."""
    (text,) = re.findall(rf"(?ms)^{re.escape(heading)}\n(.*?)(?=^#)", TEXT)
    return text


def spelled_out(pattern: str) -> list[str]:
    """`a.{b,c}.{i}` as the regular expressions `a\\.b\\.\\d+` and `a\\.c\\.\\d+`."""
    if (choice := re.search(r"\{([^{}]*)\}", pattern)) is None:
        return [re.escape(pattern).replace("INDEX", r"\d+")]
    words = ["INDEX"] if choice[1] == "i" else choice[1].split(",")
    return [name for word in words for name in spelled_out(pattern[: choice.start()] + word + pattern[choice.end() :])]


def documented(component: Component) -> set[str]:
    """Names of the tensors in the document, as regular expressions."""
    lines = [
        line
        for heading in SECTIONS[component]
        for block in re.findall(r"(?s)```\n(.*?)```", section(heading))
        for line in block.splitlines()
    ]
    return {name for line in lines for name in spelled_out(line.split()[0])}


def rows() -> dict[str, list[list[str]]]:
    """Rows of the tables of metadata: cells after the key, by key."""
    found: dict[str, list[list[str]]] = {}
    for line in section("## Metadata").splitlines() + section("### Of single components").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        # In the second table the component comes before the key.
        place = next((index for index, cell in enumerate(cells[:2]) if re.search(r"`[a-z_]+`", cell)), None)
        if not line.startswith("|") or place is None:
            continue
        names = [component.value for component in Component]
        if all(name in names for name in re.findall(r"`(\w+)`", cells[place])):
            place += 1
        for key in re.findall(r"`(\w+)`", cells[place]):
            found.setdefault(key, []).append(cells[place + 1 :])
    return found


ROWS = rows()
FIELDS = [(kind, item) for kind in METADATA_OF.values() for item in fields(kind) if item.name != "other"]


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("kind", "item"), FIELDS, ids=lambda part: getattr(part, "name", None) or part.__name__)
def test_every_key_of_a_header_is_described(kind, item: Field):
    assert item.name in ROWS, f"{item.name} of {kind.component.value} stands in no table"
    if item.name.startswith("pose_") and item.name in ("pose_width", "pose_shared"):
        assert f"`{item.name}`" in section("## VAWAN's poses")
        return
    said = " ".join(" ".join(cells) for cells in ROWS[item.name])
    values = " ".join(cells[0] for cells in ROWS[item.name])
    choices = [written(value) for value in item.metadata.get("reads", ()) if value is not None]
    for choice in choices:
        where = values if item.name != "pose" else section("## VAWAN's poses")
        assert f"`{choice}`" in where, f"{item.name}={choice} is not described"
    if item.default is not MISSING and item.default not in (None, "", MISSING):
        assert f"`{written(item.default)}`" in said or "the same" in said


def test_only_keys_that_exist_are_described():
    known = {item.name for _, item in FIELDS} | {"format", "format_version", "component", "base_model"}
    assert set(ROWS) == known
    for key, value in (("format", FORMAT), ("format_version", FORMAT_VERSION), ("base_model", BASE_MODEL)):
        assert ROWS[key][0][0] == f"`{value}`"


@pytest.mark.parametrize("component", list(Component), ids=lambda component: component.value)
def test_every_tensor_is_described_and_no_other(component):
    keys = {key for config in CONFIGS[component] for key in component_shapes(config)}
    patterns = documented(component)
    assert not {key for key in keys if not any(re.fullmatch(pattern, key) for pattern in patterns)}
    assert not {pattern for pattern in patterns if not any(re.fullmatch(pattern, key) for key in keys)}


def test_the_numbers_of_parameters():
    sizes = {
        Component.ALIGN: AlignConfig(),
        Component.MULTIEXOCON: ExoTokenConfig(),
        Component.POSEINJ: PoseConfig(),
        Component.VAWAN: VawanConfig(),
    }
    for component, config in sizes.items():
        numbers = sum(_count(shape) for key, shape in component_shapes(config).items() if not key.endswith(".alpha"))
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{component.value}` |"))
        assert f"{numbers:,}" in row


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


OF_A_PAPER = re.compile(r"(?i)paper(?:'s)?,? sections? [\d.]+")
CITED = re.compile(r"(?i)\bspecification,|\(section \d|, section \d+\)|\.\./shared|\bfacts/")


@pytest.mark.parametrize("folder", ["networks", "wan", "nodes", "geometry", "attention", "commands", "web"])
def test_comments_cite_no_text_outside_the_project(folder):
    """Papers are public; a text that is not in the repository is not."""
    for path in (ROOT / folder).rglob("*"):
        if path.suffix in (".py", ".md", ".js"):
            lines = path.read_text(encoding="utf-8").splitlines()
            assert [line for line in lines if CITED.search(OF_A_PAPER.sub("", line))] == [], path.name
    assert CITED.search("exo latents (specification, section 10).")
