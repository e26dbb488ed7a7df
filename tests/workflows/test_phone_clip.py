"""From the template browser to a queued run with a phone's own clip, as a person does it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
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
from support.tiny_people import save_standing_pose, save_tiny_detector

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "output" / "screenshots"
MOST = 12  # clicks and fields
CLIP = "IMG 2041.mp4"
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
    save_standing_pose(models / "people" / people["pose"])


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


EGO_RESULTS = ("Save ego video", "Save side by side", "Save contact sheet")


def without_ego_video(graph):
    """Leave out what needs the sampler."""
    return {key: node for key, node in graph.items() if node["_meta"]["title"] not in EGO_RESULTS}


def queue_small(route, change=dict):
    """Hand the queued prompt on at the stand-ins' size; what the person set stays."""
    sent = json.loads(route.request.post_data)
    sent["prompt"] = change(sent["prompt"])
    for node in sent["prompt"].values():
        node["inputs"].update(SMALL.get(node["class_type"], {}))
        node["class_type"] = STAND_INS.get(node["class_type"], node["class_type"])
    route.continue_(post_data=json.dumps(sent))


def test_a_phone_clip_in_and_a_first_person_video_out(phone, tmp_path):
    from exo2ego.commands.comfyui.blocking import ComfyClient

    opened, server, renderer = phone
    page, graph = opened.page, api_graph("egox")
    clip = write_portrait(tmp_path / CLIP)

    # The way of a clip in which nobody is found, as the note has it: no head, a key at the exo camera.
    page.route("**/prompt", lambda route: queue_small(route, without_ego_video))
    hand = Hand(opened)
    open_template(hand, renderer)
    choose(hand, clip)
    hand.look_at("Ego Camera")
    hand.delete("Ego Camera")
    hand.look_at("Camera editor")
    hand.click(page.locator("button[data-command=setKey]"), "the key at the exo camera")
    outputs = finished(server, queued_by(hand))
    assert len(hand.done) + len(TEXTS) <= MOST, hand.done
    assert not start_of(outputs).any(), "this is not the exo camera"
    with ComfyClient(server.url) as client:
        prior = fetched(client, outputs[node_id(graph, "Save ego prior")], tmp_path / "by hand.mp4")
    assert quarters_of(prior[0]) == list(QUARTERS), "the ego prior, seen from the exo camera, is not upright"

    page.unroute("**/prompt")
    page.route("**/prompt", lambda route: queue_small(route))
    hand = Hand(opened)
    open_template(hand, renderer)
    choose(hand, clip)
    hand.look_at("Describe clip")
    for field, text in TEXTS.items():
        hand.fill("Describe clip", field, text)
    screenshot(opened, SCREENSHOTS / f"phone_filled_{renderer}.png")
    outputs = finished(server, queued_by(hand))
    assert len(hand.done) <= MOST, hand.done
    with ComfyClient(server.url) as client:
        ego, prior, side = (
            fetched(client, outputs[node_id(graph, title)], tmp_path / f"{title}.mp4")
            for title in ("Save ego video", "Save ego prior", "Save side by side")
        )
    assert len(prior) == len(ego) == len(side) == SMALL["Exo2EgoLoadClip"]["frames"]
    assert abs(start_of(outputs)).max() > 0.1, "Head Pose's camera did not reach the Camera Editor"
    page.wait_for_timeout(2000)
    for title in ("Exo video", "Clip to Scene", "Ego Camera", "Camera editor", "Ego Prior", "Save side by side"):
        hand.look_at(title)
        screenshot(opened, SCREENSHOTS / f"phone_{title.replace(' ', '_').lower()}_{renderer}.png")
    assert not opened.complaints(), "\n".join(opened.complaints())


def open_template(hand, renderer):
    """Choose the template in the template browser, and wait until it is there, without a clip."""
    hand.click(hand.page.get_by_role("button", name="Templates"), "Templates")
    browser = hand.page.get_by_role("dialog")  # a tab may have the template's name, too
    hand.click(browser.get_by_text("ComfyUI-Exo2Ego", exact=True), "the pack")
    screenshot(hand.opened, SCREENSHOTS / f"template_browser_{renderer}.png")
    hand.click(browser.get_by_text(TEMPLATES["egox"].stem, exact=True), "the template")
    hand.page.wait_for_function(f"![undefined, '{CLIP}'].includes(({_FILE})())")
    hand.page.wait_for_timeout(2000)
    screenshot(hand.opened, SCREENSHOTS / f"phone_opened_{renderer}.png")


def choose(hand, clip):
    """Upload the clip."""
    hand.look_at("Exo video")
    hand.upload("Exo video", "upload", clip)
    hand.page.wait_for_function(f"(name) => ({_FILE})() === name", arg=clip.name)


def queued_by(hand):
    """Press Run; returns the prompt's number."""
    page = hand.page
    with page.expect_response(
        lambda answer: answer.url.endswith("/prompt") and answer.request.method == "POST"
    ) as sent:
        hand.click(page.get_by_test_id("queue-button").or_(page.get_by_role("button", name="Run", exact=True)), "Run")
    queued = sent.value.json()
    assert not queued.get("node_errors"), queued
    return queued["prompt_id"]


def finished(server, prompt):
    """Wait for a prompt; returns its outputs by node."""
    from exo2ego.commands.comfyui.blocking import ComfyClient

    with ComfyClient(server.url) as client:
        while not (history := client.get(f"/history/{prompt}")):
            time.sleep(0.5)
    entry = history[prompt]
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    return entry["outputs"]


def start_of(outputs):
    """Return where the trajectory begins from which the Camera Editor started [3]."""
    (answer,) = outputs[node_id(api_graph("egox"), "Camera editor")]["exo2ego_editor"]
    return np.array(json.loads(answer["start"])["keyframes"][0]["position"])


def test_a_folder_of_phone_clips_overnight(phone, tmp_path):
    """As docs/batch.md has it: the API twin, a manifest, no browser; here up to the priors."""
    _, server, _ = phone
    graph = without_ego_video(api_graph("egox"))
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


# The file that the clip's node names; nothing before the template is there.
_FILE = """() => app.graph._nodes.find((node) => node.title === 'Exo video')?.widgets
  .find((widget) => widget.name === 'file').value"""
