"""HTTP with one server: bounded in time and size, and every failure told as what it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp

from ...common.safe_text import one_line
from .answers import MOST_BYTES, Answer, masked
from .errors import ServerUnreachableError

ANSWER_SECONDS = 60.0  # a server that loads a large model may answer late
_CONNECT_SECONDS = 10
_HEARTBEAT_SECONDS = 20
_CHUNK = 1 << 20
_SLOWEST = 1000  # bytes a second; an answer that trickles in more slowly hangs
_MOST_MESSAGE = 64 << 20  # bytes of a websocket's message; previews are far below


class Transport:
    """Asks one server.

    Args:
        url: the server's address.
        seconds: silence after which an answer counts as none.
        patient: wait for answers as long as the socket is open: for a server of our own, which we would see end.
    """

    def __init__(self, url: str, *, seconds: float = ANSWER_SECONDS, patient: bool = False) -> None:
        self.url = url.rstrip("/")
        self._seconds = None if patient else seconds
        self._heartbeat = None if patient else _HEARTBEAT_SECONDS
        connect = min(_CONNECT_SECONDS, seconds)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=self._seconds)
        login = getattr(url, "login", None)  # of a ServerAddress
        auth = aiohttp.BasicAuth(*login) if login else None
        self._session = aiohttp.ClientSession(timeout=timeout, auth=auth)

    async def close(self) -> None:
        """Close all sockets."""
        await self._session.close()

    @property
    def name(self) -> str:
        """The address without the password that it may hold."""
        return masked(self.url)

    async def _ask(self, method: str, path: str, *, takes: float = 0, **options: Any) -> Answer:
        """Ask; `takes` are the seconds that it takes to send what is sent."""
        async with self._opened(method, path, takes=takes, **options) as response:
            return await self._answer(response)

    async def _answer(self, response: aiohttp.ClientResponse, *, partly: bool = False) -> Answer:
        body = bytearray()
        if response.method != "HEAD":
            async for chunk in self._chunks(response):
                body += chunk
                if partly and body:
                    break
                if len(body) > MOST_BYTES:
                    raise self._seen(response, bytes(body)).wrong(f"at most {MOST_BYTES >> 20} MB of JSON")
        return self._seen(response, bytes(body))

    def _seen(self, response: aiohttp.ClientResponse, body: bytes) -> Answer:
        asked = response.history[0].url if response.history else response.url
        to = response.headers.get("Location", "") if 300 <= response.status < 400 else ""
        return Answer(
            str(asked.with_query(None)), response.status, response.reason or "", response.content_type, body,
            response.content_length, to or (str(response.url) if response.history else ""),
        )  # fmt: skip

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, *, takes: float = 0, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async def opening() -> aiohttp.ClientResponse:
            # What is sent must not become a GET, as redirects make it.
            return await self._session.request(
                method, self.url + path, allow_redirects=method in ("GET", "HEAD"), **options
            )

        with self._reaching(path):
            async with await asyncio.wait_for(opening(), self._limit(takes)) as response:
                if response.status in (502, 503, 504):  # a proxy before a server that is down
                    raise (await self._answer(response, partly=True)).wrong("an answer of its own")
                yield response

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield a content as it comes; one that trickles in counts as silence."""
        since, size = time.monotonic(), 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            yield chunk
            size, passed = size + len(chunk), time.monotonic() - since
            if self._seconds is not None and passed > self._seconds:
                if size < _SLOWEST * passed:
                    raise TimeoutError
                since, size = time.monotonic(), 0

    def _limit(self, takes: float = 0) -> float | None:
        return None if self._seconds is None else 2 * self._seconds + takes

    @contextmanager
    def _reaching(self, path: str) -> Iterator[None]:
        """Turn what the network raises into ServerUnreachableError, and calls on a connection that was closed too."""
        address = self.name + path.partition("?")[0]
        try:
            yield
        except (TimeoutError, asyncio.TimeoutError) as error:  # aiohttp's are both
            waited = "in time" if self._seconds is None else f"within {self._seconds:g} s"
            raise ServerUnreachableError(f"{address}: no whole answer {waited}") from error
        except (aiohttp.ClientError, ConnectionError, ValueError) as error:
            said = one_line(masked(str(error))) or type(error).__name__
            raise ServerUnreachableError(f"{address}: {said}") from error
        except RuntimeError as error:
            if not self._session.closed:
                raise
            raise ServerUnreachableError(f"{address}: {error}") from error

    @asynccontextmanager
    async def _socket(self, client_id: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"

        async def opening() -> aiohttp.ClientWebSocketResponse:
            return await self._session.ws_connect(address, max_msg_size=_MOST_MESSAGE, heartbeat=self._heartbeat)

        with self._reaching("/ws"):
            socket = await asyncio.wait_for(opening(), self._limit())
            try:
                yield socket
            finally:
                await socket.close()
