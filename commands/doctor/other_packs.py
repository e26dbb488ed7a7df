"""Which installed packs bypass GGA or feed another kind of model? And which that help are missing?

GGA reaches Wan's self-attention through ComfyUI's attention override and block patches (wan/egox/gga_hooks.py). A node
that puts a `forward` of its own in the place of the self-attention's, or runs the blocks itself, may leave both out.
Being installed is not being used: only the graph decides, so nothing here is an error, and the log of a run tells for
sure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...common.messages import few
from ...common.paths import entries, is_file, is_folder, real_path, size_of
from ..comfyui.state import Server
from .findings import Finding, Severity
from .installation import CUSTOM_NODES, Installation

_CHECK = "other packs"
_LOG = "'GGA reached the self-attention of only ...' or 'GGA had no effect'"
_WITHOUT = "no such node between the base model and the sampler of an EgoX graph"


@dataclass(frozen=True)
class Pack:
    """A pack that is known to get in the way.

    Attributes:
        folder: its folder's usual name, in lower case.
        does: what it does.
        remedy: what to do.
    """

    folder: str
    does: str
    remedy: str


# Read in the packs' own repositories; their newer versions may differ.
KNOWN = (
    # kijai/ComfyUI-WanVideoWrapper, nodes_model_loading.py: WanVideoModelLoader gives WANVIDEOMODEL, not MODEL.
    Pack(
        "comfyui-wanvideowrapper",
        "loads and samples Wan by nodes of its own, whose model does not fit the MODEL sockets of this pack",
        "Load the base model with Load Diffusion Model or Unet Loader (GGUF), and sample with KSampler, as the "
        "templates do.",
    ),
    # kijai/ComfyUI-KJNodes, nodes/model_optimization_nodes.py: WanVideoEnhanceAVideoKJ patches
    # "diffusion_model.blocks.N.self_attn.forward". Patch Sage Attention KJ is fine: GGA passes exo queries on to it.
    Pack(
        "comfyui-kjnodes",
        "has the node WanVideo Enhance A Video (native), which replaces the self-attention of every block",
        "Leave that one node out of EgoX graphs; the pack's other nodes, Sage Attention among them, do no harm.",
    ),
    # woct0rdho/ComfyUI-RadialAttn, patches.py: a forward_orig of its own, in which the name optimized_attention of
    # comfy.ldm.wan.model is replaced by a sparse attention that asks no override.
    Pack(
        "comfyui-radialattn",
        "replaces Wan's attention by a sparse one that asks no attention override (PatchRadialAttn)",
        "Leave PatchRadialAttn out of EgoX graphs.",
    ),
    # ClownsharkBatwing/RES4LYF, wan/model.py: ReWanSelfAttention calls the attention without transformer_options.
    Pack(
        "res4lyf",
        "has the nodes ReWanPatcher and ReWanPatcherAdvanced, which replace Wan's blocks and their self-attention",
        "Leave these nodes out of EgoX graphs; the pack's samplers do no harm.",
    ),
    # welltop-cn/ComfyUI-TeaCache, nodes.py: teacache_wanmodel_forward_orig of the first versions calls every block
    # itself, without block patches and transformer_options.
    Pack(
        "comfyui-teacache",
        "runs Wan's blocks itself (TeaCache); in its first versions without anybody's block patches",
        "Take ComfyUI's own EasyCache in its place, which keeps the patches.",
    ),
    # komikndr/raylight, src/raylight/distributed_modules/usp.py: block.self_attn.forward is replaced on every worker.
    Pack(
        "raylight",
        "replaces Wan's self-attention to spread it over several cards",
        "Run one ComfyUI for each card in its place.",
    ),
)

# What a replaced self-attention of Wan looks like in a source file: an assignment, or a key of an object patch.
_REPLACES = re.compile(rb"self_attn\.forward(?:[\"']|\s*=(?!=))")
_OF_WAN = re.compile(rb"wan", re.IGNORECASE)
_SKIPPED = {"node_modules", "site-packages", "venv", "tests", "__pycache__"}
_LARGEST_SOURCE = 2_000_000

# Packs with depth, by words of their usual folder names.
_DEPTH = ("depth", "moge", "vggt", "unidepth")


def check_packs(installation: Installation | None, server: Server | None, *, needs_depth: bool) -> list[Finding]:
    """Look at the installed packs.

    Args:
        installation: whose folders custom_nodes are read.
        server: whose nodes tell the packs, where there is no folder to read.
        needs_depth: whether a workflow in use wants depth of some pack, as DepthPro is not there.
    """
    folders = [] if installation is None else pack_folders(installation)
    names = [folder.name for folder in folders] or ([] if server is None else server.packs())
    findings = [note for name in names for note in _known(name)]
    known = {pack.folder for pack in KNOWN}
    findings += [note for folder in folders if _plain(folder.name) not in known for note in _scanned(folder)]
    if needs_depth and not any(word in name.lower() for name in names for word in _DEPTH):
        findings.append(
            _note(
                "neither DepthPro's weights nor a pack for depth is here",
                "depth for clips of your own (workflow egox); takes bring theirs",
                "Put apple/DepthPro-hf into models/depth_pro, or install a depth pack with ComfyUI-Manager.",
            )
        )
    return findings


def pack_folders(installation: Installation) -> list[Path]:
    """Return the folders of the packs that ComfyUI loads, this one left out."""
    own = real_path(installation.pack)
    found = [
        folder
        for root in installation.folders[CUSTOM_NODES]
        for folder in entries(root)
        if is_folder(folder) and not folder.name.startswith((".", "__")) and not folder.name.endswith(".disabled")
    ]
    return [folder for folder in found if real_path(folder) != own]


def _known(name: str) -> list[Finding]:
    return [_note(f"{name} {pack.does}", _WITHOUT, pack.remedy) for pack in KNOWN if pack.folder == _plain(name)]


def _plain(name: str) -> str:
    """Return a folder's name as the table has it: clones by archive end in -main or -master."""
    return re.sub(r"-(?:main|master)$", "", name.lower()).replace("_", "-")


def _scanned(folder: Path) -> list[Finding]:
    files = [str(path.relative_to(folder)) for path in _sources(folder) if _replaces_self_attention(path)]
    if not files:
        return []
    return [
        _note(
            f"{folder.name} seems to replace the self-attention of transformer blocks ({few(sorted(files))})",
            f"{_WITHOUT}; this is a hint from the text of its files, and may concern other models",
            f"With its nodes in an EgoX graph, look for {_LOG} in ComfyUI's log; leave them out if that is there.",
        )
    ]


def _replaces_self_attention(path: Path) -> bool:
    if not is_file(path) or size_of(path) > _LARGEST_SOURCE:
        return False
    try:
        source = path.read_bytes()
    except OSError:
        return False  # not ours to read
    return _REPLACES.search(source) is not None and _OF_WAN.search(source) is not None


def _sources(folder: Path) -> Iterable[Path]:
    for root, folders, files in os.walk(folder):  # it leaves out what it may not read
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        paths = (Path(root, name) for name in files if name.endswith(".py"))
        yield from (path for path in paths if not path.is_symlink())


def _note(found: str, expected: str, remedy: str) -> Finding:
    return Finding(_CHECK, Severity.NOTE, found, expected, remedy)
