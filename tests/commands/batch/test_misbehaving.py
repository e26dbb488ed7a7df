"""A batch on a server that answers wrongly, now for one clip and now for all: nothing ends it, nothing is lost."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest

from exo2ego.commands.batch.cli import BROKEN, OK, SOME_FAILED, main
from exo2ego.commands.batch.journal import DONE, FAILED, QUEUED, RUNNING, SUBMITTED, Journal
from support.misbehaving import FAULTS, PNG, Misbehaving, small_graph

GOOD = ("right one", "right two", "right three")
OTHER_NUMBER = ("values that are texts", "half a letter")  # as a ComfyUI that is too old
SLOW = ("silence", "silence halfway", "a trickle")


@pytest.fixture
def server():
    with Misbehaving().running() as server:
        yield server


@pytest.fixture
def run(server, tmp_path, capsys):
    """Run the command over clips whose texts say what the server does with them; returns exit code, words, journal."""

    def command(texts, *options, answer_within=1.0, give_up_after=30.0):
        (tmp_path / "workflow.json").write_text(json.dumps(small_graph()))
        lines = []
        for text in texts:
            image = tmp_path / f"{len(lines)}.png"
            image.write_text(text)  # what is uploaded says it too
            lines.append(json.dumps({"name": f"clip {len(lines)}", "image": image.name, "Text.text": text}))
        (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
        words = [
            "run", tmp_path / "manifest.jsonl", "--workflow", tmp_path / "workflow.json", "--out", tmp_path / "out",
            "--server", server.url, "--queue", len(texts), "--answer-within", answer_within,
            "--give-up-after", give_up_after, "--lost-after", 300, *options,
        ]  # fmt: skip
        code = main(list(map(str, words)))
        shown = capsys.readouterr()
        assert "Traceback (" not in shown.out + shown.err
        assert (shown.out + shown.err).replace("\n", "").isprintable()
        clips = {}
        if (tmp_path / "out" / "journal.sqlite").exists():
            with contextlib.closing(Journal(tmp_path / "out")) as journal:
                clips = dict(zip(texts, journal.clips()))
        return code, shown.out + shown.err, clips

    return command


def check_good(server, clips, folder, texts=GOOD):
    for text in texts:
        clip = clips[text]
        assert (clip.state, clip.error) == (DONE, None), text
        assert server.taken[text] == 1, f"{text} was made {server.taken[text]} times"
        assert [path.read_bytes() for path in (folder / "clips" / clip.name).iterdir()] == [PNG]


def interleaved(texts):
    return [GOOD[0], *texts[: len(texts) // 2], GOOD[1], *texts[len(texts) // 2 :], GOOD[2]]


@pytest.mark.parametrize("route", ["upload", "prompt", "history", "view"])
def test_a_clip_whose_answers_are_wrong_fails_and_the_others_are_made(server, run, tmp_path, route):
    """Every fault at once, a clip each: what waits for one clip must not hold up the others."""
    faults = [name for name in FAULTS if route != "upload" or name not in SLOW]  # one clip is sent after the other
    texts = interleaved([f"{route} with {name}" for name in faults])
    code, words, clips = run(texts)
    assert code == SOME_FAILED, words
    check_good(server, clips, tmp_path / "out")
    wrong = {text: clip for text, clip in clips.items() if text not in GOOD and clip.state != FAILED}
    assert not wrong
    assert {path.name for path in (tmp_path / "out" / "clips").iterdir()} == {clips[text].name for text in GOOD}
    for text, clip in clips.items():
        if text not in GOOD:
            assert server.url in clip.error, text
            assert all(status in clip.error for status in (text.rpartition(" with ")[2],) if status.isdigit()), (
                clip.error
            )
    assert f"waiting: {clips[texts[1]].name} ({server.url}" in words


@pytest.mark.parametrize("fault", SLOW)
def test_an_upload_without_an_answer(server, run, tmp_path, fault):
    """Files are sent one after the other, so that it holds up the others for a while."""
    code, _, clips = run([f"upload with {fault}", *GOOD], answer_within=0.3)
    assert code == SOME_FAILED
    check_good(server, clips, tmp_path / "out")
    assert "no whole answer within 0.3 s" in clips[f"upload with {fault}"].error


def test_a_prompt_that_was_taken_and_answered_wrongly_is_made_once(server, run, tmp_path):
    server_takes = [f"taken prompt with {name}" for name in FAULTS if name not in OTHER_NUMBER]
    code, words, clips = run(interleaved(server_takes))
    assert code == OK, words
    check_good(server, clips, tmp_path / "out", [*GOOD, *server_takes])
    assert {clip.attempts for clip in clips.values()} == {1}


# What an entry of the history may be, and whether the clip is made all the same.
FILE = {"filename": "{id}.png", "subfolder": "", "type": "output"}
ENTRIES = {
    "outputs null": ({"outputs": None}, False),
    "outputs a list": ({"outputs": []}, False),
    "outputs of texts": ({"outputs": {"3": "x"}}, False),
    "files that are none": ({"outputs": {"3": {"images": [7, None, "x", {"filename": 7}, {"type": "output"}]}}}, False),
    "a file of no name": ({"outputs": {"3": {"images": [{"filename": "", "type": "output"}]}}}, False),
    "a name with letters of no file": ({"outputs": {"3": {"a": [FILE | {"filename": "\ud800\0"}]}}}, False),
    "a name without end": ({"outputs": {"3": {"images": [{"filename": "x" * 100_000, "type": "output"}]}}}, False),
    "a subfolder that is none": ({"outputs": {"3": {"a": [FILE | {"subfolder": ["x"]}]}}}, False),
    "a status that is none": ({"status": "success"}, False),
    "a status of another kind": ({"status": {"status_str": 7}}, False),
    "an unknown status": ({"status": {"status_str": "\x1b[2Jworse"}}, False),
    "an error without words": ({"status": {"status_str": "error", "messages": [["execution_error", None]]}}, False),
    "messages that are none": ({"status": {"status_str": "success", "messages": [7, None, ["execution_error"]]}}, True),
    "no status": ({"status": None}, True),
    "no prompt": ({"prompt": None}, True),
    "a prompt that is none": ({"prompt": [1, 2, {"3": {"class_type": None}}]}, True),
    "a prompt in a circle": ({"prompt": [1, 2, {"3": {"class_type": "A", "inputs": {"a": ["3", 0]}}}]}, True),
    "numbers that are missing": ({"prompt": [1, 2, {"9": {"class_type": "Exo2EgoRenderPrior", "inputs": {}}}]}, True),
}  # fmt: skip


def test_odd_entries_of_the_history(server, run, tmp_path):
    server.entries = {name: change for name, (change, _) in ENTRIES.items()}
    server.everywhere = {"recent": FAULTS["a login page"]}
    code, words, clips = run(interleaved(list(ENTRIES)))
    assert code == SOME_FAILED
    check_good(server, clips, tmp_path / "out", [*GOOD, *(name for name, (_, made) in ENTRIES.items() if made)])
    for name, (_, made) in ENTRIES.items():
        assert clips[name].state == (DONE if made else FAILED), f"{name}: {clips[name].error}"
    assert words.count("the report may lack numbers") == 1


MESSAGES = [
    "", "no JSON", "null", "7", "[]", "{}", b"\x00\x00\x00\x01\xff", b"{}", b"", "[" * 50_000,
    {"type": "progress"}, {"type": "progress", "data": None}, {"type": "progress", "data": []},
    {"type": "progress", "data": "x"}, {"type": "progress", "data": {}}, {"type": ["x"], "data": {}},
    {"type": "progress", "data": {"prompt_id": "ID", "node": "3"}},
    {"type": "progress", "data": {"prompt_id": "ID", "node": "3", "value": "x", "max": None}},
    {"type": "progress", "data": {"prompt_id": "ID", "node": "3", "value": 10**400, "max": float("nan")}},
    {"type": "progress", "data": {"prompt_id": "ID", "node": ["3"], "value": 1, "max": 2}},
    {"type": "progress", "data": {"prompt_id": "ID", "node": "\x1b[2J" * 1000, "value": 1, "max": 2}},
    {"type": "progress", "data": {"prompt_id": ["ID"], "node": {"a": 1}}},
    {"type": "progress", "data": {"prompt_id": None, "node": "3"}},
    {"type": "progress", "data": {"prompt_id": "", "node": 3}},
    {"type": "executing", "data": "ID"}, {"type": "executing", "data": {"prompt_id": "ID"}},
    {"type": "executing", "data": {"prompt_id": "ID", "node": "no such node"}},
    {"type": "executing", "data": {"prompt_id": "ID", "node": {"3": 1}}},
    {"type": "execution_error", "data": {"prompt_id": "ID"}}, {"type": "status", "data": {"status": None}},
    {"type": "executing", "data": {"prompt_id": "ID", "node": None}},
]  # fmt: skip


@pytest.mark.parametrize("style", [(), ("--json",)], ids=["lines", "json"])
def test_messages_of_other_packs_are_hints(server, run, tmp_path, style):
    def messages(prompt_id):
        for message in MESSAGES:
            text = message if isinstance(message, (str, bytes)) else json.dumps(message)
            yield text.replace("ID", prompt_id) if isinstance(text, str) else text

    server.messages = messages
    code, words, clips = run(GOOD, *style)
    assert code == OK
    check_good(server, clips, tmp_path / "out")
    if style:
        events = [json.loads(line) for line in words.splitlines()]
        assert [event["step"] for event in events if event["event"] == "progress" and "step" in event] == [1] * 3


@pytest.mark.parametrize("fault", ["a login page", "null", "500", "silence"])
@pytest.mark.parametrize("route", ["ws", "queue", "everything", "object_info"])
def test_a_server_that_answers_nothing_as_it_should_is_given_up_and_later_resumed(server, run, tmp_path, route, fault):
    routes = {"everything": ("queue", "history", "recent", "prompt", "tell", "upload", "view", "ws")}.get(
        route, (route,)
    )
    server.everywhere = dict.fromkeys(routes, FAULTS[fault])
    code, words, clips = run(GOOD, answer_within=0.3, give_up_after=0.5)
    if route == "ws":  # it is asked again and again instead
        assert code == OK
    elif route == "queue" and code == OK:  # what the history tells is enough, where it is in time
        pass
    else:
        assert code == BROKEN
        assert server.url in words
        assert {clip.state for clip in clips.values()} <= {QUEUED, SUBMITTED, RUNNING, DONE}
    server.everywhere = {}
    code, _, clips = run(GOOD)
    assert code == OK
    check_good(server, clips, tmp_path / "out")


def test_what_was_given_up_is_stopped_before_it_is_made_again(server, run, tmp_path):
    """Its history cannot be read, so that it may run for ever on the server."""
    text = "history with 500"
    code, _, _ = run([text, *GOOD], answer_within=0.3)
    assert code == SOME_FAILED
    with sqlite3.connect(tmp_path / "out" / "journal.sqlite") as journal:
        query = "SELECT result FROM attempts WHERE name='clip 0'"
        assert journal.execute(query).fetchall() == [("forgotten",)]


def test_a_good_file_is_not_replaced_by_a_broken_one(server, run, tmp_path):
    code, _, clips = run(GOOD)
    assert code == OK
    folder = tmp_path / "out" / "clips" / clips[GOOD[0]].name
    server.everywhere = {"view": FAULTS["a cut answer"]}
    asked = server.views
    assert run(GOOD)[0] == OK
    assert server.views == asked, "finished clips are not fetched again"
    assert [path.read_bytes() for path in folder.iterdir()] == [PNG]


def test_a_password_is_nowhere_in_what_goes_wrong(server, run):
    server.url = server.url.replace("http://", "http://me:secret@")
    code, words, _ = run(
        ["upload with 403", "prompt with a login page", "history with 500", "view with null"], answer_within=0.3
    )
    assert code == SOME_FAILED
    errors = [line.partition("does not answer")[0] for line in words.splitlines() if "does not answer as" in line]
    assert errors
    assert not [error for error in errors if "secret" in error.rpartition("http://")[2]]
