"""Every call against a server that gives every wrong answer: one clear sentence, in bounded time."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from exo2ego.commands.comfyui.answers import Answer, Each, Maybe, fits, inputs_of, is_number, masked
from exo2ego.commands.comfyui.client import ComfyConnection, Upload
from exo2ego.commands.comfyui.downloads import is_another_file
from exo2ego.commands.comfyui.errors import ComfyError, ServerUnreachableError, WrongAnswerError
from exo2ego.commands.comfyui.hints import read_hint
from exo2ego.commands.comfyui.history import describe_rejection, ended_of
from exo2ego.commands.comfyui.shown import result_keys, shown_numbers
from exo2ego.commands.comfyui.state import ask
from support.misbehaving import FAULTS, PNG, Misbehaving, small_graph

SECONDS = 0.5
ROUTES = ("object_info", "queue", "history", "recent", "prompt", "tell", "upload", "view", "ws", "system_stats")


@pytest.fixture(scope="module")
def server():
    with Misbehaving().running() as server:
        yield server


def calls(connection, folder):
    """Every call of a connection, and what a right server's answer to it is."""
    (folder / "file.png").write_bytes(PNG)
    (folder / "out").mkdir(exist_ok=True)
    upload = Upload(folder / "file.png", "exo2ego_batch/x", "file.png", len(PNG))
    file = {"filename": "there.png", "subfolder": "", "type": "output"}

    async def listen():
        async for hint in connection.events("client"):
            return hint.kind

    return {
        "node info": connection.node_info({"LoadImage"}),
        "queue": connection.queued(),
        "history": connection.ended("there", small_graph()),
        "latest history": connection.recent(5),
        "prompt": connection.submit(small_graph(), "new", "client"),
        "unqueue": connection.unqueue("x"),
        "interrupt": connection.interrupt("x"),
        "upload": connection.send(upload),
        "fetch": connection.fetch(file, folder / "out" / "there.png"),
        "read": connection.read(file),
        "websocket": listen(),
        "system_stats": connection.get("/system_stats", "its versions", {"system": dict}),
        "doctor": asyncio.to_thread(ask, connection.url, SECONDS),
    }


def outcomes(server, folder):
    async def work():
        connection = ComfyConnection(server.url, seconds=SECONDS)
        try:
            await connection.submit(small_graph(), "there", "client")
            server.everywhere = {} if server.fault is None else dict.fromkeys(ROUTES, server.fault)
            work = calls(connection, folder)
            ends = await asyncio.gather(*work.values(), return_exceptions=True)
            return dict(zip(work, ends))
        finally:
            server.everywhere = {}
            await connection.close()

    return asyncio.run(work())


def test_right_answers(server, tmp_path):
    server.fault = None
    ends = outcomes(server, tmp_path)
    assert not [end for end in ends.values() if isinstance(end, BaseException)]
    assert ends["read"] == (tmp_path / "out" / "there.png").read_bytes() == PNG
    assert ends["websocket"] == "connected"
    assert ends["history"].outputs["3"]["images"]


