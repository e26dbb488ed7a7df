"""From the template browser to a queued run with a phone's own clip, as a person does it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exo2ego.takes.video import read_video
from support.browser import editor, screenshot
from support.camera_editor import CLASSIC, VUE
from support.graphs import FILES, TEMPLATES, api_graph, node_id
from support.phone import QUARTERS, Hand, quarters_of, write_portrait
from support.screen import choose_renderer
from support.server import PATIENCE
from support.tiny_depth_pro import save_tiny_depth_pro
from support.tiny_models import write_tiny_models
from support.tiny_people import save_tiny_detector, save_tiny_pose

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "output" / "screenshots"
MOST = 12  # clicks and fields
TEXTS = {
    "exo_scene": "A yard with a wall.",
    "exo_action": "A person waters plants.",
    "ego_scene": "Pots below, a wall behind.",
    "ego_action": "One hand tilts a can.",
}
# What a processor bears of the stand-ins' full size.
SMALL = {
    "Exo2EgoLoadClip": {"frames": 5},
    "Exo2EgoPointCloud": {"reliability": 10.0},  # random weights give rough depth
    "Exo2EgoFindPeople": {"confidence": 0.3},
    "KSampler": {"steps": 1},
}
STAND_INS = {"CLIPLoader": "StandInCLIPLoader", "CLIPVisionLoader": "StandInCLIPVisionLoader"}


def write_models(models: Path) -> None:
    """Write the stand-ins under the very names that the template asks for."""
    write_tiny_models(models)
    graph = api_graph("egox")
    for role, (title, name) in {
        "unet": ("Base model", "unet_name"),
        "lora": ("EgoX LoRA", "lora_name"),
        "vae": ("VAE", "vae_name"),
        "clip": ("Text encoder", "clip_name"),
        "clip_vision": ("CLIP vision", "clip_name"),
    }.items():
        folder, file = FILES[role]
        shutil.copy(models / folder / file, models / folder / graph[node_id(graph, title)]["inputs"][name])
    people = graph[node_id(graph, "Find people")]["inputs"]
    save_tiny_depth_pro(models / "depth_pro" / graph[node_id(graph, "DepthPro")]["inputs"]["weights"])
    save_tiny_detector(models / "people" / people["detector"])
    save_tiny_pose(models / "people" / people["pose"])


@pytest.fixture(scope="module", params=[("named", CLASSIC), ("newest", VUE)], ids=["classic", "nodes 2"])
def phone(request, tmp_path_factory):
    """The editor of a server with the template's models and nothing in its input folder; its server."""
    import environment

    from exo2ego.commands.comfyui import headless

    frontend, renderer = request.param
    base = tmp_path_factory.mktemp("phone")
    write_models(base / "models")
    arguments = [*environment.device_arguments()]
    if frontend == "newest":
        arguments += ["--front-end-root", str(environment.newest_frontend())]
    standins = ROOT / "tests" / "support" / "standin_nodes"
    with (
        headless.running(
            environment.prepare().comfyui, base, arguments, custom_nodes=[standins], timeout=PATIENCE
        ) as server,
        editor(server.url) as opened,
    ):
        opened.page.set_viewport_size({"width": 1920, "height": 1080})
        choose_renderer(opened, renderer)
        yield opened, server, renderer


def queue_small(route):
    """Hand the queued prompt on at the stand-ins' size; what the person set stays."""
    sent = json.loads(route.request.post_data)
    for node in sent["prompt"].values():
        node["inputs"].update(SMALL.get(node["class_type"], {}))
        node["class_type"] = STAND_INS.get(node["class_type"], node["class_type"])
    route.continue_(post_data=json.dumps(sent))


