"""What the batch's tests run: a cheap graph of the pack's nodes and the tiny Wan, clips for it, and the command."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 32


def _node(class_type: str, title: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def tiny_graph() -> dict[str, Any]:
    """A take's ego prior, and beside it a clip's frames sampled with the tiny Wan: some tenths of a second."""
    return {
        "1": _node("Exo2EgoLoadTake", "Take", take="example room", ego_lens="EgoX release (Aria RGB)", max_frames=1),
        "2": _node(
            "Exo2EgoCameraFile", "Ego camera", file="example room", role="ego", lens="EgoX release (Aria RGB)",
            width=SIZE, height=SIZE,
        ),
        "3": _node(
            "Exo2EgoPointCloud", "Point cloud", images=["1", 0], depth=["1", 2], camera=["1", 1], background="mean",
            moving_parts="none", keep_moving=False, stride=2, reliability=0.1,
        ),
        "4": _node(
            "Exo2EgoRenderPrior", "Ego prior", points=["3", 0], camera=["2", 0], radius=5.0, points_per_pixel=20,
            backend="torch",
        ),
        "5": _node("SaveImage", "Save sheet", images=["4", 0], filename_prefix="test/sheet"),
        "10": _node("LoadVideo", "Clip", file="clip.mp4"),
        "11": _node("GetVideoComponents", "Frames", video=["10", 0]),
        "13": _node(
            "ImageScale", "Small", image=["11", 0], upscale_method="area", width=SIZE, height=SIZE, crop="center"
        ),
        "20": _node("UNETLoader", "Base model", unet_name="tiny_wan2.1_i2v.safetensors", weight_dtype="default"),
        "21": _node(
            "StandInCLIPLoader", "Text encoder", clip_name="tiny_umt5.safetensors", type="wan", device="default"
        ),
        "22": _node("CLIPTextEncode", "Positive prompt", text="a table", clip=["21", 0]),
        "23": _node("VAELoader", "VAE", vae_name="tiny_wan2.1_vae.safetensors"),
        "24": _node("VAEEncode", "Encode", pixels=["13", 0], vae=["23", 0]),
        "25": _node(
            "KSampler", "Sampler", model=["20", 0], positive=["22", 0], negative=["22", 0], latent_image=["24", 0],
            seed=0, steps=2, cfg=1.0, sampler_name="euler", scheduler="simple", denoise=0.5,
        ),
        "26": _node("VAEDecode", "Decode", samples=["25", 0], vae=["23", 0]),
        "27": _node("CreateVideo", "Video", images=["26", 0], fps=8.0),
        "28": _node(
            "SaveVideo", "Save video", video=["27", 0], filename_prefix="test/ego", format="auto", codec="auto"
        ),
    }  # fmt: skip


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write workflow, a clip, a broken clip and a small take into a folder; names with all that names may hold."""
    from .graphs import write_small_take

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workflow.json").write_text(json.dumps(tiny_graph()))
    take = write_small_take(folder, "take of 'küche' 台所", 1)
    clip = folder / 'clip "one" видео.mp4'
    clip.write_bytes((take / "exo.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes(b"no video at all" * 100)
    return {"workflow": folder / "workflow.json", "take": take, "clip": clip, "broken": folder / "broken.mp4"}


def rows(inputs: dict[str, Path], count: int) -> list[dict[str, Any]]:
    """`count` clips that differ in their seeds."""
    folder = inputs["workflow"].parent
    return [
        {
            "name": f'клип {n:02} "it\'s"',
            "take": inputs["take"].name,
            "camera": f"{inputs['take'].name}/ego_camera.json",
            "video": inputs["clip"].relative_to(folder).as_posix(),
            "Sampler.seed": n,
        }
        for n in range(count)
    ]


def write_manifest(folder: Path, entries: list[dict[str, Any]]) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries), encoding="utf-8")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT), "batch", *map(str, arguments)]


def batch(*arguments: object, timeout: float = 3600) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout)


def clip_hashes(out: Path) -> dict[str, str]:
    """The content of every file of every clip."""
    files = sorted(path for path in (out / "clips").rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