# For `unqueue` and `interrupt`, of whose answers nothing but the status is read.
HARMLESS = {
    "a list", "a number", "a text", "true", "null", "nothing", "other keys", "truncated JSON", "NaN", "bytes",
    "not UTF-8", "an unknown encoding", "no length",
    "values of another type", "values that are lists", "values that are texts", "nested too deep", "half a letter",
    "a number of 5,000 digits", "a login page", "a login page as JSON",
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_every_wrong_answer_is_one_sentence(server, tmp_path, name):
    server.fault = FAULTS[name]
    since = time.monotonic()
    ends = outcomes(server, tmp_path)
    for call, end in ends.items():
        if call in ("unqueue", "interrupt") and name in HARMLESS:
            continue
        assert isinstance(end, ComfyError), f"{call}: {end!r}"
        said = str(end)
        assert server.url in said, call
        assert len(said) < 900, call
        assert said.replace("\n", "").isprintable(), f"{call}: {said!r}"
        if name.isdigit() and call != "websocket":
            assert name in said, call
    assert time.monotonic() - since < 60, "it waits for ever"


def test_what_arrived_and_what_to_do():
    url = "http://me:secret@host:8188/queue"
    login = Answer(url, 200, "OK", "text/html", b"\n\n<title>Sign \x1b[2Jin</title>\n" + b"x" * 9999)
    with pytest.raises(WrongAnswerError) as caught:
        login.json("the queue", {"queue_running": list})
    said = str(caught.value)
    assert said.startswith(
        "http://***@host:8188/queue does not answer as ComfyUI does: expected the queue, it answers 200"
    )
    assert r"<title>Sign \x1b[2Jin</title>" in said
    assert "Give the address" in said
    assert "secret" not in said
    assert "server's log" in str(Answer(url, 500, "Oh", "text/plain", b"boom").wrong("the queue"))


def test_shapes():
    assert fits({"a": [1, "x", 2], "more": 0}, {"a": (int, str), "b": Maybe(dict)})
    assert not fits({"a": [1]}, {"a": (int, str)})
    assert not fits([], {"a": object})
    assert fits({"x": {}, "y": {}}, Each(dict))
    assert not fits({"x": None}, Each(dict))
    assert not fits({}, {"a": object})
    assert [is_number(value) for value in (1, 0.5, True, None, "1", 10**400, float("nan"))] == [True, True] + [
        False
    ] * 5
    odd = {
        "input": {"required": {"a": None, "b": [], "c": [["x"], None], "d": ["INT", {"min": "?", "max": 9}]}, "x": 3}
    }
    read = inputs_of(odd)["required"]
    assert read == {"a": ["*", {}], "b": ["*", {}], "c": [["x"], {}], "d": ["INT", {"max": 9}]}
    assert masked("see http://a:b@c/d and https://e@f") == "see http://***@c/d and https://***@f"


@pytest.mark.parametrize(
    "message",
    [
        "", "no JSON", "null", "7", "[]", '"text"', "{}", '{"type": 5, "data": {}}', '{"type": "progress"}',
        '{"type": "progress", "data": null}', '{"type": "progress", "data": [1]}', '{"type": "progress", "data": 7}',
        '{"type": "progress", "data": {"prompt_id": ["x"], "node": {"a": 1}}}', '{"type": "executing", "data": "x"}',
        '{"type": "progress", "data": {"prompt_id": "x", "node": "1", "value": "many", "max": null}}',
        '{"type": "progress", "data": {"prompt_id": "x", "node": "1", "value": 1e999, "max": NaN}}',
        '{"type": "progress", "data": {"prompt_id": "x", "node": "1", "value": 1' + "0" * 400 + ', "max": 1}}',
        '{"type": "progress", "data": {"prompt_id": "x", "node": "1", "value": 1' + "0" * 5000 + ', "max": 1}}',
        '{"type": "executing", "data": {"prompt_id": "x"}}', '{"type": "executing", "data": {"node": [null]}}',
        "[" * 100_000, '{"type": "status", "data": {"sid": "\\ud800"}}',
    ],
)  # fmt: skip
def test_a_message_says_nothing_that_it_does_not_say(message):
    hint = read_hint(message)
    assert hint is None or (hint.steps is None and not hint.ended and isinstance(hint.kind, str))
    if hint is not None:
        assert "steps" not in (hint.place(small_graph()) or {})


def test_what_messages_say():
    def hint(kind, **data):
        return read_hint(json.dumps({"type": kind, "data": data}))

    step = hint("progress", prompt_id="x", node="3", value=2, max=5)
    assert step.place(small_graph()) == {"node": "Save", "step": 2, "steps": 5}
    assert step.begun
    assert hint("executing", prompt_id="x", node=None).ended
    assert hint("execution_error", prompt_id="x", node_id="3").ended
    assert not hint("executing", prompt_id="x", node="3").ended


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({}, None),
        ({"outputs": None, "status": None, "prompt": None}, None),
        ({"prompt": [1, 2, {"3": {"class_type": 7}}]}, None),
        ({"status": {"messages": [7, None, [], ["execution_error"], ["a", "b"], ["execution_start", None]]}}, None),
        ({"status": {"status_str": "\x1b[2J"}}, r"It ended as '\\x1b[2J'."),
        ({"status": {"messages": [["execution_error", None]]}}, "an error: without a reason"),
        ({"status": {"messages": [["execution_error", {"traceback": [1, "in\x1b"], "node_id": []}]]}}, r"in\x1b"),
        ({"status": {"messages": [["execution_interrupted", 7]]}}, "interrupted"),
    ],
)
def test_odd_entries_of_a_history(entry, error):
    ended = ended_of(entry, small_graph())
    assert (ended.error is None) if error is None else (error in str(ended.error))
    assert ended.graph == {}


@pytest.mark.parametrize(
    "answer",
    [None, [], {"error": 7}, {"error": {"message": None, "details": 7}}, {"error": "x", "node_errors": ["y"]},
     {"node_errors": {"3": None}}, {"node_errors": {"3": {"errors": [7, {"extra_info": 7}, {"message": "m"}]}}}],
)  # fmt: skip
def test_odd_rejections(answer):
    assert describe_rejection(answer, small_graph()).startswith("ComfyUI rejected the graph.")


def test_graphs_and_numbers_of_a_liar():
    circle = {"1": {"class_type": "A", "inputs": {"x": ["2", 0]}}, "2": {"class_type": "B", "inputs": {"y": ["1", 0]}}}
    assert result_keys(circle).keys() == {"1", "2"}
    assert "1" in result_keys({"1": {"class_type": "A", "inputs": {"x": ["nobody", 0]}}})
    assert shown_numbers({"1": {"a": [1, 10**400], "b": [float("inf")], "c": [1.5], "d": [True]}}) == {
        "1": {"c": [1.5]}
    }


def test_files_of_another_kind():
    assert not is_another_file("a.png", "image/png", PNG[:16])
    assert not is_another_file("a.MP4", "", b"\0\0\0\x20ftypisom....")
    assert not is_another_file("a.npz", "application/octet-stream", b"PK")
    assert not is_another_file("cameras.json", "application/json", b"{}")
    assert is_another_file("a.png", "text/html", PNG)
    assert is_another_file("a.png", "image/png", b"<html>")
    assert is_another_file("a.npz", "", b"")
    assert is_another_file("a.mp4", "video/mp4", b'{"error": "gone"}')
    assert is_another_file("a.npz", "application/json", b"{}")


def test_nobody_there(tmp_path):
    with Misbehaving().running() as gone:
        pass

    async def work():
        connection = ComfyConnection(gone.url.replace("http://", "http://me:secret@"), seconds=SECONDS)
        try:
            return await asyncio.gather(*calls(connection, tmp_path).values(), return_exceptions=True)
        finally:
            await connection.close()

    for end in asyncio.run(work()):
        assert isinstance(end, ServerUnreachableError), repr(end)
        assert "secret" not in str(end)