def test_a_phone_clip_in_and_a_first_person_video_out(phone, tmp_path):
    from exo2ego.commands.comfyui.blocking import ComfyClient

    opened, server, renderer = phone
    page, hand = opened.page, Hand(opened)
    page.route("**/prompt", queue_small)
    clip = write_portrait(tmp_path / "IMG 2041.mp4")

    hand.click(page.get_by_role("button", name="Templates"), "Templates")
    hand.click(page.get_by_text("ComfyUI-Exo2Ego", exact=True), "the pack")
    screenshot(opened, SCREENSHOTS / f"template_browser_{renderer}.png")
    hand.click(page.get_by_text(TEMPLATES["egox"].stem, exact=True), "the template")
    page.wait_for_function("app.graph._nodes.some((node) => node.title === 'Camera editor')")
    page.wait_for_timeout(2000)
    screenshot(opened, SCREENSHOTS / f"phone_opened_{renderer}.png")
    hand.look_at("Exo video")
    hand.upload("Exo video", "upload", clip)
    page.wait_for_function(_CHOSEN, arg=clip.name)
    # Random weights find no head: the way of a clip in which nobody is found.
    hand.look_at("Ego Camera")
    hand.delete("Ego Camera")
    hand.look_at("Camera editor")
    hand.click(page.locator("button[data-command=setKey]"), "the key at the exo camera")
    hand.look_at("Describe clip")
    for field, text in TEXTS.items():
        hand.fill("Describe clip", field, text)
    screenshot(opened, SCREENSHOTS / f"phone_filled_{renderer}.png")
    with page.expect_response(
        lambda answer: answer.url.endswith("/prompt") and answer.request.method == "POST"
    ) as sent:
        hand.click(page.get_by_test_id("queue-button").or_(page.get_by_role("button", name="Run", exact=True)), "Run")
    queued = sent.value.json()
    assert not queued.get("node_errors"), queued
    assert len(hand.done) <= MOST, hand.done

    with ComfyClient(server.url) as client:
        while not (history := client.get(f"/history/{queued['prompt_id']}")):
            time.sleep(0.5)
        entry = history[queued["prompt_id"]]
        assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
        graph = api_graph("egox")
        ego, prior, side = (
            fetched(client, entry["outputs"][node_id(graph, title)], tmp_path / f"{title}.mp4")
            for title in ("Save ego video", "Save ego prior", "Save side by side")
        )
    assert len(prior) == len(ego) == len(side) == SMALL["Exo2EgoLoadClip"]["frames"]
    assert quarters_of(prior[0]) == list(QUARTERS), "the ego prior, seen from the exo camera, is not upright"
    page.wait_for_timeout(2000)
    for title in ("Exo video", "Clip to Scene", "Camera editor", "Ego Prior", "Save side by side"):
        hand.look_at(title)
        screenshot(opened, SCREENSHOTS / f"phone_{title.replace(' ', '_').lower()}_{renderer}.png")
    assert opened.complaints() == []


def test_a_folder_of_phone_clips_overnight(phone, tmp_path):
    """As docs/batch.md has it: the API twin, a manifest, no browser; here up to the priors."""
    _, server, _ = phone
    graph = {
        key: node
        for key, node in api_graph("egox").items()
        if node["_meta"]["title"] not in ("Save ego video", "Save side by side", "Save contact sheet")
    }
    del graph[node_id(graph, "Camera editor")]["inputs"]["start_camera"]  # random weights find no head
    for node in graph.values():
        node["inputs"].update(SMALL.get(node["class_type"], {}))
    workflow = tmp_path / "priors.json"
    workflow.write_text(json.dumps(graph))
    for name in ("garden.mp4", "two of us.mp4"):
        write_portrait(tmp_path / name)
    manifest = tmp_path / "clips.csv"
    manifest.write_text(
        "name,video,Exo video.start,Exo video.anchor,Head pose.person,Head pose.number,Describe clip.wearer,prompt\n"
        "garden,garden.mp4,0,top,largest,,,\n"
        "two of us,two of us.mp4,0.5,center,by number,0,the man on the left,\n"
    )
    out = tmp_path / "ego"
    command = [sys.executable, str(ROOT), "batch", "run", str(manifest), "--workflow", str(workflow)]
    ended = subprocess.run([*command, "--server", server.url, "--out", str(out)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in ("garden", "two of us"):
        assert len(read_video(out / "clips" / name / "ego_prior.mp4")[0]) == SMALL["Exo2EgoLoadClip"]["frames"]


def fetched(client, output, path):
    """Return the frames of a saved video."""
    (saved,) = output["images"]
    path.write_bytes(client.fetch(saved))
    return read_video(path)[0]


_CHOSEN = """(name) => app.graph._nodes.find((node) => node.title === 'Exo video').widgets
  .find((widget) => widget.name === 'file').value === name"""
