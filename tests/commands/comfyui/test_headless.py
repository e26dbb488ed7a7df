"""The server's life: it comes up with the pack, says why it does not, and leaves no process behind.

Only the first test runs a real ComfyUI (the session's); the others watch how any program is started and stopped.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exo2ego.commands.comfyui.errors import ServerStartError
from exo2ego.commands.comfyui.headless import PACK_FOLDER, Headless, running

# Answers as ComfyUI does, and ends on SIGINT as it does.
POLITE = """
import http.server, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
try:
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
except KeyboardInterrupt:
    print("goodbye")
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + POLITE


def _program(tmp_path, text):
    folder = tmp_path / "program"
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(text)
    return folder


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_real_server_has_the_pack(comfy_server, comfy_client):
    assert (comfy_server.base / "custom_nodes" / PACK_FOLDER / "pyproject.toml").is_file()
    assert comfy_client.get("/object_info/Exo2EgoRenderPrior")
    assert "IMPORT FAILED" not in comfy_server.log.read_text()


def test_it_stops_in_order(tmp_path):
    with running(_program(tmp_path, POLITE), tmp_path / "base") as server:
        assert _alive(server.process.pid)
    assert not _alive(server.process.pid)
    assert "goodbye" in server.log_tail()


def test_it_stops_when_the_block_raises(tmp_path):
    started = []

    def fail():
        with running(_program(tmp_path, POLITE), tmp_path / "base") as server:
            started.append(server.process.pid)
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fail()
    assert not _alive(started[0])


def test_it_is_killed_where_it_does_not_listen(tmp_path, monkeypatch):
    stop = Headless.stop
    monkeypatch.setattr(Headless, "stop", lambda server: stop(server, patience=0.5))
    with running(_program(tmp_path, STUBBORN), tmp_path / "base") as server:
        pass
    assert server.process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end the server with its parent")
def test_it_dies_with_a_killed_parent(tmp_path):
    script = (
        "import sys; from pathlib import Path; import pack; pack.register()\n"
        "from exo2ego.commands.comfyui.headless import running\n"
        "with running(Path(sys.argv[1]), Path(sys.argv[2])) as server:\n"
        "    print(server.process.pid, flush=True)\n"
        "    input()\n"
    )
    tools = Path(__file__).resolve().parents[3] / "tools"
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(_program(tmp_path, POLITE)), str(tmp_path / "base")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tools)},
    )
    child = int(parent.stdout.readline())
    assert _alive(child)
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not _alive(child):
            break
        time.sleep(0.1)
    assert not _alive(child)


def test_a_program_that_ends_at_once_shows_its_log(tmp_path):
    program = _program(tmp_path, "raise SystemExit('no module named torch')")
    with (
        pytest.raises(ServerStartError, match=r"ended with 1(?s:.*)no module named torch"),
        running(program, tmp_path),
    ):
        pass


def test_a_program_that_never_answers(tmp_path):
    program = _program(tmp_path, "import time\nprint('loading')\ntime.sleep(60)")
    with pytest.raises(ServerStartError, match="did not answer within 2 s"), running(program, tmp_path, timeout=2):
        pass


def test_more_nodes_and_a_second_start_in_one_folder(tmp_path):
    extra = tmp_path / "my_nodes"
    extra.mkdir()
    for _ in range(2):
        with running(_program(tmp_path, POLITE), tmp_path / "base", custom_nodes=[extra]) as server:
            names = {path.name for path in (server.base / "custom_nodes").iterdir()}
            assert names == {PACK_FOLDER, "my_nodes"}
