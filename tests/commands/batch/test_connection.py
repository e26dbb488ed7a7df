"""A real server behind a proxy that misbehaves: no websocket, cut downloads, answers that get lost, silence."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import aiohttp
import pytest
from aiohttp import web

from exo2ego.commands.batch.journal import DONE, Journal
from exo2ego.commands.batch.manifest import read_manifest
from exo2ego.commands.batch.mapping import make_plan
from exo2ego.commands.batch.outputs import OutputFolder
from exo2ego.commands.batch.scheduler import Batch, Options
from exo2ego.commands.comfyui.client import ComfyConnection, Upload
from exo2ego.commands.comfyui.errors import FileUnreadableError
from exo2ego.commands.comfyui.graph import load_workflow
from support.batch import rows, write_manifest


class Proxy:
    """Passes everything on but what a test says."""

    def __init__(self, target):
        self.target = target
        self.websockets = 0
        self.refuse_sockets = False
        self.close_sockets_at = None
        self.cut_downloads = 0
        self.refuse_downloads = 0
        self.lose_answers = 0
        self.refused_together = None
        self.replaced_at_an_end_by = None
        self.seen = []

    @contextlib.asynccontextmanager
    async def running(self):
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession() as self.session:
            yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
            await runner.cleanup()

    async def handle(self, request):
        self.seen.append((request.method, request.path))
        if request.path == "/ws":
            return await self.socket(request)
        body = await request.read()
        kind = {"Content-Type": request.headers["Content-Type"]} if "Content-Type" in request.headers else {}
        async with self.session.request(
            request.method, self.target + request.path_qs, data=body or None, headers=kind
        ) as answer:
            content = await answer.read()
            length = answer.headers.get("Content-Length", str(len(content)))
        if request.path == "/prompt" and answer.status == 400 and self.refused_together is not None:
            await self.refused_together.wait()
            self.refused_together = None
        if request.path.startswith("/history/") and content != b"{}" and self.replaced_at_an_end_by:
            self.target, self.replaced_at_an_end_by = self.replaced_at_an_end_by, None
        if request.path == "/prompt" and self.lose_answers:
            self.lose_answers -= 1
            request.transport.abort()
        if request.path == "/view" and request.method == "GET" and self.refuse_downloads:
            self.refuse_downloads -= 1
            return web.Response(status=503)
        if request.path == "/view" and request.method == "GET" and self.cut_downloads:
            self.cut_downloads -= 1
            response = web.StreamResponse(headers={"Content-Length": str(len(content))})
            await response.prepare(request)
            await response.write(content[: len(content) // 2])
            request.transport.abort()
            return response
        headers = {"Content-Length": length} if request.method == "HEAD" else {}
        return web.Response(status=answer.status, body=b"" if request.method == "HEAD" else content, headers=headers)

    async def socket(self, request):
        if self.refuse_sockets:
            return web.Response(status=403)
        self.websockets += 1
        ours = web.WebSocketResponse()
        await ours.prepare(request)
        passed = 0
        async with self.session.ws_connect(self.target + request.path_qs) as theirs:
            async for message in theirs:
                passed += 1
                if passed == self.close_sockets_at:
                    break
                if message.type is aiohttp.WSMsgType.TEXT:
                    await ours.send_str(message.data)
        await ours.close()
        return ours


@pytest.fixture
def plan(inputs, tmp_path):
    entries = [{**row, "name": f"{tmp_path.name} {n}"} for n, row in enumerate(rows(inputs, 4))]
    manifest = read_manifest(write_manifest(inputs["workflow"].parent, entries))
    return make_plan(load_workflow(inputs["workflow"]), manifest)


@pytest.mark.parametrize(
    "fault",
    [
        {"refuse_sockets": True},
        {"close_sockets_at": 8},
        {"cut_downloads": 3},
        {"refuse_downloads": 3},
        {"lose_answers": 2},
    ],
    ids=["no websocket", "websocket cut", "downloads cut", "downloads refused", "answers lost"],
)
def test_every_clip_comes_home_once(plan, two_servers, tmp_path, fault):
    proxy = Proxy(two_servers[0].url)
    vars(proxy).update(fault)
    told = []

    async def work(journal):
        async with proxy.running() as url:
            batch = Batch(plan, journal, OutputFolder(tmp_path), lambda kind, **data: told.append(kind), Options())
            await asyncio.wait_for(batch.run([url]), 60)

    with contextlib.closing(Journal(tmp_path)) as journal:
        asyncio.run(work(journal))
        clips = journal.clips()
    assert [clip.state for clip in clips] == [DONE] * 4
    assert [clip.attempts for clip in clips] == [1] * 4, "a clip was sent twice"
    for clip in clips:
        for output in clip.outputs:
            assert (tmp_path / "clips" / clip.name / output["file"]).stat().st_size == output["size"]
    assert sum(path == "/prompt" for _, path in proxy.seen) == 4
    assert proxy.websockets == 0 if "refuse_sockets" in fault else proxy.websockets >= 1
    if "close_sockets_at" in fault:
        assert proxy.websockets > 1, "it did not reconnect"


@pytest.mark.parametrize("moment", ["after a clip", "two clips refused together", "a clip ended, not yet fetched"])
def test_a_server_replaced_at_once_by_one_with_an_empty_disk(plan, two_servers, tmp_path, moment):
    """As behind a load balancer: nobody sees it down. Nor does what it was sent before count any more.

    Clips that share files may be refused before either has sent them again: then one sends them, for both. And a clip
    that ended on the old one is made again.
    """
    old, new = two_servers
    for server in two_servers:
        for folder in ("input", "output"):
            shutil.rmtree(server.base / folder / "exo2ego_batch", ignore_errors=True)
    proxy = Proxy(old.url)
    if moment.endswith("fetched"):
        proxy.replaced_at_an_end_by = new.url

    def told(kind, **data):
        if kind == "done":
            proxy.target = new.url

    async def work(journal):
        proxy.refused_together = asyncio.Barrier(2) if moment.endswith("together") else None
        async with proxy.running() as url:
            await asyncio.wait_for(Batch(plan, journal, OutputFolder(tmp_path), told, Options()).run([url]), 60)

    with contextlib.closing(Journal(tmp_path)) as journal:
        asyncio.run(work(journal))
        assert [(clip.state, clip.error) for clip in journal.clips()] == [(DONE, None)] * 4
    assert proxy.refused_together is proxy.replaced_at_an_end_by is None, "the moment never came"


def test_a_file_that_went_away_is_its_own_clips_error(two_servers, tmp_path):
    async def send():
        connection = ComfyConnection(two_servers[0].url)
        try:
            await connection.send(Upload(tmp_path / "gone.png", "exo2ego_batch/gone", "gone.png", 1))
        finally:
            await connection.close()

    with pytest.raises(FileUnreadableError, match=r"gone\.png can no longer be read: No such file"):
        asyncio.run(send())
