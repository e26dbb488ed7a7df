"""A ComfyUI that runs, over HTTP."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager

import pytest

from exo2ego.commands.comfyui.state import Server, ask
from exo2ego.commands.doctor.cli import main
from exo2ego.commands.doctor.server_nodes import check_nodes
from exo2ego.commands.doctor.workflows import shipped_workflows
from support.comfyui import comfyui_folder
from support.core_features import comfyui_version
from support.tiny_models import FILES

from .conftest import ROOT


@pytest.fixture
def visit(tmp_path, capsys):
    """Run the doctor from a checkout outside of any ComfyUI; returns its JSON and the exit code."""
    pack = tmp_path / "checkout"
    pack.symlink_to(ROOT)

    def run(*arguments):
        code = main([*arguments, "--json"], pack=pack)
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if code != 2 else shown.err

    return run


def test_a_server_alone(comfy_server, visit):
    code, report = visit("--server", comfy_server.url, "--workflow", "egox_take")
    assert code == 1
    facts = report["facts"]
    assert facts["server"].startswith(f"ComfyUI {comfyui_version()} at http")
    assert "torch" not in facts["Python, torch"]
    missing = [found for found in report["findings"] if found["check"] == "models"]
    assert len(missing) == len(shipped_workflows(ROOT).of("egox_take")) == report["counts"]["error"]
    (base,) = [found for found in missing if "wan2.1_i2v_480p" in found["found"]]
    assert "does not list it; it lists exo2ego_pocket_i2v.safetensors, tiny_" in base["found"]
    assert "models/diffusion_models" in base["remedy"]
    assert all(found["expected"] and found["remedy"] for found in report["findings"])


def test_a_server_and_its_files(comfy_server, visit):
    """The session's own: its tiny models lie under other names, and each stands in for the one that is missing."""
    folders = ("--comfyui", str(comfyui_folder()), "--base-directory", str(comfy_server.base))
    code, report = visit("--server", comfy_server.url, *folders, "--workflow", "egox_take", "--workflow", "vawan")
    assert code == 0
    notes = [found["found"] for found in report["findings"] if found["check"] == "models"]
    for role in ("unet", "vae", "lora", "clip", "clip_vision"):
        assert [note for note in notes if f"but {FILES[role][1]} is" in note]
    assert [note for note in notes if "but tiny_wan_i2v_2.2.safetensors is Wan 2.2 I2V" in note]
    assert [note for note in notes if "but tiny_vawan.safetensors is Exo2EgoSyn's vawan" in note]


def test_the_servers_own_lists_are_read(comfy_server):
    server = ask(comfy_server.url)
    assert "ComfyUI-Exo2Ego" in server.packs()
    assert server.choices("UNETLoader", "unet_name") is not None
    for model in shipped_workflows(ROOT).wanted:
        assert isinstance(server.choices(model.node, model.name), list), model
    assert server.choices("UNETLoader", "no_such_input") is None
    assert server.choices("NoSuchNode", "unet_name") is None


def test_nodes_that_a_server_lacks():
    workflows = shipped_workflows(ROOT)
    everything = {node: {} for nodes in workflows.nodes.values() for node in nodes}
    assert check_nodes(Server("http://there", {}, [], everything), workflows, workflows.names) == []
    without = {node: {} for node in everything if not node.startswith("Exo2Ego") and node != "CreateVideo"}
    ours, theirs = check_nodes(Server("http://there", {}, [], without), workflows, workflows.names)
    assert "nodes of this pack" in ours.found
    assert "restart" in ours.remedy
    assert "lacks CreateVideo of ComfyUI itself" in theirs.found
    assert "Update ComfyUI" in theirs.remedy


@contextmanager
def other_server(body: bytes, status: int = 200):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"<html>", 200, "does not answer as ComfyUI does"),
        (b'{"some": "json"}', 200, "does not answer as ComfyUI does"),
        (b"[]", 200, "does not answer as ComfyUI does"),
        (b"", 404, "answers 404"),
    ],
)
def test_what_is_no_comfyui(visit, body, status, said):
    with other_server(body, status) as url:
        code, message = visit("--server", url)
    assert code == 2
    assert said in message


def test_nobody_answers(visit):
    with other_server(b"") as url:
        pass
    code, message = visit("--server", url)
    assert code == 2
    assert "Start ComfyUI" in message
    assert visit("--server", "not an address")[0] == 2
