"""What nodes say: in their `ui` output, on the websocket of the client that asked, and on no other's."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import aiohttp

_TEXT = 3  # the kind of binary message that carries a node's text
LONG = " ".join(f"word{number}" for number in range(900))


def graph(exo_scene: str) -> dict[str, Any]:
    texts = {"exo_scene": exo_scene, "exo_action": "b", "ego_scene": "c", "ego_action": "d"}
    return {
        "7": {"class_type": "Exo2EgoPrompt", "inputs": texts},
        "8": {"class_type": "PreviewAny", "inputs": {"source": ["7", 0]}},
    }


async def heard(url: str, prompt: dict[str, Any], asking: str | None, listening: list[str]) -> dict[str, list[str]]:
    """Queue a prompt in the name of a client; return the texts that each listening client got until it ended."""
    told: dict[str, list[str]] = {name: [] for name in listening}

    async def listen(socket: aiohttp.ClientWebSocketResponse, name: str) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY and struct.unpack(">I", message.data[:4]) == (_TEXT,):
                length = struct.unpack(">I", message.data[4:8])[0]
                told[name].append(f"{message.data[8 : 8 + length].decode()}: {message.data[8 + length :].decode()}")

    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"{url}/ws?clientId={name}") for name in listening]
        tasks = [asyncio.create_task(listen(socket, name)) for socket, name in zip(sockets, listening)]
        body = {"prompt": prompt, **({"client_id": asking} if asking else {})}
        async with session.post(f"{url}/prompt", json=body) as answer:
            number = (await answer.json())["prompt_id"]
        while True:
            async with session.get(f"{url}/history/{number}") as answer:
                if await answer.json():
                    break
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        for socket in sockets:
            await socket.close()
        await asyncio.gather(*tasks)
    return told


def test_a_text_is_sent_to_the_client_that_asked_alone(comfy_server):
    told = asyncio.run(heard(comfy_server.url, graph("to one"), "one", ["one", "two"]))
    assert told["two"] == []
    assert told["one"][-1].startswith("7: About ")
    told = asyncio.run(heard(comfy_server.url, graph("to nobody"), None, ["one", "two"]))
    assert told == {"one": [], "two": []}


def test_texts_and_warnings_stand_in_the_history(comfy_client):
    shown = comfy_client.run(graph("in the history")).outputs["7"]
    assert shown["exo2ego_warning"] == []
    assert [text.startswith("About ") for text in shown["exo2ego_text"]] == [True]
    shown = comfy_client.run(graph(LONG)).outputs["7"]
    assert shown["exo2ego_text"] == []
    (warning,) = shown["exo2ego_warning"]
    assert "the model reads 512" in warning
