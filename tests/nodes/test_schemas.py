"""What the editor learns of the nodes."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from support.graphs import TEMPLATES

ROOT = Path(__file__).resolve().parents[2]

# Public ids: once shipped they keep their names.
NODE_IDS = [
    "Exo2EgoAlignDepth",
    "Exo2EgoAlignPredict",
    "Exo2EgoAttentionMap",
    "Exo2EgoCamera",
    "Exo2EgoCameraEditor",
    "Exo2EgoCameraExport",
    "Exo2EgoCameraFile",
    "Exo2EgoCaption",
    "Exo2EgoCompare",
    "Exo2EgoDepth",
    "Exo2EgoDepthPro",
    "Exo2EgoEgoXApply",
    "Exo2EgoEgoXConditioning",
    "Exo2EgoEgoXLoader",
    "Exo2EgoEncodePrompt",
    "Exo2EgoFindPeople",
    "Exo2EgoGGA",
    "Exo2EgoHeadPose",
    "Exo2EgoLoadClip",
    "Exo2EgoLoadEgoExo4D",
    "Exo2EgoLoadKeypoints",
    "Exo2EgoLoadTake",
    "Exo2EgoLongClip",
    "Exo2EgoMultiExoTokens",
    "Exo2EgoPlucker",
    "Exo2EgoPocket",
    "Exo2EgoPointCloud",
    "Exo2EgoPreviewPrior",
    "Exo2EgoPrompt",
    "Exo2EgoRenderPrior",
    "Exo2EgoReuse",
    "Exo2EgoScore",
    "Exo2EgoSynApply",
    "Exo2EgoSynConditioning",
    "Exo2EgoSynLoader",
]


@pytest.fixture
def nodes(comfy_client):
    return {name: info for name, info in comfy_client.get("/object_info").items() if name.startswith("Exo2Ego")}


def test_the_public_ids(nodes):
    assert sorted(nodes) == NODE_IDS


@pytest.mark.parametrize("node_id", NODE_IDS)
def test_every_node_explains_itself(nodes, node_id):
    info = nodes[node_id]
    assert info["category"].startswith("Exo2Ego/")
    assert len(info["description"]) > 40
    for section in ("required", "optional"):
        for name, (_, *options) in info["input"].get(section, {}).items():
            assert options, f"{name} has no tooltip"
            assert len(options[0].get("tooltip", "")) > 10, f"{name} has no tooltip"
    help_page = ROOT / "web" / "docs" / f"{node_id}.md"
    assert help_page.read_text().startswith(f"# {info['display_name']}\n")


def test_help_pages_are_served(comfy_client):
    with urllib.request.urlopen(f"{comfy_client.url}/extensions/ComfyUI-Exo2Ego/docs/Exo2EgoGGA.md") as answer:
        assert answer.read().startswith(b"# Geometry-Guided Attention")


def test_templates_are_offered(comfy_client):
    offered = set(comfy_client.get("/workflow_templates")["ComfyUI-Exo2Ego"])
    assert offered == {path.stem for path in TEMPLATES.values()}
