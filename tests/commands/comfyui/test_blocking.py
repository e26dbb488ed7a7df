"""The blocking client against the real server: upload, queue, follow, fetch, interrupt, and readable refusals."""

import threading

import pytest

from exo2ego.commands.comfyui.errors import ExecutionFailedError, ExecutionInterruptedError, PromptRejectedError


def _node(class_type, title=None, **inputs):
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title or class_type}}


def _picture_graph(color, width=64):
    return {
        "1": _node("EmptyImage", "Plain", width=width, height=48, batch_size=1, color=color),
        "2": _node("SaveImage", "Save", images=["1", 0], filename_prefix="client/picture"),
    }


def _sampling_graph(steps):
    """A sampling of the tiny Wan with the given steps."""
    return {
        "1": _node("UNETLoader", unet_name="tiny_wan2.1_i2v.safetensors", weight_dtype="default"),
        "2": _node("StandInCLIPLoader", clip_name="tiny_umt5.safetensors", type="wan"),
        "3": _node("CLIPTextEncode", text="a table", clip=["2", 0]),
        "4": _node("EmptyHunyuanLatentVideo", width=128, height=128, length=5, batch_size=1),
        "5": _node(
            "KSampler",
            "Sampler",
            model=["1", 0],
            positive=["3", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=0,
            steps=steps,
            cfg=1.0,
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
        "6": _node("SaveLatent", samples=["5", 0], filename_prefix="client/latent"),
    }


def test_run_and_fetch(comfy_client):
    run = comfy_client.run(_picture_graph(0xFF8000))
    (file,) = run.files("2")
    assert file["subfolder"] == "client"
    assert comfy_client.fetch(file).startswith(b"\x89PNG")
    assert run.files("1") == []
    assert set(run.seconds) <= {"Plain", "Save"}


def test_upload_into_a_subfolder(comfy_client, comfy_server, tmp_path):
    for content in (b"first", b"second"):  # the second replaces the first
        (tmp_path / "depth.npz").write_bytes(content)
        assert comfy_client.upload(tmp_path / "depth.npz", "takes/room") == "takes/room/depth.npz"
        assert (comfy_server.base / "input" / "takes" / "room" / "depth.npz").read_bytes() == content
    assert comfy_client.upload(tmp_path / "depth.npz") == "depth.npz"


def test_progress_of_a_sampling(comfy_client):
    reports = []
    run = comfy_client.run(_sampling_graph(3), reports.append)
    steps = [(report.done, report.total) for report in reports if report.title == "Sampler"]
    assert steps[0] == (0, 0)  # it starts
    assert steps[-1] == (3, 3)
    assert run.seconds["Sampler"] > 0
    assert run.files("6")


def test_a_rejected_graph_names_node_input_and_reason(comfy_client):
    graph = _picture_graph(0, width=-5)
    graph["3"] = _node("SaveImage", "Lonely save", filename_prefix="x")
    with pytest.raises(PromptRejectedError) as caught:
        comfy_client.run(graph)
    text = str(caught.value)
    assert "'Plain', input 'width'" in text
    assert "-5" in text
    assert "'Lonely save', input 'images'" in text


def test_an_unknown_node(comfy_client):
    with pytest.raises(PromptRejectedError, match="NoSuchNode"):
        comfy_client.queue({"1": _node("NoSuchNode")})


def test_a_failing_node(comfy_client):
    graph = _sampling_graph(1)
    graph["4"] = _node("EmptyLatentImage", "Wrong latent", width=64, height=64, batch_size=1)
    graph["7"] = _node("VAELoader", vae_name="tiny_wan2.1_vae.safetensors")
    graph["6"] = _node("VAEDecode", "Decode", samples=["4", 0], vae=["7", 0])
    graph["8"] = _node("SaveImage", images=["6", 0], filename_prefix="client/never")
    with pytest.raises(ExecutionFailedError) as caught:
        comfy_client.run(graph)
    assert caught.value.node == "Decode"
    assert caught.value.reason
    assert "Traceback" not in caught.value.reason


def test_interrupt_while_sampling(comfy_client):
    def interrupt_at_the_second_step(progress):
        if progress.title == "Sampler" and progress.done >= 2:  # ComfyUI may leave steps out
            comfy_client.interrupt()

    with pytest.raises(ExecutionInterruptedError, match="Sampler"):
        comfy_client.run(_sampling_graph(500), interrupt_at_the_second_step)
    queue = comfy_client.get("/queue")
    assert queue["queue_running"] == queue["queue_pending"] == []


def test_without_a_websocket_the_history_tells(comfy_client, monkeypatch):
    monkeypatch.setattr(comfy_client._connection._session, "ws_connect", _no_socket)
    reports = []
    run = comfy_client.run(_picture_graph(0x123456), reports.append)
    assert run.files("2")
    assert reports == []


def _no_socket(*arguments, **options):
    import aiohttp

    raise aiohttp.ClientConnectionError("no socket today")


def test_a_raising_callback_ends_the_wait(comfy_client):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comfy_client.run(_picture_graph(0xABCDEF), stop)
    assert comfy_client.run(_picture_graph(0xABCDEE)).files("2")


def test_two_threads_share_a_client(comfy_client):
    runs = []
    threads = [
        threading.Thread(target=lambda color=color: runs.append(comfy_client.run(_picture_graph(color))))
        for color in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=3600)
    assert len(runs) == 2
    assert all(run.files("2") for run in runs)
