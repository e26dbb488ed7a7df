"""A server over a real socket that answers like ComfyUI, and where a test asks for it like anything but ComfyUI."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c6360606000000004000180bcd4e00000000049454e44ae426082"
)
LOGIN = b"<!DOCTYPE html>\n<html><title>Sign in</title><form action='/login'></form></html>"
# Longer than any deadline that a test gives.
_FOR_EVER = 60

Fault = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


def _plain(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Fault:
    async def answer(request: web.Request, good: bytes) -> web.StreamResponse:
        return web.Response(
            body=body,
            status=status,
            headers={"Content-Type": kind, **{k.replace("_", "-"): headers[k] for k in headers}},
        )

    return answer


def _made(change: Callable[[Any], Any]) -> Fault:
    """JSON made of the right one; of a file's, the beginning of its name."""

    async def answer(request: web.Request, good: bytes) -> web.StreamResponse:
        value = json.loads(good) if good.startswith(b"{") else {}
        made = change(value)
        body = made if isinstance(made, bytes) else json.dumps(made).encode()
        return web.Response(body=body, content_type="application/json")

    return answer


async def _hang(request: web.Request, good: bytes) -> web.StreamResponse:
    await asyncio.sleep(_FOR_EVER)
    return web.Response()


async def _hang_halfway(request: web.Request, good: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(good) + 100)})
    await response.prepare(request)
    await response.write(good[: len(good) // 2])
    await asyncio.sleep(_FOR_EVER)
    return response


async def _trickle(request: web.Request, good: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(_FOR_EVER * 10):
            await response.write(b" ")
            await asyncio.sleep(0.1)
    return response


async def _cut(request: web.Request, good: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(good) + 100)})
    await response.prepare(request)
    await response.write(good)
    request.transport.abort()
    return response


def _raw(content: bytes) -> Fault:
    async def answer(request: web.Request, good: bytes) -> web.StreamResponse:
        request.transport.write(content)
        request.transport.close()
        return web.Response()

    return answer


FAULTS: dict[str, Fault] = {
    "a login page": _plain(LOGIN, kind="text/html"),
    "a login page as JSON": _plain(LOGIN),
    "null": _plain(b"null"),
    "a list": _plain(b"[]"),
    "a number": _plain(b"7"),
    "a text": _plain(b'"well"'),
    "true": _plain(b"true"),
    "nothing": _plain(b""),
    "no content": _plain(b"", 204),
    "other keys": _plain(b'{"detail": "Not Found"}'),
    "truncated JSON": _made(lambda good: json.dumps(good)[:-3].encode()),
    "values of another type": _made(lambda good: dict.fromkeys(good, 7) or 7),
    "values that are lists": _made(lambda good: {key: [7] for key in good} or [7]),
    "values that are texts": _made(lambda good: dict.fromkeys(good, "\x1b[2J") or ""),
    "nested too deep": _plain(b'{"a":' * 100_000),
    "a number of 5,000 digits": _plain(b'{"prompt_id": ' + b"9" * 5000 + b"}"),
    "half a letter": _plain(b'{"prompt_id": "\\ud800", "name": "\\udfff"}'),
    "not UTF-8": _plain(b'{"a": "\xff\xfe"}'),
    "NaN": _plain(b"NaN"),
    "bytes": _plain(bytes(range(256)), kind="application/octet-stream"),
    "a redirect to a login": _plain(b"", 302, Location="/login"),
    "a redirect in circles": _plain(b"", 302, Location="/circle"),
    "a redirect to nowhere": _plain(b"", 307, Location="http://[::1/"),
    "a redirect that keeps the method": _plain(b"", 308, Location="/login"),
    "401": _plain(b"Unauthorized", 401, "text/plain", WWW_Authenticate="Basic"),
    "403": _plain(b"<h1>Forbidden</h1>", 403, "text/html"),
    "405": _plain(b"405: Method Not Allowed", 405, "text/plain"),
    "429": _plain(b'{"error": "slow down"}', 429),
    "500": _plain(b"500 Internal Server Error\n\nServer got itself in trouble", 500, "text/plain"),
    "500 with more lines": _plain(b"boom\nTraceback (most recent call last):\n", 500, "text/plain"),
    "500 with escape sequences": _plain(b"\x1b]0;yours\x07\x1b[2J\xe2\x80\xaeboom", 500, "text/plain"),
    "502": _plain(b"<html><h1>Bad Gateway</h1></html>", 502, "text/html"),
    "503": _plain(b"", 503),
    "broken gzip": _plain(gzip.compress(b"{}" * 50)[:-20] + b"!" * 20, Content_Encoding="gzip"),
    "an unknown encoding": _plain(b"?", Content_Encoding="zstd-of-mine"),
    "an absurd length": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999\r\n\r\n{"),
    "a length that is none": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    "no length": _raw(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"),
    "a header without end": _raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n{}"),
    "another protocol": _raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a closed connection": _raw(b""),
    "a cut answer": _cut,
    "silence": _hang,
    "silence halfway": _hang_halfway,
    "a trickle": _trickle,
}


def entry(prompt_id: str, graph: dict[str, Any], **change: Any) -> dict[str, Any]:
    """The history's entry of a prompt that saved one file."""
    shown = {"3": {"images": [{"filename": f"{prompt_id}.png", "subfolder": "", "type": "output"}]}}
    status = {"status_str": "success", "completed": True, "messages": [["execution_start", {"prompt_id": prompt_id}]]}
    return {"prompt": [1, prompt_id, graph, {}, ["3"]], "outputs": shown, "status": status, "meta": {}} | change


class Misbehaving:
    """ComfyUI's routes, and the faults of one at a time.

    Attributes:
        url: the address.
        everywhere: a route and its fault, whoever asks.
        entries: by the text of a prompt, what its history's entry has in place of the right one's.
        messages: what the websocket sends when a prompt is queued.
        taken: how often each text was queued; and each that was taken before a wrong answer.
        views: how often files were asked for.
    """

    def __init__(self) -> None:
        self.url = ""
        self.everywhere: dict[str, Fault] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self.messages: Callable[[str], list[str | bytes]] = lambda prompt_id: []
        self.taken: Counter[str] = Counter()
        self.views = 0
        self._prompts: dict[str, dict[str, Any]] = {}
        self._sockets: list[web.WebSocketResponse] = []

    def _fault(self, route: str, text: str) -> Fault | None:
        asked, _, kind = text.partition(" with ")
        return self.everywhere.get(route) or (FAULTS.get(kind) if asked == route else None)

    async def _answer(self, request: web.Request, route: str, value: Any, text: str = "") -> web.StreamResponse:
        good = value if isinstance(value, bytes) else json.dumps(value).encode()
        if fault := self._fault(route, text):
            return await fault(request, good)
        return web.Response(body=good, content_type="image/png" if good is PNG else "application/json")

    async def _object_info(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info.get("kind", "LoadImage")
        return await self._answer(request, "object_info", {kind: {"input": {"required": {}}}})

    async def _stats(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "system_stats", {"system": {"comfyui_version": "0.3.75"}, "devices": []})

    async def _queue(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "queue", {"queue_running": [], "queue_pending": []})

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "tell", {})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        file = form["image"]
        taken = {"name": file.filename, "subfolder": form["subfolder"], "type": "input"}
        return await self._answer(request, "upload", taken, file.file.read().decode(errors="replace"))

    async def _prompt(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        graph, prompt_id = body["prompt"], body["prompt_id"]
        text = graph["2"]["inputs"]["text"]
        if self._fault("prompt", text) is None:
            self._prompts[prompt_id] = graph
            self.taken[text] += 1
            for message in self.messages(prompt_id):
                for socket in self._sockets:
                    await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
        taken = {"prompt_id": prompt_id, "number": 1, "node_errors": {}}
        return await self._answer(request, "prompt", taken, text.replace("taken prompt", "prompt"))

    async def _history(self, request: web.Request) -> web.StreamResponse:
        wanted = [request.match_info["id"]] if "id" in request.match_info else list(self._prompts)
        texts = {number: self._prompts[number]["2"]["inputs"]["text"] for number in wanted if number in self._prompts}
        found = {
            number: entry(number, self._prompts[number], **self.entries.get(text, {})) for number, text in texts.items()
        }
        text = next(iter(texts.values()), "") if "id" in request.match_info else ""
        return await self._answer(request, "history" if text else "recent", found, text)

    async def _view(self, request: web.Request) -> web.StreamResponse:
        if request.query["type"] == "input":
            return web.Response(status=404)
        self.views += 1
        graph = self._prompts.get(request.query["filename"].removesuffix(".png"))
        if graph is None:
            return web.Response(status=404)
        return await self._answer(request, "view", PNG, graph["2"]["inputs"]["text"])

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if fault := self.everywhere.get("ws"):
            return await fault(request, b"{}")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.append(socket)
        try:
            async for _ in socket:
                pass
        finally:
            self._sockets.remove(socket)
        return socket

    async def _circle(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/circle"})

    async def _login(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=LOGIN, content_type="text/html")

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        add = app.router.add_route
        for path in ("/object_info", "/object_info/{kind}"):
            add("GET", path, self._object_info)
        for path in ("/history", "/history/{id}"):
            add("GET", path, self._history)
        add("GET", "/system_stats", self._stats)
        add("GET", "/queue", self._queue)
        for path in ("/queue", "/interrupt"):
            add("POST", path, self._tell)
        add("POST", "/upload/image", self._upload)
        add("POST", "/prompt", self._prompt)
        add("*", "/view", self._view)
        add("GET", "/ws", self._socket)
        add("*", "/login", self._login)
        add("*", "/circle", self._circle)
        return app

    @contextmanager
    def running(self) -> Iterator[Misbehaving]:
        """Serve from a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="misbehaving", daemon=True)
        thread.start()

        async def start() -> web.AppRunner:
            runner = web.AppRunner(self._app(), shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
            return runner

        async def stop() -> None:
            await runner.cleanup()
            silent = asyncio.all_tasks() - {asyncio.current_task()}
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)

        runner = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()


def small_graph() -> dict[str, Any]:
    """A graph that uploads one file and saves one, with a text that says what a server should do with it."""

    def node(kind: str, title: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    return {
        "1": node("LoadImage", "Image", image="none.png"),
        "2": node("CLIPTextEncode", "Text", text="right"),
        "3": node("SaveImage", "Save", images=["1", 0], filename_prefix="test/image"),
    }


def unknown() -> str:
    """A prompt id that nobody has."""
    return str(uuid.uuid4())
